import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { test } from "node:test";
import { openRig, settle } from "../../test/engine/doubles.ts";
import { compareMod, del, everything, lease, plain, put, range, shown, txn } from "../../test/engine/requests.ts";
import { assert } from "../base/assert.ts";
import { ClosedByBug, DbError, type ErrorKind, isDbError } from "../base/errors.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import { spaces } from "../storage/storage.ts";
import type { Draft } from "./draft.ts";
import { recordKinds } from "./record.ts";

const isKind = (kind: ErrorKind) => (error: unknown) => isDbError(error, kind);

/** What has become of a call so far: "pending", its answer, or the kind of its error. */
function track<T>(call: () => MaybePromise<T>): { outcome: T | string } {
  const tracked: { outcome: T | string } = { outcome: "pending" };
  (async () => call())().then(
    (answer) => (tracked.outcome = answer),
    (error) => (tracked.outcome = error instanceof DbError ? error.kind : String(error)),
  );
  return tracked;
}

test("no answer before durability, and nothing undurable is shown", async () => {
  const { database, log, watch } = await openRig({ auto: false });
  const first = track(() => database.put(put("a", "1")));
  const second = track(() => database.put(put("a", "2", { prevKv: true })));
  await settle();
  deepEqual([first.outcome, second.outcome], ["pending", "pending"]);
  equal(database.committed, 1);
  equal(database.head.revision, 3);
  deepEqual(plain(await database.range(range("a"))), { revision: 1, more: false, count: 0, rows: [] });
  const serializable = await database.range(range(...everything, { serializable: true, countOnly: true }));
  deepEqual(plain(serializable), { revision: 1, more: false, count: 0, rows: [] });
  throws(() => database.range(range("a", "", { revision: 2 })), isKind("futureRevision"));
  throws(() => database.txn(txn([range("a", "", { revision: 2 })])), isKind("futureRevision"));
  equal(watch.revisions.length, 0);
  log.commit(1);
  equal(database.committed, 2);
  await settle();
  deepEqual(plain(first.outcome as never), { revision: 2, prev: null });
  equal(second.outcome, "pending");
  deepEqual((await database.range(range("a"))).rows.map(shown), ["a=1@2/2/1"]);
  log.commit(2);
  await settle();
  deepEqual(plain(second.outcome as never), { revision: 3, prev: "a=1@2/2/1" });
  deepEqual(
    watch.revisions.map(({ revision, changes }) => [revision, shown(changes[0]!.kv), shown(changes[0]!.prev)]),
    [
      [2, "a=1@2/2/1", null],
      [3, "a=2@2/3/2", "a=1@2/2/1"],
    ],
  );
});

test("answers leave before watchers are told, both after committed has moved", async () => {
  const { database, log, watch } = await openRig({ auto: false });
  const seen: string[] = [];
  watch.committed = (revisions) =>
    seen.push(`told ${revisions.map(({ revision }) => revision)} at ${database.committed}`);
  void (database.put(put("a")) as Promise<unknown>).then(() => seen.push(`answered at ${database.committed}`));
  void (database.put(put("b")) as Promise<unknown>).then(() => seen.push(`answered at ${database.committed}`));
  log.commit();
  await settle();
  deepEqual(seen.sort(), ["answered at 3", "answered at 3", "told 2,3 at 3"]);
});

test("compares see what is sequenced; their answers, and refusals, wait for it to be durable", async () => {
  const { database, log, leadership } = await openRig({ auto: false });
  const create = track(() => database.put(put("a")));
  const calls = [
    track(() => database.txn(txn([put("a")], [range("a")], [compareMod("a", 0)]))),
    track(() => database.deleteRange(del("nothing"))),
    track(() => database.put(put("b", "v", { lease: lease(9) }))),
    track(() => database.put(put("b", "", { ignoreValue: true }))),
    track(() => database.leaseRevoke(lease(9))),
    track(() => database.compact({ revision: 3, physical: false })),
  ];
  await settle();
  for (const { outcome } of [create, ...calls]) equal(outcome, "pending");
  const proofs = leadership.proofs;
  log.commit(1);
  await settle();
  deepEqual(plain(calls[0]!.outcome as never), {
    revision: 2,
    succeeded: false,
    responses: [{ revision: 2, more: false, count: 1, rows: ["a=v@2/2/1"] }],
  });
  deepEqual(plain(calls[1]!.outcome as never), { revision: 2, deleted: 0, prevs: [] });
  deepEqual(
    calls.slice(2).map(({ outcome }) => outcome),
    ["leaseNotFound", "keyNotFound", "leaseNotFound", "futureRevision"],
  );
  equal(leadership.proofs - proofs, 6, "each that wrote nothing was proven after it was durable");
  equal(log.records.length, 1);
});

test("an answer that wrote nothing needs the proof, asked for after its evaluation", async () => {
  const { database, leadership } = await openRig();
  let prove = (_: DbError | null): void => {};
  leadership.answer = new Promise((resolve) => (prove = resolve));
  const nothing = track(() => database.deleteRange(del("nothing")));
  const refused = track(() => database.put(put("k", "", { ignoreLease: true })));
  const wrote = track(() => database.put(put("k")));
  await settle();
  deepEqual([nothing.outcome, refused.outcome], ["pending", "pending"]);
  deepEqual(plain(wrote.outcome as never), { revision: 2, prev: null });
  prove(null);
  await settle();
  deepEqual(
    [plain(nothing.outcome as never), refused.outcome],
    [{ revision: 1, deleted: 0, prevs: [] }, "keyNotFound"],
  );
  leadership.answer = new DbError("noLeader");
  throws(() => database.deleteRange(del("nothing")), isKind("noLeader"));
  throws(() => database.range(range("k")), isKind("noLeader"));
  equal((await database.range(range("k", "", { serializable: true }))).count, 1);
});

test("T13 a read-only transaction needs proof, unless each of its ranges is serializable", async () => {
  const { database, leadership } = await openRig();
  await database.put(put("k"));
  leadership.answer = new DbError("noLeader");
  const serializable = range("k", "", { serializable: true });
  equal((await database.txn(txn([serializable], [serializable]))).succeeded, true);
  throws(() => database.txn(txn([serializable], [range("k")])), isKind("noLeader"));
  throws(() => database.txn(txn([])), isKind("noLeader"));
  leadership.answer = Promise.resolve(null);
  const answer = await database.txn(txn([range("k")], [], [compareMod("k", 2)]));
  deepEqual(plain(answer), {
    revision: 2,
    succeeded: true,
    responses: [{ revision: 2, more: false, count: 1, rows: ["k=v@2/2/1"] }],
  });
});

test("with proof and tree at hand a read is answered without a promise", async () => {
  const { database } = await openRig();
  await database.put(put("k"));
  equal(database.range(range("k")) instanceof Promise, false);
  equal(database.range(range(...everything, { limit: 1 })) instanceof Promise, false);
  equal(database.txn(txn([range("k")])) instanceof Promise, false);
});

test("durability fails: every call pending is told its outcome is unknown; nothing more is answered", async () => {
  const { database, log, watch, ends } = await openRig({ auto: false });
  const calls = [
    track(() => database.put(put("a"))),
    track(() => database.deleteRange(del("nothing"))),
    track(() => database.leaseGrant({ id: lease(1), ttlSeconds: 10n })),
  ];
  log.fail(new DbError("storeUnavailable", "the store is gone"));
  await settle();
  deepEqual(
    calls.map(({ outcome }) => outcome),
    ["leadershipLost", "leadershipLost", "leadershipLost"],
  );
  throws(() => database.put(put("b")), isKind("noLeader"));
  throws(() => database.range(range("b", "", { serializable: true })), isKind("noLeader"));
  throws(() => database.leaseKeepAlive(lease(1)), isKind("noLeader"));
  equal(database.unprovenBecause()?.kind, "noLeader");
  deepEqual([watch.failed?.kind, ends.length], ["noLeader", 1]);
  log.commit(1);
  await settle();
  equal(database.committed, 1, "what is durable after the end is not shown any more");
  equal(watch.revisions.length, 0);
});

test("E48 E50 deposed, and closed", async () => {
  const deposed = await openRig({ auto: false });
  const call = track(() => deposed.database.put(put("a")));
  deposed.leadership.onLost(new DbError("leadershipLost", "epoch 2 leads"));
  await settle();
  equal(call.outcome, "leadershipLost");
  const closed = await openRig({ auto: false });
  const pending = track(() => closed.database.put(put("a")));
  closed.database.close();
  await settle();
  equal(pending.outcome, "stopped");
  throws(() => closed.database.put(put("a")), isKind("stopped"));
  throws(() => closed.database.range(range("a")), isKind("stopped"));
  equal(closed.watch.failed?.kind, "stopped");
});

test("B1.5 E49 past the request timeout a call is told so; it is committed when it is durable", async () => {
  const { database, log, time, watch } = await openRig({ auto: false });
  const early = track(() => database.put(put("a")));
  await time.pass(3000);
  const late = track(() => database.put(put("b")));
  const nothing = track(() => database.deleteRange(del("nothing")));
  await time.pass(3999);
  equal(early.outcome, "pending");
  await time.pass(20);
  deepEqual([early.outcome, late.outcome], ["timeout", "pending"]);
  equal(database.callsPending, 3, "what is not durable still counts");
  await time.pass(3000);
  deepEqual([late.outcome, nothing.outcome], ["timeout", "timeout"]);
  log.commit();
  equal(database.committed, 3);
  equal(watch.revisions.length, 2);
  equal(database.callsPending, 0);
  await time.pass(60_000);
  equal(time.timersSet, 0, "nothing pending, no timer");
});

test("B1.4 E26 calls and bytes not yet durable are bounded", async () => {
  const calls = await openRig({ auto: false, settings: { callsMax: 3 } });
  for (let i = 0; i < 3; i++) void track(() => calls.database.put(put(`k${i}`)));
  throws(() => calls.database.put(put("k")), isKind("tooManyRequests"));
  calls.log.commit();
  void track(() => calls.database.put(put("k")));
  equal(calls.log.records.length, 4);
  const bytes = await openRig({ auto: false, settings: { bytesMax: 1000 } });
  void track(() => bytes.database.put(put("k", "x".repeat(1000))));
  throws(() => bytes.database.put(put("k")), isKind("tooManyRequests"));
});

test("what the log refuses is refused with its error", async () => {
  const { database, log } = await openRig();
  log.refused = new DbError("storeUnavailable", "too much is not uploaded");
  throws(() => database.put(put("k")), isKind("storeUnavailable"));
  log.refused = null;
  await database.put(put("k"));
});

test("a read that must be waited for does not hold up others, nor does it see half of them", async () => {
  const { database, tree } = await openRig();
  await database.put(put("cold", "1"));
  let arrive = (): void => {};
  tree.arrival = () => new Promise<void>((resolve) => (arrive = resolve));
  tree.isAway = (what) => what === "scan";
  const slow = track(() => database.txn(txn([del("a", "z"), range(...everything)])));
  await database.put(put("other", "2"));
  equal(slow.outcome, "pending");
  tree.isAway = () => false;
  arrive();
  await settle();
  deepEqual(plain(slow.outcome as never), {
    revision: 4,
    succeeded: true,
    responses: [
      { revision: 4, deleted: 2, prevs: [] },
      { revision: 4, more: false, count: 0, rows: [] },
    ],
  });
});

test("what was read counts until something else is sequenced: a range that is deleted is read once", async () => {
  const { database, tree } = await openRig();
  for (const key of ["a", "b"]) await database.put(put(key, "0"));
  const arrivals: (() => void)[] = [];
  tree.arrival = () => new Promise((resolve) => arrivals.push(resolve));
  let scans = 0;
  tree.isAway = (what) => what === "scan" && ++scans > 0;
  const arriveAll = async (): Promise<void> => {
    for (const arrive of arrivals.splice(0)) arrive();
    await settle();
  };
  const still = track(() => database.deleteRange(del("a", "z")));
  await arriveAll();
  deepEqual([(still.outcome as { deleted: number }).deleted, scans], [2, 1]);

  // Something else is written while it waits: what it was told of the range is not true any more.
  await database.put(put("a", "1"));
  scans = 0;
  const moved = track(() => database.deleteRange(del("a", "z")));
  await database.put(put("b", "1"));
  await arriveAll();
  equal(moved.outcome, "pending");
  await arriveAll();
  deepEqual([(moved.outcome as unknown as { deleted: number }).deleted, scans], [2, 2]);

  // Also behind a read that was at hand, and after one that was not kept.
  for (const key of ["a", "b"]) await database.put(put(key, "2"));
  scans = 0;
  const behind = track(() => database.txn(txn([put("z", "1"), del("a", "y")])));
  await arriveAll();
  await arriveAll();
  deepEqual([(behind.outcome as { revision: number }).revision, scans], [10, 2]);
  tree.isAway = () => false;
  deepEqual((await database.range(range(...everything))).rows.map(shown), ["z=1@10/10/1"]);
});

test("while a branch that takes no writes is protected anew, and each read is away, it takes none", async () => {
  const { database, tree } = await openRig();
  await database.put(put("a", "0"));
  await database.settings.protectFromWrites(true);
  const arrivals: (() => void)[] = [];
  tree.arrival = () => new Promise((resolve) => arrivals.push(resolve));
  for (let runs = 1; runs <= 3; runs++) {
    tree.isAway = (what) => what === "get";
    const again = track(() => database.settings.protectFromWrites(true));
    for (let run = 0; again.outcome === "pending"; run++) {
      tree.isAway = () => false;
      await rejects(async () => database.put(put("a", `${run}`)), isKind("branchRefuses"));
      tree.isAway = (what) => what === "get" && run < runs;
      for (const arrive of arrivals.splice(0)) arrive();
      await settle();
    }
  }
});

test("a request whose reads never are at hand holds the sequencer in the end; others wait in order", async () => {
  const { database, tree } = await openRig();
  for (const key of ["a", "b", "c"]) await database.put(put(key, "0"));
  const arrivals: (() => void)[] = [];
  tree.arrival = () => new Promise((resolve) => arrivals.push(resolve));
  tree.isAway = () => true;
  const order: string[] = [];
  const slow = (async () => database.txn(txn([put("a", "1"), put("b", "1"), put("c", "1"), range("a", "d")])))();
  void slow.then(() => order.push("slow"));
  const arriveAll = async (): Promise<void> => {
    for (const arrive of arrivals.splice(0)) arrive();
    await settle();
  };
  for (let round = 0; round < 3; round++) await arriveAll();
  // It holds now: a write arrives, whose read would be at hand.
  tree.isAway = () => false;
  const quick = (async () => database.put(put("d", "2")))();
  void quick.then(() => order.push("quick"));
  tree.isAway = () => true;
  for (let round = 0; round < 6 && order.length === 0; round++) {
    await arriveAll();
  }
  tree.isAway = () => false;
  await arriveAll();
  deepEqual([(await slow).revision, (await quick).revision], [5, 6]);
  deepEqual(order, ["slow", "quick"]);
});

test("what waits for a read when the branch is given up writes nothing behind the last record", async () => {
  for (const runs of [0, 3]) {
    const rig = await openRig();
    const { database, tree, log } = rig;
    await database.put(put("cold", "1"));
    let arrive = (): void => {};
    tree.arrival = () => new Promise<void>((resolve) => (arrive = resolve));
    tree.isAway = (what) => what === "scan";
    const ranges = [del("a", "d"), del("d", "e"), del("e", "f"), del("f", "z")];
    const slow = track(() => database.txn(txn([...ranges, put("zz")])));
    // By then it holds the sequencer.
    for (let run = 0; run < runs; run++) {
      arrive();
      await settle();
    }
    await database.release();
    const last = log.head;
    tree.isAway = () => false;
    arrive();
    await settle();
    equal(slow.outcome, "stopped");
    equal(log.head, last);
  }
});

test("a holder that is out of time lets the others go on", async () => {
  const { database, tree, time } = await openRig();
  await database.put(put("a"));
  tree.isAway = () => true;
  let reads = 0;
  tree.arrival = () => (++reads < 4 ? Promise.resolve() : new Promise(() => {}));
  const stuck = track(() => database.txn(txn(["a", "x", "y", "z"].map((key) => put(key, "stuck")))));
  await time.pass(1000);
  equal(reads, 4, "the fourth run holds the sequencer, and its read never ends");
  tree.isAway = () => false;
  const behind = track(() => database.put(put("b")));
  await settle();
  deepEqual([stuck.outcome, behind.outcome], ["pending", "pending"]);
  await time.pass(6100);
  equal(stuck.outcome, "timeout");
  deepEqual(plain(behind.outcome as never), { revision: 3, prev: null });
  equal((await database.put(put("c"))).revision, 4);
  equal(database.callsPending, 0);
});

test("a read that fails fails its request alone", async () => {
  const { database, tree } = await openRig();
  await database.put(put("a"));
  tree.isAway = (what) => what === "scan";
  tree.arrival = () => Promise.reject(new DbError("storeUnavailable", "block 7"));
  await rejects(async () => database.deleteRange(del("a", "z")), isKind("storeUnavailable"));
  await database.put(put("a"));
  equal(database.committed, 3);
});

test("a bug in an evaluation that has changed nothing but its draft ends its call alone", async () => {
  const { database, tree, ends } = await openRig();
  const broken = () => {
    throw new TypeError("broken");
  };
  await database.put(put("a", "1"));
  throws(() => database.run(broken, null), TypeError);
  // Also one that has to wait, and one amid a transaction that has written.
  tree.isAway = (what) => what === "scan";
  tree.arrival = () => Promise.reject(new TypeError("broken"));
  await rejects(async () => database.deleteRange(del("a", "z")), TypeError);
  await rejects(async () => database.txn(txn([put("a", "2"), del("b", "z")])), TypeError);
  tree.isAway = () => false;
  equal(ends.length, 0);
  equal(database.committed, 2);
  deepEqual((await database.range(range("a"))).rows.map(shown), ["a=1@2/2/1"]);
  equal((await database.put(put("a", "3"))).revision, 3);
});

for (const [what, evaluate] of [
  ["a broken assertion", () => assert(false, "what must hold")],
  [
    "a bug behind a change",
    (draft: Draft) => {
      draft.kind = recordKinds.setting;
      draft.entry(spaces.meta, "setting", Buffer.from("x"), 1);
      throw new TypeError("broken");
    },
  ],
] as const) {
  test(`${what} in an evaluation ends the branch, by its name`, async () => {
    const { database, ends } = await openRig({ auto: false });
    const pending = track(() => database.put(put("a")));
    throws(() => database.run(evaluate, null));
    await settle();
    equal(pending.outcome, "leadershipLost");
    equal(ends.length, 1);
    ok(ends[0] instanceof ClosedByBug);
    throws(() => database.put(put("a")), isKind("noLeader"));
  });
}

test("a bug amid a commit ends the branch: nothing that comes after it is shown", async () => {
  const { database, watch, log, ends } = await openRig({ auto: false });
  watch.committed = () => {
    throw new TypeError("broken");
  };
  void (database.put(put("a")) as Promise<unknown>);
  const behind = track(() => database.put(put("b")));
  log.commit(1);
  await settle();
  ok(ends[0] instanceof ClosedByBug);
  equal(behind.outcome, "leadershipLost");
  log.commit();
  equal(database.committed, 2);
});

test("a queue as long as it may be, behind one that holds the sequencer, is worked off", async () => {
  const { database, tree, ends } = await openRig();
  await database.put(put("a"));
  let away = true;
  const reads: (() => void)[] = [];
  tree.isAway = () => away;
  tree.arrival = () => new Promise((resolve) => reads.push(resolve));
  const arrive = async (): Promise<void> => {
    for (const resolve of reads.splice(0)) resolve();
    await settle();
  };
  const calls = 9000;
  const answered = Promise.all(
    Array.from({ length: calls }, (_, n) => database.txn(txn([put(`k${n}`)], [], [compareMod("a", 2)]))),
  );
  // Each waits twice; then the first to come back holds, and all others queue behind it.
  for (let round = 0; round < 3; round++) await arrive();
  equal(reads.length, 1);
  away = false;
  await arrive();
  equal(
    (await answered).every(({ succeeded }) => succeeded),
    true,
  );
  equal(database.committed, calls + 2);
  deepEqual(ends, []);
});

test("writes are refused while the storage takes nothing more; reads go on", async () => {
  let full = false;
  const refusal = new DbError("tooManyRequests", "too much waits");
  const { database } = await openRig({ storageRefusal: () => (full ? refusal : null) });
  await database.put(put("a", "1"));
  full = true;
  throws(() => database.put(put("a", "2")), isKind("tooManyRequests"));
  equal((await database.range(range("a"))).rows.length, 1);
  full = false;
  equal((await database.put(put("a", "3"))).revision, 3);
});
