import { posix } from "node:path";
import { lineOf, type SourceFile } from "./source-file.ts";

/**
 * Folders of src in the order of the data flow, and what each may import: DESIGN's table. "x/x.ts" is one file alone.
 */
const table: Record<string, readonly string[]> = {
  base: [],
  gen: [],
  runtime: ["base"],
  objects: ["base", "runtime/runtime.ts"],
  log: ["base", "runtime/runtime.ts", "objects"],
  // What a disk fails with is a part of its contract.
  storage: ["base", "runtime/runtime.ts", "runtime/disk-error.ts", "objects"],
  leadership: ["base", "runtime/runtime.ts", "objects"],
  collector: ["base", "runtime/runtime.ts", "objects", "log", "storage", "leadership"],
  engine: ["base", "runtime/runtime.ts", "objects", "log", "storage", "leadership", "collector"],
  transport: ["base", "runtime/runtime.ts"],
  api: [
    "base",
    "engine/engine.ts",
    "engine/maintenance/maintenance.ts",
    "engine/branches/branches.ts",
    "engine/branches/history.ts",
    "engine/branches/history.ts",
    "engine/branches/moment.ts",
    "transport/transport.ts",
    "gen",
  ],
  server: [
    "base",
    "runtime",
    "objects",
    "log",
    "storage",
    "leadership",
    "collector",
    "engine",
    "transport",
    "api",
    "gen",
  ],
  cli: [
    "base",
    "runtime",
    "objects",
    "log",
    "storage",
    "leadership",
    "collector",
    "engine",
    "gen",
    "server",
    "readers",
    "index.ts",
  ],
  readers: ["base", "runtime/runtime.ts", "objects", "log", "storage", "leadership", "collector", "engine"],
  library: ["base", "runtime/runtime.ts", "objects", "log", "storage", "leadership", "collector", "engine"],
  "index.ts": ["base", "runtime", "objects", "log", "storage", "leadership", "engine", "library"],
};

/** Parts of the engine that know nothing of each other. */
const engineParts = ["mvcc", "watch", "lease", "auth"];

/**
 * Of Node, what gives the same answer to the same question; of zlib what is synchronous, of crypto what is not random.
 */
const pureModules = new Set(["node:crypto", "node:zlib", "node:path", "node:buffer", "node:util"]);

/**
 * Packages by the paths that may import them. Those that do I/O stand behind a contract that the simulator replaces.
 */
const packages: readonly { name: RegExp; paths: RegExp }[] = [
  { name: /^@node-rs\/crc32$/, paths: /^src\/base\// },
  { name: /^@node-rs\/bcrypt$/, paths: /^src\/runtime\/password-work\.ts$/ },
  { name: /^fs-native-extensions$/, paths: /^src\/runtime\// },
  { name: /^(undici|@smithy\/.*|@aws-sdk\/.*|fast-xml-parser)$/, paths: /^src\/objects\/s3/ },
  { name: /^@bufbuild\/protobuf(\/.*)?$/, paths: /^src\/(gen|api|cli|server)\// },
  { name: /^(pino|prom-client|zod|yaml)$/, paths: /^src\/server\// },
  { name: /^(commander|cli-table3|@grpc\/grpc-js|yaml|zod)$/, paths: /^src\/cli\// },
];

/** Makes streams for the sake of the synchronous contexts beneath them alone. */
const contexts = { path: /^src\/storage\/block-packing\.ts$/, from: "node:zlib" };

/** Where the outside may be touched by other ways than the runtime. */
export const isOutside = (path: string): boolean => /^src\/(runtime|cli|server)\//.test(path);
export const isTest = (path: string): boolean => /\.(test|bench|fuzz)\.ts$/.test(path);

/** The folder of src, or "index.ts". */
const folderOf = (path: string): string => path.split("/")[1]!;

const allows = (allowed: readonly string[], target: string): boolean =>
  allowed.some((one) => target === `src/${one}` || target.startsWith(`src/${one}/`));

/** Relative imports go where the table points; tests may in addition use what stands in test/, and a real runtime. */
export function importDirections(file: SourceFile): string[] {
  if (!file.path.startsWith("src/")) return [];
  const folder = folderOf(file.path);
  const allowed = table[folder];
  if (allowed === undefined) return [`${file.path}: the folder src/${folder} is not in the table of imports`];
  const problems: string[] = [];
  for (const { from, line } of file.imports) {
    if (!from.startsWith(".")) continue;
    const target = posix.join(posix.dirname(file.path), from);
    const at = `${file.path}:${line}: imports ${target}`;
    if (isTest(file.path) && /^(test|src\/runtime)\//.test(target)) continue;
    if (!target.startsWith("src/")) problems.push(`${at}, which is not a source`);
    else if (folderOf(target) !== folder && !allows(allowed, target)) problems.push(`${at}: not from ${folder}`);
    const [part, other] = [file.path, target].map((path) => path.split("/")[2]!);
    if (folder !== "engine" || !target.startsWith("src/engine/") || part === other) continue;
    if (engineParts.includes(part!) && engineParts.includes(other!)) problems.push(`${at}: not from engine/${part}`);
  }
  return problems;
}

/** Modules of Node and packages, by who may use them. Tests use what they like. */
export function outsideModules(file: SourceFile): string[] {
  if (!file.path.startsWith("src/") || isTest(file.path)) return [];
  const problems: string[] = [];
  for (const { from, line, names } of file.imports) {
    if (from.startsWith(".")) continue;
    const at = `${file.path}:${line}: `;
    if (!from.startsWith("node:")) {
      const known = packages.some(({ name, paths }) => name.test(from) && paths.test(file.path));
      if (!known) problems.push(`${at}the package ${from} is not for this file`);
    } else if (!isOutside(file.path)) {
      if (contexts.path.test(file.path) && from === contexts.from) continue;
      const tls = from === "node:tls" && /^src\/transport\/tls/.test(file.path);
      if (!pureModules.has(from) && !tls) problems.push(`${at}${from} is reached through the runtime`);
      else problems.push(...names.filter((name) => isImpure(from, name)).map((name) => `${at}${name} of ${from}`));
    }
  }
  return problems;
}

function isImpure(module: string, name: string): boolean {
  if (module === "node:crypto")
    return name === "*" || /^(random|generate|webcrypto|getRandomValues|scrypt$|pbkdf2$)/.test(name);
  if (module === "node:zlib") return !/Sync$|^constants$|^crc32$/.test(name);
  return module === "node:util" && name === "promisify";
}

/** What draws without a seed, by the modules that have it. */
const unseeded: readonly { module: string; names: RegExp }[] = [
  { module: "fast-check", names: /./ },
  { module: "node:crypto", names: /^(random|webcrypto$|getRandomValues$)/ },
];

/** A landing is not judged by luck: tests draw by the seed of test/properties.ts, which the night changes. */
export function seededChance(file: SourceFile): string[] {
  if (file.path === "test/properties.ts") return [];
  const problems: string[] = [];
  for (const { from, line, names } of file.imports) {
    const one = unseeded.find(({ module }) => module === from);
    if (one === undefined || (from !== "fast-check" && !isTest(file.path))) continue;
    const drawn = names.filter((name) => one.names.test(name));
    if (drawn.length > 0) problems.push(`${file.path}:${line}: ${from} draws by test/properties.ts's seed alone`);
  }
  if (!isTest(file.path)) return problems;
  for (const match of file.code.matchAll(/\bMath\.random\b|\brandomUUID\b|\bcrypto\s*\.\s*(random|getRandomValues)/g)) {
    problems.push(
      `${file.path}:${lineOf(file.code, match.index)}: ${match[0]} draws without test/properties.ts's seed`,
    );
  }
  return problems;
}

export function importEndings(file: SourceFile): string[] {
  return file.imports
    .filter(({ from }) => from.startsWith(".") && !from.endsWith(".ts"))
    .map(({ from, line }) => `${file.path}:${line}: the import "${from}" does not end in .ts`);
}

/** A file that only passes on what others export hides where a thing is; so does a star. */
export function noBarrels(file: SourceFile): string[] {
  if (file.path === "src/index.ts") return [];
  if (/(^|\/)index\.ts$/.test(file.path)) return [`${file.path}: only src/index.ts is a barrel`];
  const stars = file.imports.filter(({ reExport, names }) => reExport && names.includes("*"));
  if (stars.length > 0) return stars.map(({ from, line }) => `${file.path}:${line}: exports all that is in ${from}`);
  const passesOn = file.imports.some(({ reExport }) => reExport);
  const ownCode = file.code.replace(/\b(import|export)\b[^;"'()=]*\bfrom\s*"\s*"\s*;?/g, "").trim();
  return passesOn && ownCode === "" ? [`${file.path}: has nothing of its own`] : [];
}
