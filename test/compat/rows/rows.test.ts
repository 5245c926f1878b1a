import { deepEqual, ok } from "node:assert/strict";
import { test } from "node:test";
import { answers } from "../../../src/api/errors.ts";
import { allRows, coverage, errorTexts, rowsOf, withoutMeaning } from "./rows.ts";

test("every row of etcd's API has a test that names it, or a reason why it means nothing here", () => {
  const tests = coverage();
  const missing = allRows.filter((row) => tests.get(row)!.length === 0 && !(row in withoutMeaning));
  deepEqual(missing, []);
});

test("no row has both a reason and a test, and no reason is of a row that is none", () => {
  const tests = coverage();
  for (const row of Object.keys(withoutMeaning)) {
    ok(allRows.includes(row), `${row} is no row`);
    deepEqual(tests.get(row), [], `${row} has a test`);
  }
});

test("rows are read from titles: one by one, and from one to another", () => {
  deepEqual(rowsOf("W2 W21 watch ids"), ["W2", "W21"]);
  deepEqual(rowsOf("kubernetes: deletes (KA7-KA9)"), ["KA7", "KA8", "KA9"]);
  deepEqual(rowsOf("B1.1 E5 too large, T1–T3"), ["B1.1", "E05", "T1", "T2", "T3"]);
  deepEqual(rowsOf("UTF8x, the key W1x and v3.6"), []);
});

test("each of etcd's errors that can occur here is answered with its text and the code it arrives with", () => {
  const ours = new Map(Object.values(answers).map(({ text, code }) => [text, code]));
  for (const [row, [code, text]] of errorTexts()) {
    if (row in withoutMeaning) continue;
    // Made where its method is, not from a kind of error.
    if (row === "E07") continue;
    deepEqual(ours.get(text), code, `${row} ${text}`);
  }
});
