import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { openRig, type Rig } from "../../../test/engine/doubles.ts";
import {
  compareMod,
  compareValue,
  del,
  everything,
  lease,
  plain,
  put,
  range,
  shown,
  txn,
} from "../../../test/engine/requests.ts";
import { isDbError } from "../../base/errors.ts";
import type { Compare, RequestOp, TxnResult } from "../engine.ts";

const run = async (rig: Rig, ...ops: RequestOp[]): Promise<TxnResult> => rig.database.txn(txn(ops));
const succeeds = async (rig: Rig, ...compare: Compare[]): Promise<boolean> =>
  (await rig.database.txn(txn([], [], compare))).succeeded;

async function filled(...keys: string[]): Promise<Rig> {
  const rig = await openRig();
  for (const key of keys) await rig.database.put(put(key, key));
  return rig;
}

test("T6 a missing key compares as zeros, but nothing holds of its value; unknown results hold", async () => {
  const rig = await filled("a");
  const of = (target: "version" | "create" | "mod" | "lease", operand: bigint, key = "none"): Compare => ({
    key,
    rangeEnd: "",
    result: "equal",
    target,
    operand,
  });
  for (const target of ["version", "create", "mod", "lease"] as const)
    equal(await succeeds(rig, of(target, 0n)), true, target);
  equal(await succeeds(rig, of("mod", 2n, "a"), of("create", 2n, "a"), of("version", 1n, "a")), true);
  for (const result of ["equal", "notEqual", "greater", "less", "unknown"] as const)
    equal(await succeeds(rig, compareValue("none", "", result)), false, result);
  equal(
    await succeeds(
      rig,
      compareValue("a", "a", "equal"),
      compareValue("a", "b", "less"),
      compareValue("a", "A", "greater"),
    ),
    true,
  );
  equal(await succeeds(rig, compareMod("a", 99, "unknown")), true);
  equal(await succeeds(rig, { key: "a", rangeEnd: "", result: "equal", target: "unknown" }), true);
  equal(await succeeds(rig, { key: "a", rangeEnd: "", result: "notEqual", target: "unknown" }), false);
});

test("T6 operands are exact int64, leases negative too", async () => {
  const rig = await openRig();
  await rig.database.leaseGrant({ id: lease(-5), ttlSeconds: 60n });
  await rig.database.put(put("k", "v", { lease: lease(-5) }));
  const place = { key: "k", rangeEnd: "" };
  const of = (operand: bigint): Compare => ({ ...place, result: "equal", target: "lease", operand });
  equal(await succeeds(rig, of(-5n)), true);
  equal(await succeeds(rig, of(-6n)), false);
  equal(await succeeds(rig, { ...place, target: "mod", result: "less", operand: 2n ** 63n - 1n }), true);
  equal(await succeeds(rig, { ...place, target: "mod", result: "greater", operand: -(2n ** 63n) }), true);
});

test("T7 with range_end it must hold for every key; of none as for a missing key", async () => {
  const rig = await filled("a", "b", "c");
  equal(await succeeds(rig, compareMod("a", 5, "less", "\0")), true);
  equal(await succeeds(rig, compareMod("a", 4, "less", "\0")), false);
  equal(await succeeds(rig, compareMod("a", 4, "less", "c")), true);
  equal(await succeeds(rig, compareMod("x", 0, "equal", "z")), true);
  equal(await succeeds(rig, compareMod("b", 0, "equal", "a")), true);
  equal(await succeeds(rig, compareValue("x", "", "notEqual", "z")), false);
});

test("T8, T9 without comparisons it succeeds; responses align with operations", async () => {
  const rig = await filled("a");
  deepEqual(plain(await run(rig, range("a"), del("none"), put("b"), txn([]))), {
    revision: 3,
    succeeded: true,
    responses: [
      { revision: 2, more: false, count: 1, rows: ["a=a@2/2/1"] },
      { revision: 2, deleted: 0, prevs: [] },
      { revision: 3, prev: null },
      { revision: 0, succeeded: true, responses: [] },
    ],
  });
});

test("T10, T14 a check that fails in the branch taken fails all; the other branch is not checked", async () => {
  const rig = await filled("a");
  const { database } = rig;
  const refused = (kind: Parameters<typeof isDbError>[1], ...ops: RequestOp[]) => {
    throws(
      () => database.txn(txn([put("z"), ...ops])),
      (error) => isDbError(error, kind),
    );
    throws(
      () => database.txn(txn([put("z"), txn(ops)])),
      (error) => isDbError(error, kind),
    );
  };
  refused("futureRevision", range("a", "", { revision: 3 }));
  refused("leaseNotFound", put("b", "v", { lease: lease(9) }));
  refused("keyNotFound", put("b", "", { ignoreValue: true }));
  refused("keyNotFound", put("b", "", { ignoreValue: true, lease: lease(9) }));
  await database.compact({ revision: 2, physical: false });
  refused("compacted", range("a", "", { revision: 1 }));
  refused("compacted", range("a", "", { revision: -1 }));
  equal((await database.range(range("z"))).count, 0);
  equal(database.committed, 2);
  const otherBranch = [range("a", "", { revision: 99 }), put("b", "v", { lease: lease(9) })];
  equal((await database.txn(txn([put("z")], otherBranch))).revision, 3);
});

test("P4, P5 of a put by itself the lease is looked for first, within a transaction the key", async () => {
  const { database } = await openRig();
  const request = put("none", "", { ignoreValue: true, lease: lease(9) });
  throws(
    () => database.put(request),
    (error) => isDbError(error, "leaseNotFound"),
  );
  throws(
    () => database.txn(txn([request])),
    (error) => isDbError(error, "keyNotFound"),
  );
});

test("T11 one revision; later operations see earlier ones; without changes there is none", async () => {
  const rig = await filled("a");
  const result = await run(rig, put("b", "1"), range(...everything), put("a", "2"), range("a"));
  deepEqual(result.responses.map(plain).slice(1), [
    { revision: 3, more: false, count: 2, rows: ["a=a@2/2/1", "b=1@3/3/1"] },
    { revision: 3, prev: null },
    { revision: 3, more: false, count: 1, rows: ["a=2@2/3/2"] },
  ]);
  equal((await run(rig, del("none"), range("a"))).revision, 3);
  const old = await run(rig, put("a", "3"), range("a", "", { revision: 3 }));
  deepEqual(plain(old.responses[1]!), { revision: 4, more: false, count: 1, rows: ["a=2@2/3/2"] });
});

test("T11 a limited range sees enough beyond what was deleted, and cuts where own keys lie beyond", async () => {
  const rig = await filled("a", "b", "c", "d", "e");
  const limited = range(...everything, { limit: 1 });
  const result = await run(rig, del("a"), del("b"), limited, del("c", "d"), limited, put("A"), limited);
  deepEqual(
    [2, 4, 6].map((index) => plain(result.responses[index]!)),
    [
      { revision: 7, more: true, count: 3, rows: ["c=c@4/4/1"] },
      { revision: 7, more: true, count: 2, rows: ["d=d@5/5/1"] },
      { revision: 7, more: true, count: 3, rows: ["A=v@7/7/1"] },
    ],
  );
  // Q1 cuts before it sorts: "z" has the least value, but is not among the first two keys.
  const least = range(...everything, { limit: 1, sortTarget: 4 });
  const cut = await run(rig, put("z", ""), least);
  deepEqual(plain(cut.responses[1]!), { revision: 8, more: true, count: 4, rows: ["d=d@5/5/1"] });
  const backwards = await run(rig, del("z"), range(...everything, { limit: 1, sortOrder: 2 }));
  deepEqual(plain(backwards.responses[1]!), { revision: 9, more: true, count: 3, rows: ["e=e@6/6/1"] });
});

test("T12, Q4 comparisons of nested transactions are made before anything is written", async () => {
  const rig = await openRig();
  const result = await run(rig, put("a"), txn([put("b", "then")], [put("b", "else")], [compareMod("a", 0)]));
  deepEqual(plain(result.responses[1]!), { revision: 0, succeeded: true, responses: [{ revision: 2, prev: null }] });
  equal(shown((await rig.database.range(range("b"))).rows[0]!), "b=then@2/2/1");
});

test("Q3 a negative revision within a transaction: −1 passes until the first compaction, −2 never", async () => {
  const rig = await filled("a");
  const refused = (revision: number) =>
    throws(
      () => rig.database.txn(txn([range("a", "", { revision })])),
      (error) => isDbError(error, "compacted"),
    );
  equal((await run(rig, range("a", "", { revision: -1 }))).responses.length, 1);
  refused(-2);
  await rig.database.compact({ revision: 0, physical: false });
  refused(-1);
});

test("sibling nested put and delete: a PUT, then a DELETE with the pair of before; the key is gone", async () => {
  const rig = await filled("a");
  await run(rig, txn([put("k", "1"), put("a", "2")]), txn([del("k", "", true), del("a", "", true)]));
  deepEqual(
    rig.watch.revisions.at(-1)!.changes.map(({ key, deleted, prev }) => [key, deleted, shown(prev)]),
    [
      ["k", false, null],
      ["a", false, "a=a@2/2/1"],
      ["k", true, null],
      ["a", true, "a=a@2/2/1"],
    ],
  );
  equal((await rig.database.range(range(...everything, { countOnly: true }))).count, 0);
});

test("D3 to D5 a delete tells how many, and what; of nothing it makes no revision", async () => {
  const rig = await filled("b", "a");
  deepEqual(plain(await rig.database.deleteRange(del("x", "z"))), { revision: 3, deleted: 0, prevs: [] });
  deepEqual(plain(await rig.database.deleteRange(del("a", "\0", true))), {
    revision: 4,
    deleted: 2,
    prevs: ["a=a@3/3/1", "b=b@2/2/1"],
  });
});

test("P6 to P9 a put gives the pair of before if asked, counts versions, may be empty", async () => {
  const { database } = await openRig();
  deepEqual(plain(await database.put(put("k", "", { prevKv: true }))), { revision: 2, prev: null });
  deepEqual(plain(await database.put(put("k", "x", { prevKv: true }))), { revision: 3, prev: "k=@2/2/1" });
  deepEqual(plain(await database.put(put("k", "", { ignoreValue: true, prevKv: true }))), {
    revision: 4,
    prev: "k=x@2/3/2",
  });
  equal(shown((await database.range(range("k"))).rows[0]!), "k=x@2/4/3");
});
