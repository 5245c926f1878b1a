// Makes dist/bundle, what bin/t4 runs: two hundred files of modules take 0.2 s longer to start than a few.
//   main.js and chunks   the command line
//   run.js               of it what `t4 run` needs, as one file: a start of thirty files takes 15 ms longer
//   serve.cjs            the server, whole, with the packages that each start needs: what is compiled is one piece
//   serve.js             loads it with what earlier starts have compiled (src/runtime/compiled-script.ts)
//   http.js, signing.js  packages that a start on S3 needs
//   *-worker.js, …       what runs in threads beside it
// Other packages stay packages. Of the two that have native code the file for this platform is asked for by its name:
// the packages' own search for it takes longer than the loading (measured: 14 and 9 ms of a start instead of 2 and 1).
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const optional = process.argv.includes("--optional");
const esbuild = await import("esbuild").catch((error) => {
  if (!optional) throw error;
  // Installed without development packages: bin/t4 runs the sources.
  console.error("no bundle is made: esbuild is not installed");
  process.exit(0);
});
const outdir = process.env.T4_BUNDLE_DIR ?? "dist/bundle";
const shared = {
  outdir,
  entryNames: "[name]",
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node22.19",
  logLevel: "warning",
  metafile: true,
};

/** Files of their own, by what imports name. */
const apart = {
  name: "apart",
  setup(build) {
    const files = {
      undici: "./http.js",
      "@smithy/signature-v4": "./signing.js",
      "../../server/serve.ts": "./serve.js",
    };
    build.onResolve({ filter: /^(undici|@smithy\/signature-v4|\.\.\/\.\.\/server\/serve\.ts)$/ }, ({ path, kind }) =>
      kind === "dynamic-import" ? { path: files[path], external: true } : undefined,
    );
  },
};
/** Where a file is not where it mostly is, its package looks for it. */
const nativeCode = {
  "@node-rs/crc32": `
    let found;
    try {
      found = load("@node-rs/crc32-" + process.platform + "-" + process.arch + "-gnu");
    } catch {
      found = load("@node-rs/crc32");
    }
    export const { crc32c } = found;`,
  "fs-native-extensions": `
    let lock;
    try {
      const place = "fs-native-extensions/prebuilds/" + process.platform + "-" + process.arch;
      const binding = load(place + "/fs-native-extensions.node");
      // As the package's own tryLock: the whole file, not shared.
      lock = (fd) => {
        try {
          binding.tryLock(fd, 0, 0, true);
          return true;
        } catch (error) {
          if (error.code === "EAGAIN") return false;
          throw error;
        }
      };
    } catch {
      lock = load("fs-native-extensions").tryLock;
    }
    export const tryLock = lock;`,
};
const native = {
  name: "native",
  setup(build) {
    const filter = /^(@node-rs\/crc32|fs-native-extensions)$/;
    build.onResolve({ filter }, ({ path }) => ({ path, namespace: "native" }));
    build.onLoad({ filter, namespace: "native" }, ({ path }) => ({
      contents: `const load = process.getBuiltinModule("node:module").createRequire(import.meta.url);
        ${nativeCode[path]}`,
    }));
  },
};
/**
 * Node's own modules, of which each name that is used is asked for alone. An import asks a module for all its names,
 * and behind some of them are further modules (node:fs: streams, node:crypto: WebCrypto) that a start does not need.
 */
const builtin = {
  name: "builtin",
  setup(build) {
    build.onResolve({ filter: /^node:/ }, ({ path, kind }) =>
      kind === "import-statement" ? { path, namespace: "builtin" } : undefined,
    );
    build.onLoad({ filter: /^node:/, namespace: "builtin" }, async ({ path }) => {
      // The Node.js that makes the bundle may be older than any that runs it, and lack names that our sources use.
      const names = new Set([...Object.keys(await import(path)), ...namesInSources(path)]);
      const lines = [...names]
        .filter((name) => name !== "default" && name !== "module.exports")
        .map((name) => `export const ${name} = /* @__PURE__ */ of("${name}");`);
      return {
        contents: [
          `const all = /* @__PURE__ */ process.getBuiltinModule("${path}");`,
          "const of = (name) => all[name];",
          ...lines,
          "export default all;",
        ].join("\n"),
      };
    });
  },
};
function namesInSources(builtinModule) {
  const imports = new RegExp(`import \\{([^}]*)\\} from "${builtinModule}"`, "g");
  return readdirSync("src", { recursive: true })
    .filter((file) => file.endsWith(".ts"))
    .flatMap((file) => [...readFileSync(`src/${file}`, "utf8").matchAll(imports)])
    .flatMap(([, names]) => names.split(","))
    .map((name) => name.trim().split(" as ")[0])
    .filter((name) => name !== "" && !name.startsWith("type "));
}
/** The command line's parser, which a server's start needs, too. */
const parser = {
  name: "parser",
  setup(build) {
    const path = fileURLToPath(import.meta.resolve("commander"));
    build.onResolve({ filter: /^commander$/ }, () => ({ path }));
  },
};
// Some of what is bundled is CommonJS, and asks for Node's modules at run time.
const banner = {
  js: 'const require = process.getBuiltinModule("node:module").createRequire(import.meta.url);',
};

rmSync(outdir, { recursive: true, force: true });
const made = await Promise.all([
  esbuild.build({
    ...shared,
    entryPoints: [
      "src/cli/main.ts",
      "src/runtime/offload-worker.ts",
      "src/runtime/password-worker.ts",
      "src/runtime/task-worker.ts",
      "src/storage/merge-task.ts",
    ],
    splitting: true,
    banner,
    packages: "external",
    plugins: [builtin, apart, native, parser],
  }),
  esbuild.build({
    ...shared,
    entryPoints: [{ in: "src/cli/main.ts", out: "run" }],
    banner,
    external: ["./commands/all.ts", "./context.ts"],
    plugins: [builtin, apart, native, parser],
  }),
  esbuild.build({
    ...shared,
    entryPoints: [{ in: "src/server/serve.ts", out: "serve" }],
    outExtension: { ".js": ".cjs" },
    format: "cjs",
    // A script that is compiled by hand has no import(): it becomes require(), which loads modules, too.
    supported: { "dynamic-import": false },
    // Of the script, without comments and spaces: it is read sooner, and takes less memory.
    minifyWhitespace: true,
    lineLimit: 120,
    legalComments: "none",
    define: { "import.meta.url": "moduleUrl" },
    external: ["@aws-sdk/*", "@node-rs/bcrypt"],
    plugins: [builtin, apart, native],
  }),
  part(
    "serve",
    `import { fileURLToPath } from "node:url";
    import { loadScript } from "./src/runtime/compiled-script.ts";
    const { exports, keep } = loadScript(fileURLToPath(new URL("./serve.cjs", import.meta.url)), import.meta.url);
    export const serve = (settings, warnings) => exports.serve(settings, warnings, keep);`,
  ),
  part("http", 'export { Pool, ProxyAgent } from "undici";'),
  part("signing", 'export { SignatureV4 } from "@smithy/signature-v4";'),
]);
inLatin1(`${outdir}/serve.cjs`);
writeLicenses(made.flatMap(({ metafile }) => Object.keys(metafile.inputs)));

function part(name, contents) {
  const stdin = { contents, resolveDir: process.cwd(), sourcefile: `${name}.js` };
  return esbuild.build({
    ...shared,
    outdir: undefined,
    outfile: `${outdir}/${name}.js`,
    stdin,
    banner,
    plugins: [builtin],
  });
}

/** One byte a character, as V8 has such a text in memory, too: it is read without being decoded. */
function inLatin1(file) {
  const text = readFileSync(file, "utf8");
  if (/[^\0-\xff]/.test(text)) throw new Error(`${file} has a character beyond Latin-1: write it as an escape`);
  writeFileSync(file, text, "latin1");
}

/** The terms of each package of which code is in the bundle. */
function writeLicenses(files) {
  const packages = new Set(files.flatMap((file) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1] ?? []));
  const texts = [...packages].sort().map((name) => {
    const { version, license } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
    const file = ["LICENSE", "LICENSE.md", "LICENSE.txt", "license"].find((each) =>
      existsSync(`node_modules/${name}/${each}`),
    );
    const text = file === undefined ? "" : readFileSync(`node_modules/${name}/${file}`, "utf8");
    return `${name} ${version} (${license})\n\n${text}`;
  });
  mkdirSync(outdir, { recursive: true });
  writeFileSync(`${outdir}/LICENSES`, texts.join("\n----\n\n"));
}
