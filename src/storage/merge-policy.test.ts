import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { pickMerge } from "./merge-policy.ts";
import { defaultTreeSettings } from "./tree.ts";

const MIB = 1 << 20;
const policy = { runsMax: 4, inputsMax: 10 };

test("few runs are left alone", () => {
  equal(pickMerge([1, 1, 1, 1], policy), null);
});

test("runs of like size are merged, a large old one is left", () => {
  deepEqual(
    pickMerge(
      [8, 8, 8, 8, 900].map((mib) => mib * MIB),
      policy,
    ),
    { first: 0, end: 4 },
  );
  deepEqual(
    pickMerge(
      [1, 50, 50, 60, 900].map((mib) => mib * MIB),
      policy,
    ),
    { first: 1, end: 4 },
  );
});

test("small runs count as equal, so that they do not pile up", () => {
  deepEqual(pickMerge([10, 70_000, 10, 70_000, 10, 900 * MIB], policy), { first: 0, end: 5 });
});

test("where none are alike the cheapest neighbours go", () => {
  deepEqual(
    pickMerge(
      [2, 8, 32, 128, 512].map((mib) => mib * MIB),
      policy,
    ),
    { first: 0, end: 2 },
  );
});

test("a long time of flushes keeps the runs few and rewrites each byte a logarithmic number of times", () => {
  const defaults = { runsMax: defaultTreeSettings.runsMax, inputsMax: defaultTreeSettings.mergeInputsMax };
  let runs: number[] = [];
  let written = 0;
  const flushes = 2000;
  for (let i = 0; i < flushes; i++) {
    runs = [MIB * 8, ...runs];
    for (let picked = pickMerge(runs, defaults); picked !== null; picked = pickMerge(runs, defaults)) {
      const sum = runs.slice(picked.first, picked.end).reduce((all, bytes) => all + bytes, 0);
      written += sum;
      runs = [...runs.slice(0, picked.first), sum, ...runs.slice(picked.end)];
    }
    equal(runs.length <= defaults.runsMax, true);
  }
  const rewrites = written / (flushes * MIB * 8);
  equal(rewrites < 8, true, `each byte is rewritten ${rewrites.toFixed(1)} times`);
});
