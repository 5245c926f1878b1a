// Makes dist/bundle: the command line, the workers' entries and their tasks, with all of our modules in a few files. A start is mostly
// the loading of modules: two hundred files take 0.15 s longer than these. Packages stay packages.
const optional = process.argv.includes("--optional");
const esbuild = await import("esbuild").catch((error) => {
  if (!optional) throw error;
  // Installed without development packages: bin/t4 runs the sources.
  console.error("no bundle is made: esbuild is not installed");
  process.exit(0);
});
await esbuild.build({
  entryPoints: [
    "src/cli/main.ts",
    "src/runtime/offload-worker.ts",
    "src/runtime/password-worker.ts",
    "src/runtime/task-worker.ts",
    "src/storage/merge-task.ts",
  ],
  outdir: "dist/bundle",
  entryNames: "[name]",
  bundle: true,
  splitting: true,
  packages: "external",
  platform: "node",
  format: "esm",
  target: "node22.19",
  logLevel: "warning",
});
