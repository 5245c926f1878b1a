import { equal } from "node:assert/strict";
import { test } from "node:test";
import { memtableRefusal } from "./open-branch.ts";

test("writes are refused when four memtables wait to be written, by a text that says how much", () => {
  equal(memtableRefusal(399, 100), null);
  const refusal = memtableRefusal(400, 100);
  equal(refusal?.kind, "tooManyRequests");
  equal(refusal?.message, "400 bytes of state wait to be written as tables");
});
