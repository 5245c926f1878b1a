import { equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { del, lease, put, range, txn } from "../../../test/engine/requests.ts";
import { fc } from "../../../test/properties.ts";
import { isDbError } from "../../base/errors.ts";
import type { RequestOp } from "../engine.ts";
import { DeletedKeys } from "./check-duplicates.ts";
import { checkDeleteRange, checkPut, checkRange, checkTxn } from "./check-request.ts";

const refuses = (check: () => void, kind: Parameters<typeof isDbError>[1]): void =>
  throws(check, (error) => isDbError(error, kind));
const passes = (...success: RequestOp[]): void => checkTxn(txn(success), 128);
const duplicate = (...success: RequestOp[]): void => {
  refuses(() => checkTxn(txn(success), 128), "duplicateKey");
  refuses(() => checkTxn(txn([], success), 128), "duplicateKey");
};

test("R1 an empty key is refused, before R2 a sort order or target that is not in the enum", () => {
  refuses(() => checkRange(range("", "", { sortOrder: 9 })), "emptyKey");
  refuses(() => checkRange(range("k", "", { sortOrder: 3 })), "invalidSortOption");
  refuses(() => checkRange(range("k", "", { sortOrder: -1 })), "invalidSortOption");
  refuses(() => checkRange(range("k", "", { sortTarget: 5 })), "invalidSortOption");
  checkRange(range("k", "", { sortOrder: 2, sortTarget: 4 }));
});

test("P1 before P2 before P3", () => {
  const all = { ignoreValue: true, ignoreLease: true, lease: lease(1) };
  refuses(() => checkPut(put("", "v", all)), "emptyKey");
  refuses(() => checkPut(put("k", "v", all)), "valueProvided");
  refuses(() => checkPut(put("k", "", all)), "leaseProvided");
  checkPut(put("k", "", { ignoreValue: true, ignoreLease: true }));
  checkPut(put("k", ""));
});

test("D1 an empty key is refused", () => refuses(() => checkDeleteRange(del("")), "emptyKey"));

test("T1 each of compare, success and failure is bounded; a nested transaction has what is left over", () => {
  const puts = (count: number): RequestOp[] => Array.from({ length: count }, (_, i) => put(`k${i}`));
  checkTxn(txn(puts(128), puts(128)), 128);
  refuses(() => checkTxn(txn(puts(129)), 128), "tooManyOps");
  refuses(() => checkTxn(txn([], puts(129)), 128), "tooManyOps");
  const compare = Array.from(
    { length: 129 },
    () => ({ key: "k", rangeEnd: "", result: "equal", target: "unknown" }) as const,
  );
  refuses(() => checkTxn(txn([], [], compare), 128), "tooManyOps");
  checkTxn(txn([txn(puts(127))]), 128);
  refuses(() => checkTxn(txn([txn(puts(128))]), 128), "tooManyOps");
  checkTxn(
    txn([
      txn(puts(64)),
      ...puts(64)
        .slice(1)
        .map(() => range("r")),
    ]),
    128,
  );
  refuses(() => checkTxn(txn([txn(puts(65)), ...Array.from({ length: 63 }, () => range("r"))]), 128), "tooManyOps");
});

test("T2 T3 T4 a compare's empty key, an operation without a member, each operation's own checks", () => {
  const compare = { key: "", rangeEnd: "", result: "equal", target: "unknown" } as const;
  refuses(() => checkTxn(txn([], [], [compare]), 128), "emptyKey");
  refuses(() => passes({ kind: "empty" }), "keyNotFound");
  refuses(() => passes(txn([], [{ kind: "empty" }])), "keyNotFound");
  refuses(() => passes(put("k", "v", { ignoreValue: true })), "valueProvided");
  refuses(() => passes(del("")), "emptyKey");
  refuses(() => passes(txn([range("k", "", { sortTarget: 7 })])), "invalidSortOption");
  // Counts and operations are looked at in both branches before duplicates are.
  refuses(() => checkTxn(txn([put("k"), put("k")], [{ kind: "empty" }]), 128), "keyNotFound");
});

test("T5 within one level", () => {
  duplicate(put("k"), put("k"));
  duplicate(put("k"), del("k"));
  duplicate(del("a", "z"), put("k"));
  duplicate(put("k"), del("a", "z"));
  passes(put("z"), del("a", "z"));
  passes(del("a", "z"), del("b", "y"), del("k"));
  checkTxn(txn([put("k")], [put("k"), del("a")]), 128);
});

test('T5 a range with its end at or before its key covers nothing, "\\0" included (as etcd)', () => {
  passes(put("k"), del("a", "\0"));
  passes(del("\0", "\0"), put("k"));
  passes(del("k", "k"), put("k"));
  passes(del("z", "a"), put("k"));
});

test("T5 through nested transactions", () => {
  duplicate(txn([put("k")]), put("k"));
  duplicate(txn([], [put("k")]), put("k"));
  duplicate(txn([put("k")]), txn([], [put("k")]));
  passes(txn([put("k")], [put("k")]));
  duplicate(txn([put("k")], [put("q")]), txn([], [put("k")]));
  duplicate(txn([put("k")]), del("k"));
  duplicate(txn([del("k")]), put("k"));
  duplicate(txn([txn([txn([put("k")])])]), txn([put("k")]));
});

test("T5 of sibling nested transactions, a put then a delete passes, a delete then a put does not", () => {
  passes(txn([put("k")]), txn([del("k")]));
  duplicate(txn([del("k")]), txn([put("k")]));
  duplicate(txn([del("a", "z")]), txn([put("k")]));
  passes(txn([del("k")], [put("k")]));
  duplicate(txn([del("k")], [put("j")]), txn([put("k")]));
});

test("deleted keys and ranges are found as a plain list finds them", () => {
  const text = fc.stringMatching(/^[a-f]{1,2}$/);
  const ranges = fc.array(fc.tuple(text, fc.oneof(fc.constant(""), fc.constant("\0"), text)), { maxLength: 12 });
  fc.assert(
    fc.property(ranges, ranges, text, (first, second, key) => {
      const deleted = new DeletedKeys();
      for (const [from, rangeEnd] of first) deleted.add({ key: from, rangeEnd });
      const more = new DeletedKeys();
      for (const [from, rangeEnd] of second) more.add({ key: from, rangeEnd });
      deleted.addAll(more);
      const covered = [...first, ...second].some(([from, to]) => (to === "" ? key === from : key >= from && key < to));
      equal(deleted.has(key), covered);
    }),
    { numRuns: 500 },
  );
});

test("a hostile transaction of very many operations is checked quickly", () => {
  const nested = Array.from({ length: 64 }, (_, n) =>
    txn(Array.from({ length: 64 }, (_, i) => (i % 2 ? del(`d${n}-${i}`, `d${n}-${i}x`) : put(`p${n}-${i}`)))),
  );
  const started = process.cpuUsage().user;
  checkTxn(txn(nested), 128);
  equal(process.cpuUsage().user - started < 1_000_000, true);
});
