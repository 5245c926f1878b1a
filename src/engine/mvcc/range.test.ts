import { deepEqual, equal, rejects, throws } from "node:assert/strict";
import { test } from "node:test";
import { openRig, type Rig } from "../../../test/engine/doubles.ts";
import { del, everything, lease, plain, put, range, shown } from "../../../test/engine/requests.ts";
import { isDbError } from "../../base/errors.ts";
import type { RangeRequest, RangeResult } from "../engine.ts";

/** Revisions 2–7: a, b, c, a again, d, c gone. */
async function filled(): Promise<Rig> {
  const rig = await openRig();
  const { database } = rig;
  for (const [key, value] of ["a1", "b3", "c2", "a9", "d0"].map((text) => [...text]))
    await database.put(put(key!, value));
  await database.deleteRange(del("c"));
  return rig;
}

const ask = async (rig: Rig, request: RangeRequest): Promise<RangeResult> => rig.database.range(request);
const rows = async (rig: Rig, request: RangeRequest): Promise<(string | null)[]> =>
  (await ask(rig, request)).rows.map(shown);
const keys = async (rig: Rig, request: RangeRequest): Promise<string[]> =>
  (await rows(rig, request)).map((row) => row!.slice(0, row!.indexOf("=")));

test("R3 a future revision is refused", async () => {
  const rig = await filled();
  throws(
    () => rig.database.range(range("a", "", { revision: 8 })),
    (error) => isDbError(error, "futureRevision"),
  );
});

test("R4, C2 a revision below the compact revision is refused, that itself is served", async () => {
  const rig = await filled();
  await rig.database.compact({ revision: 5, physical: false });
  throws(
    () => rig.database.range(range("a", "", { revision: 4 })),
    (error) => isDbError(error, "compacted"),
  );
  deepEqual(await keys(rig, range(...everything, { revision: 5 })), ["a", "b", "c"]);
});

test("R5 a revision of 0 and below is the newest", async () => {
  const rig = await filled();
  for (const revision of [0, -1, -9]) deepEqual(await rows(rig, range("a", "", { revision })), ["a=9@2/5/2"]);
});

test('R6 range_end: empty is one key, "\\0" all from the key on, at or before the key nothing', async () => {
  const rig = await filled();
  deepEqual(await keys(rig, range("b")), ["b"]);
  deepEqual(await keys(rig, range("b", "\0")), ["b", "d"]);
  deepEqual(await keys(rig, range(...everything)), ["a", "b", "d"]);
  deepEqual(await keys(rig, range("a", "d")), ["a", "b"]);
  for (const end of ["b", "a"])
    deepEqual(plain(await ask(rig, range("b", end))), { revision: 7, more: false, count: 0, rows: [] });
});

test("R7 more and count: the count is of all, before limit and filters", async () => {
  const rig = await filled();
  for (const [limit, length, more] of [
    [0, 3, false],
    [-1, 3, false],
    [1, 1, true],
    [2, 2, true],
    [3, 3, false],
    [4, 3, false],
  ] as const) {
    const result = await ask(rig, range(...everything, { limit }));
    deepEqual([result.rows.length, result.more, result.count], [length, more, 3], `limit ${limit}`);
  }
  const filtered = await ask(rig, range(...everything, { limit: 1, minModRevision: 4 }));
  deepEqual([filtered.rows.map(shown), filtered.more, filtered.count], [["a=9@2/5/2"], true, 3]);
  equal((await ask(rig, range("a", "", { limit: 1 }))).more, false);
});

test("R8 order by each target, both ways", async () => {
  const rig = await filled();
  const by = (sortTarget: number, sortOrder: number, limit = 0) =>
    keys(rig, range(...everything, { sortTarget, sortOrder, limit }));
  deepEqual(await by(0, 0), ["a", "b", "d"]);
  deepEqual(await by(0, 1), ["a", "b", "d"]);
  deepEqual(await by(0, 2), ["d", "b", "a"]);
  deepEqual(await by(0, 2, 2), ["d", "b"]);
  deepEqual(await by(1, 2), ["a", "b", "d"]);
  deepEqual(await by(2, 2), ["d", "b", "a"]);
  deepEqual(await by(3, 0), ["b", "a", "d"]);
  deepEqual(await by(4, 0), ["d", "b", "a"]);
  deepEqual(await by(4, 2, 1), ["a"]);
});

test("Q1 without an order, another target than the key cuts first and sorts what is left", async () => {
  const rig = await filled();
  deepEqual(await keys(rig, range(...everything, { sortTarget: 4, limit: 1 })), ["b"]);
  deepEqual(await keys(rig, range(...everything, { sortTarget: 4, sortOrder: 1, limit: 1 })), ["d"]);
});

test("R9 filters on both revisions, a negative bound is a bound", async () => {
  const rig = await filled();
  deepEqual(await keys(rig, range(...everything, { minModRevision: 5 })), ["a", "d"]);
  deepEqual(await keys(rig, range(...everything, { maxModRevision: 5 })), ["a", "b"]);
  deepEqual(await keys(rig, range(...everything, { minCreateRevision: 3, maxCreateRevision: 5 })), ["b"]);
  const none = await ask(rig, range(...everything, { maxModRevision: -3 }));
  deepEqual([none.rows.length, none.count], [0, 3]);
  const point = await ask(rig, range("a", "", { minModRevision: 6 }));
  deepEqual([point.rows.length, point.count], [0, 1]);
});

test("R10 keys_only rows are complete here: who encodes them leaves the value out", async () => {
  const rig = await filled();
  deepEqual(await rows(rig, range("a", "", { keysOnly: true })), ["a=9@2/5/2"]);
});

test("R11 count_only: no rows, more false", async () => {
  const rig = await filled();
  const counted = { revision: 7, more: false, count: 3, rows: [] };
  deepEqual(plain(await ask(rig, range(...everything, { countOnly: true, limit: 1 }))), counted);
  deepEqual(plain(await ask(rig, range("a", "", { countOnly: true }))), { ...counted, count: 1 });
  deepEqual(plain(await ask(rig, range("c", "", { countOnly: true }))), { ...counted, count: 0 });
  deepEqual(plain(await ask(rig, range(...everything, { countOnly: true, revision: 4 }))), counted);
});

test("R13, Q8, R14 the header has the newest revision; a fresh store is at 1", async () => {
  equal((await ask(await openRig(), range("a"))).revision, 1);
  equal((await ask(await filled(), range("a", "", { revision: 2 }))).revision, 7);
});

test("R15, R16 versions, leases and values are those of the revision asked for", async () => {
  const rig = await openRig();
  const { database } = rig;
  await database.leaseGrant({ id: lease(-3), ttlSeconds: 100n });
  await database.put(put("k", "one", { lease: lease(-3) }));
  await database.put(put("k", "two"));
  await database.deleteRange(del("k"));
  await database.put(put("k", "three"));
  const at = (revision: number) => rows(rig, range("k", "", { revision }));
  deepEqual(await at(2), ["k=one@2/2/1+-3"]);
  deepEqual(await at(3), ["k=two@2/3/2"]);
  deepEqual(await at(4), []);
  deepEqual(await at(5), ["k=three@5/5/1"]);
});

test("a range over a tree that has to wait is answered all the same, as of the moment it was asked", async () => {
  const rig = await filled();
  rig.tree.isAway = () => true;
  let arrive = (): void => {};
  const arrived = new Promise<void>((resolve) => (arrive = resolve));
  rig.tree.arrival = () => arrived;
  const pending = rig.database.range(range(...everything, { limit: 1 }));
  equal(pending instanceof Promise, true);
  arrive();
  deepEqual(plain(await pending), { revision: 7, more: true, count: 3, rows: ["a=9@2/5/2"] });
  rig.tree.arrival = () => Promise.reject(new Error("gone"));
  await rejects(async () => rig.database.range(range("a")), /gone/);
});

test("R13 the header tells the revision that was read, whatever is committed meanwhile", async () => {
  for (const request of [range("a"), range(...everything), range(...everything, { countOnly: true })]) {
    const rig = await filled();
    const { promise, resolve } = Promise.withResolvers<void>();
    rig.tree.isAway = () => true;
    rig.tree.arrival = () => promise;
    const reading = ask(rig, request);
    rig.tree.isAway = () => false;
    await rig.database.put(put("e", "new"));
    resolve();
    equal((await reading).revision, 7);
  }
});

test("R7 rows and count are asked of the tree in one turn, whatever compaction passes between", async () => {
  const rig = await filled();
  rig.tree.isAway = () => true;
  const before = rig.tree.reads;
  const reading = ask(rig, range(...everything, { limit: 1 }));
  equal(rig.tree.reads, before + 2);
  const { count, more } = await reading;
  deepEqual([count, more], [3, true]);
});
