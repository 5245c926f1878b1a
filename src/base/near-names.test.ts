import assert from "node:assert/strict";
import { test } from "node:test";
import { nearNames } from "./near-names.ts";

test("names within two edits are near, the nearest first", () => {
  assert.deepEqual(nearNames("mian", ["main", "maine", "staging", "mina"]), ["main", "mina"]);
  assert.deepEqual(nearNames("stagin", ["staging", "stag", "main"]), ["staging", "stag"]);
});

test("a beginning is near, whatever comes behind it", () => {
  assert.deepEqual(nearNames("rehearsal", ["rehearsal-2026-11", "main"]), ["rehearsal-2026-11"]);
});

test("nothing is near a name that is like none, and never more than three are told", () => {
  assert.deepEqual(nearNames("other", ["main", "staging"]), []);
  assert.equal(nearNames("ci-1", ["ci-2", "ci-3", "ci-4", "ci-5"]).length, 3);
});
