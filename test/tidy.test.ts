import { deepEqual, equal, ok } from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { importDirections, importEndings, noBarrels, outsideModules, seededChance } from "./tidy/import-rules.ts";
import { type SourceFile, sourceFile } from "./tidy/source-file.ts";
import {
  columns,
  emptyNames,
  fileLength,
  forbiddenGlobals,
  kebabCase,
  noMachinePaths,
  noMarks,
} from "./tidy/text-rules.ts";

/**
 * The house rules over all tracked files; and each rule over a source that breaks it, so that a rule cannot rot unseen.
 */
const root = fileURLToPath(new URL("..", import.meta.url));
const tracked = execFileSync("git", ["ls-files", "-z"], { cwd: root, encoding: "utf8" }).split("\0");
const files = tracked.filter((path) => path !== "" && existsSync(root + path));
const BINARY = /\.(png|ico|woff2?|gz|zst|bin|pb)$/;
const texts = files
  .filter((path) => !BINARY.test(path))
  .map((path) => ({ path, text: readFileSync(root + path, "utf8") }));
/** Generated code is as its generator writes it, and foreign programs as their builds want them. */
const sources = texts
  .filter(({ path }) => /^(src|test|tools)\/.*\.ts$/.test(path) && !/^(src\/gen|test\/peers)\//.test(path))
  .map(({ path, text }) => sourceFile(path, text));

const sourceRules = {
  importDirections,
  outsideModules,
  seededChance,
  importEndings,
  noBarrels,
  forbiddenGlobals,
  kebabCase,
  emptyNames,
  columns,
  fileLength,
};

test("there are sources to look at", () => {
  ok(sources.length > 50 && sources.some(({ path }) => path === "test/tidy.test.ts"));
});

for (const [name, rule] of Object.entries(sourceRules)) {
  test(`tidy: ${name}`, () => deepEqual(sources.flatMap(rule), []));
}
test("tidy: noMarks", () => deepEqual(texts.filter(({ path }) => path !== "package-lock.json").flatMap(noMarks), []));
test("tidy: noMachinePaths", () => deepEqual(texts.flatMap(noMachinePaths), []));

/** What a rule says of a made-up source: how many problems. */
function problems(rule: (file: SourceFile) => string[], path: string, text: string): number {
  return rule(sourceFile(path, text)).length;
}

test("importDirections sees what points the wrong way", () => {
  const bad: [string, string][] = [
    ["src/base/x.ts", 'import { a } from "../log/log.ts";'],
    ["src/objects/x.ts", 'import type { A } from "../storage/storage.ts";'],
    ["src/log/x.ts", 'import {\n  a,\n  b,\n} from "../storage/storage.ts";'],
    ["src/log/x.ts", 'const a = await import("../storage/storage.ts");'],
    ["src/log/x.ts", 'import "../storage/storage.ts";'],
    ["src/log/x.ts", 'import { createNodeRuntime } from "../runtime/node.ts";'],
    ["src/api/x.ts", 'import { a } from "../engine/sequencer.ts";'],
    ["src/api/x.ts", 'export * from "../engine/sequencer.ts";'],
    ["src/engine/mvcc/x.ts", 'import { a } from "../lease/lease.ts";'],
    ["src/log/x.ts", 'import { a } from "../../test/sim/random.ts";'],
    ["src/novel/x.ts", ""],
  ];
  for (const [path, text] of bad) equal(problems(importDirections, path, text), 1, text);
  const good: [string, string][] = [
    [
      "src/log/x.ts",
      'import { a } from "../objects/keys.ts"; import { b } from "./y.ts"; import zlib from "node:zlib";',
    ],
    ["src/log/x.ts", '// import { a } from "../storage/storage.ts";\n/* import "../storage/storage.ts"; */'],
    ["src/log/x.ts", "const text = 'import \"../storage/storage.ts\"';"],
    ["src/api/x.ts", 'import { a } from "../engine/engine.ts";'],
    ["src/engine/mvcc/x.ts", 'import { a } from "./y.ts"; import { b } from "../engine.ts";'],
    ["src/log/x.test.ts", 'import { a } from "../../test/sim/random.ts";'],
  ];
  for (const [path, text] of good) equal(problems(importDirections, path, text), 0, text);
});

test("outsideModules sees I/O, packages and chance where they are not allowed", () => {
  const bad: [string, string][] = [
    ["src/log/x.ts", 'import { readFile } from "node:fs/promises";'],
    ["src/engine/x.ts", 'import net from "node:net";'],
    ["src/transport/x.ts", 'import { connect } from "node:tls";'],
    ["src/storage/x.ts", 'import { Worker } from "node:worker_threads";'],
    ["src/storage/x.ts", 'import { gzip } from "node:zlib";'],
    ["src/log/x.ts", 'import { createHash, randomBytes } from "node:crypto";'],
    ["src/log/x.ts", 'import * as crypto from "node:crypto";'],
    ["src/log/x.ts", 'import { request } from "undici";'],
    ["src/objects/fs.ts", 'import { request } from "undici";'],
    ["src/runtime/x.ts", 'import pino from "pino";'],
  ];
  for (const [path, text] of bad) equal(problems(outsideModules, path, text), 1, text);
  const good: [string, string][] = [
    ["src/log/x.ts", 'import { createHash, hash } from "node:crypto"; import { zstdCompressSync } from "node:zlib";'],
    ["src/objects/s3.ts", 'import { Pool } from "undici";'],
    ["src/transport/tls-listener.ts", 'import { createServer } from "node:tls";'],
    ["src/runtime/x.ts", 'import { open } from "node:fs/promises";'],
    ["src/log/x.test.ts", 'import { open } from "node:fs/promises";'],
  ];
  for (const [path, text] of good) equal(problems(outsideModules, path, text), 0, text);
});

test("forbiddenGlobals sees them in code, and not in comments, strings or regular expressions", () => {
  const bad = [
    "const now = Date.now();",
    "const now = performance.now();",
    "const now = process.hrtime.bigint();",
    "setTimeout(() => {}, 1);",
    "const text = `a ${setInterval(f, 1)} b`;",
    "await new Promise(setImmediate);",
    "const n = Math.random();",
    "const id = crypto.randomUUID();",
    "const level = process.env.LEVEL;",
    "const signal = AbortSignal.timeout(10);",
    "process.exit(1);",
    "const ratio = (a + b) / c; const now = Date.now(); const half = now / 2;",
  ];
  for (const text of bad) ok(problems(forbiddenGlobals, "src/log/x.ts", text) >= 1, text);
  equal(problems(forbiddenGlobals, "test/sim/x.ts", "setTimeout(f, 1);"), 1);
  equal(problems(forbiddenGlobals, "src/engine/x.ts", "process.exit(1);"), 1);
  equal(problems(forbiddenGlobals, "src/server/x.ts", "process.exit(1);"), 0);
  equal(problems(forbiddenGlobals, "src/log/x.ts", "a();\n/* b */\nDate.now();"), 1);
  ok(forbiddenGlobals(sourceFile("src/log/x.ts", "a();\n/* b\n */\nDate.now();"))[0]?.startsWith("src/log/x.ts:4:"));
  const good = [
    "// Date.now()",
    'const text = "Math.random()";',
    "const text = `setTimeout( ${name} `;",
    "const pattern = /process.env[/]Date.now/; const half = a / b;",
    "runtime.timers.setTimeout(1);",
    "runtime.clock.wallMs();",
  ];
  for (const text of good) equal(problems(forbiddenGlobals, "src/log/x.ts", text), 0, text);
  for (const path of ["src/runtime/x.ts", "src/cli/x.ts", "src/server/x.ts", "src/log/x.test.ts"]) {
    equal(problems(forbiddenGlobals, path, "const now = Date.now();"), 0, path);
  }
});

test("seededChance sees what draws without the tests' seed", () => {
  const bad: [string, string][] = [
    ["src/log/x.test.ts", 'import fc from "fast-check";'],
    ["test/engine/x.ts", 'import { sample } from "fast-check";'],
    ["test/engine/x.test.ts", 'const fc = await import("fast-check");'],
    ["test/engine/x.test.ts", 'import { createHash, randomBytes } from "node:crypto";'],
    ["src/log/x.fuzz.ts", 'import { randomInt } from "node:crypto";'],
    ["src/log/x.test.ts", "const n = Math.random();"],
    ["src/log/x.test.ts", "const id = crypto.randomUUID();"],
  ];
  for (const [path, text] of bad) equal(problems(seededChance, path, text), 1, text);
  const good: [string, string][] = [
    ["test/properties.ts", 'import fc from "fast-check"; import { randomInt } from "node:crypto";'],
    ["src/log/x.test.ts", 'import { fc } from "../../test/properties.ts"; import { createHash } from "node:crypto";'],
    ["src/log/x.test.ts", '// Math.random()\nconst text = "Math.random()";'],
    ["test/soak/main.ts", 'import { randomInt } from "node:crypto"; const n = Math.random();'],
  ];
  for (const [path, text] of good) equal(problems(seededChance, path, text), 0, text);
});

test("importEndings and noBarrels", () => {
  equal(problems(importEndings, "src/log/x.ts", 'import { a } from "./y.js";'), 1);
  equal(problems(importEndings, "src/log/x.ts", 'export { a } from "./y";'), 1);
  equal(problems(importEndings, "src/log/x.ts", 'import { a } from "./y.ts"; import b from "pkg";'), 0);
  equal(problems(noBarrels, "src/log/x.ts", 'export * from "./y.ts";'), 1);
  equal(problems(noBarrels, "src/log/x.ts", 'export { a } from "./y.ts";'), 1);
  equal(problems(noBarrels, "src/log/x.ts", 'export type { A } from "./y.ts";'), 1);
  equal(problems(noBarrels, "src/log/x.ts", 'import type { B } from "./z.ts";\nexport type { B };\nconst a = 1;'), 0);
  equal(problems(noBarrels, "src/log/x.ts", 'export { a } from "./y.ts";\nexport const b = 1;'), 0);
  equal(problems(noBarrels, "src/log/index.ts", ""), 1);
  equal(problems(noBarrels, "src/index.ts", 'export { a } from "./y.ts";'), 0);
  equal(problems(noBarrels, "src/log/x.ts", 'export const from = "y"; export { a };'), 0);
});

test("kebabCase and emptyNames", () => {
  for (const path of [
    "src/log/someFile.ts",
    "src/log/Some.ts",
    "src/logFiles/x.ts",
    "src/log/a_b.ts",
    "src/log/x.foo.ts",
  ]) {
    equal(problems(kebabCase, path, ""), 1, path);
  }
  for (const path of ["src/index.ts", "src/log/a-b2.ts", "src/objects/s3.s3.test.ts", "src/runtime/x.d.ts"]) {
    equal(problems(kebabCase, path, ""), 0, path);
  }
  for (const path of ["src/utils/x.ts", "src/log/helpers.ts", "src/common/x.ts", "src/log/util.test.ts"]) {
    equal(problems(emptyNames, path, ""), 1, path);
  }
  equal(problems(emptyNames, "src/log/common-prefix.ts", ""), 0);
});

test("columns and fileLength", () => {
  equal(problems(columns, "src/log/x.ts", `${"x".repeat(120)}\n${"é".repeat(120)}\n`), 0);
  equal(problems(columns, "src/log/x.ts", `a\n${"x".repeat(121)}\n`), 1);
  equal(problems(fileLength, "src/log/x.ts", "x\n".repeat(600)), 0);
  equal(problems(fileLength, "src/log/x.ts", "x\n".repeat(601)), 1);
});

test("noMarks and noMachinePaths", () => {
  for (const mark of ["TO" + "DO", "FIX" + "ME", "X" + "XX"]) {
    equal(noMarks({ path: "docs/x.md", text: `a\n<!-- ${mark}: later -->` }).length, 1, mark);
  }
  equal(noMarks({ path: "docs/x.md", text: "todo lists, TODOS and hacks" }).length, 0);
  for (const folder of ["wo" + "rk", "ho" + "me", "ro" + "ot", "Us" + "ers"]) {
    equal(noMachinePaths({ path: "docs/x.md", text: `see /${folder}/project/x` }).length, 1, folder);
  }
  equal(
    noMachinePaths({ path: "docs/x.md", text: "a/work/b, framework/x, ./home/x, /workers/x, /var/lib/t4" }).length,
    0,
  );
  const locked = `"resolved": "https` + `://mirror.example/x.tgz"`;
  equal(noMachinePaths({ path: "package-lock.json", text: locked }).length, 1);
});

test("a source's imports are found however they are written", () => {
  const { imports } = sourceFile(
    "src/log/x.ts",
    'import a, { type B, c as d } from "x";\nimport * as e from "y";\n' +
      'import type { F } from "z";\nconst g = import("w");\n' +
      'export type { H } from "v";\nimport "u";\nexport const from = "t";\nconst s = "import \'r\'";\n',
  );
  deepEqual(
    imports.map(({ from, line, names, reExport }) => `${line} ${from} ${names} ${reExport}`),
    ["1 x B,c,* false", "2 y * false", "3 z F false", "4 w * false", "5 v H true", "6 u  false"],
  );
});
