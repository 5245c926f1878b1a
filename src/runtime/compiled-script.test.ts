import { deepEqual, equal, notDeepEqual, ok } from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { loadScript } from "./compiled-script.ts";

const directory = mkdtempSync(join(tmpdir(), "t4-compiled-"));
after(() => rmSync(directory, { recursive: true }));

/** Large enough that what is compiled of it shows in a process's sum. */
const functions = (count: number) =>
  Array.from({ length: count }, (_, n) => `function f${n}(x) { ${`x = x * ${n} + x % 7;`.repeat(100)} return x; }`);
const sourceOf = (answer: string) =>
  `${functions(200).join("\n")}
  exports.answer = ${answer};
  exports.sum = () => ${Array.from({ length: 200 }, (_, n) => `f${n}(1)`).join(" + ")};
  exports.url = moduleUrl;
  exports.platform = require("node:os").platform();
  exports.other = () => require("./other.mjs");`;

function script(name: string, answer = "42"): { file: string; cache: string } {
  const place = mkdtempSync(join(directory, `${name}-`));
  const file = join(place, "script.cjs");
  writeFileSync(file, Buffer.from(sourceOf(answer), "latin1"));
  writeFileSync(join(place, "other.mjs"), "export const beside = true;");
  return { file, cache: mkdtempSync(join(place, "cache-")) };
}
const load = ({ file, cache }: { file: string; cache: string | null }) =>
  loadScript(file, pathToFileURL(file).href, cache);
const keptIn = (cache: string) => readFileSync(join(cache, readdirSync(cache)[0]!));

test("a script has require, its URL, and characters of Latin-1", () => {
  const made = script("plain", '"µ"');
  const { exports } = load(made);
  equal(exports["answer"], "µ");
  equal(exports["url"], pathToFileURL(made.file).href);
  equal(exports["platform"], process.platform);
  equal((exports["other"] as () => { beside: boolean })().beside, true);
});

test("what is compiled is kept, used, and added to by a later process that compiled more", () => {
  const made = script("kept");
  load(made).keep();
  const first = keptIn(made.cache);
  const again = load(made);
  again.keep();
  deepEqual(keptIn(made.cache), first, "nothing was compiled since");
  (again.exports["sum"] as () => number)();
  again.keep();
  ok(keptIn(made.cache).length > first.length + 50_000, "what was called since is kept, too");
  equal(statSync(join(made.cache, readdirSync(made.cache)[0]!)).mode & 0o777, 0o600);
  equal(load(made).exports["answer"], 42);
});

test("what is kept and damaged, or of another text of the same length, is not used and made anew", () => {
  const made = script("damaged");
  load(made).keep();
  const path = join(made.cache, readdirSync(made.cache)[0]!);
  const whole = readFileSync(path);
  for (const at of [0, 5, 9, 20, whole.length - 1]) {
    const damaged = Buffer.from(whole);
    damaged[at]! ^= 1;
    writeFileSync(path, damaged);
    const { exports, keep } = load(made);
    equal(exports["answer"], 42);
    keep();
    notDeepEqual(readFileSync(path), damaged, `byte ${at}`);
  }
  for (const length of [0, 3, 15, 16]) {
    writeFileSync(path, whole.subarray(0, length));
    equal(load(made).exports["answer"], 42);
  }
  writeFileSync(path, whole);
  writeFileSync(made.file, sourceOf("43"));
  equal(load(made).exports["answer"], 43);
});

test("where nothing can be kept a script runs all the same", () => {
  const made = script("nowhere");
  for (const cache of [null, join(made.cache, "missing")]) {
    const { exports, keep } = load({ ...made, cache });
    equal(exports["answer"], 42);
    keep();
  }
  deepEqual(readdirSync(made.cache), []);
});
