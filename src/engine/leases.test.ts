import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import { openRig, type Rig, settle } from "../../test/engine/doubles.ts";
import { del, everything, lease, put, range, shown, txn } from "../../test/engine/requests.ts";
import { ClosedByBug, DbError, type ErrorKind, isDbError } from "../base/errors.ts";
import type { LeaseId } from "../base/ids.ts";
import { recordKinds } from "./record.ts";

const isKind = (kind: ErrorKind) => (error: unknown) => isDbError(error, kind);
const grant = async (rig: Rig, id: number | bigint, ttlSeconds: number | bigint) =>
  rig.database.leaseGrant({ id: lease(id), ttlSeconds: BigInt(ttlSeconds) });
const ttl = async (rig: Rig, id: number | bigint): Promise<number> =>
  (await rig.database.leaseTimeToLive({ id: lease(id), keys: false })).ttlSeconds;
const attached = async (rig: Rig, id: number | bigint): Promise<string[]> =>
  (await rig.database.leaseTimeToLive({ id: lease(id), keys: true })).keys;
const keys = async (rig: Rig): Promise<string[]> =>
  (await rig.database.range(range(...everything))).rows.map((row) => shown(row)!.split("=")[0]!);

test("L1 an id of 0 gets a positive one; a given one is used, negative too, and not twice", async () => {
  const rig = await openRig();
  const first = await grant(rig, 0, 60);
  const second = await grant(rig, 0, 60);
  ok(first.id > 0n && second.id > 0n && first.id !== second.id && first.id < 2n ** 63n);
  equal((await grant(rig, -(2n ** 63n), 60)).id, -(2n ** 63n));
  throws(() => rig.database.leaseGrant({ id: lease(-(2n ** 63n)), ttlSeconds: 60n }), isKind("leaseExists"));
  equal(first.revision, 1, "a grant makes no revision");
});

test("L2 a TTL is raised to the minimum, and refused above the maximum, before the id is looked at", async () => {
  const rig = await openRig();
  equal((await grant(rig, 1, 0)).ttlSeconds, 2);
  equal((await grant(rig, 2, -5)).ttlSeconds, 2);
  equal((await grant(rig, 3, 9_000_000_000)).ttlSeconds, 9_000_000_000);
  throws(() => rig.database.leaseGrant({ id: lease(3), ttlSeconds: 9_000_000_001n }), isKind("leaseTtlTooLarge"));
  throws(() => rig.database.leaseGrant({ id: lease(4), ttlSeconds: 2n ** 63n - 1n }), isKind("leaseTtlTooLarge"));
  equal(await ttl(rig, 3), 9_000_000_000);
});

test("L3 a revoke deletes the keys in one revision, in key order; without keys there is none", async () => {
  const rig = await openRig();
  await grant(rig, 7, 60);
  for (const key of ["c", "a", "b"]) await rig.database.put(put(key, "v", { lease: lease(7) }));
  await rig.database.put(put("x"));
  equal((await rig.database.leaseRevoke(lease(7))).revision, 6);
  deepEqual(await keys(rig), ["x"]);
  const { changes } = rig.watch.revisions.at(-1)!;
  deepEqual(
    changes.map(({ key, deleted, kv, prev }) => [key, deleted, shown(kv), shown(prev)?.split("@")[0]]),
    [
      ["a", true, "a=@0/6/0", "a=v"],
      ["b", true, "b=@0/6/0", "b=v"],
      ["c", true, "c=@0/6/0", "c=v"],
    ],
  );
  throws(() => rig.database.leaseRevoke(lease(7)), isKind("leaseNotFound"));
  await grant(rig, 8, 60);
  equal((await rig.database.leaseRevoke(lease(8))).revision, 6);
  throws(() => rig.database.put(put("k", "v", { lease: lease(7) })), isKind("leaseNotFound"));
});

test("L4, L5 keep-alive and time to live of an unknown lease are answers, not errors", async () => {
  const rig = await openRig();
  deepEqual(await rig.database.leaseKeepAlive(lease(1)), { ttlSeconds: 0, revision: 1 });
  deepEqual(await rig.database.leaseTimeToLive({ id: lease(1), keys: true }), {
    revision: 1,
    id: 1n,
    ttlSeconds: -1,
    grantedTtlSeconds: 0,
    keys: [],
  });
  await grant(rig, 1, 10);
  await rig.time.pass(4500);
  deepEqual(
    [await ttl(rig, 1), (await rig.database.leaseKeepAlive(lease(1))).ttlSeconds, await ttl(rig, 1)],
    [5, 10, 10],
  );
});

test("L5 leases are listed by expiry", async () => {
  const rig = await openRig();
  for (const [id, seconds] of [
    [1, 50],
    [2, 20],
    [3, 30],
  ] as const)
    await grant(rig, id, seconds);
  deepEqual((await rig.database.leaseLeases()).ids, [2n, 3n, 1n]);
  await rig.time.pass(15_000);
  await rig.database.leaseKeepAlive(lease(2));
  deepEqual((await rig.database.leaseLeases()).ids, [3n, 2n, 1n]);
});

test("L9 a key is attached, moved, kept and detached by what is put on it; a delete detaches", async () => {
  const rig = await openRig();
  const { database } = rig;
  await grant(rig, 1, 60);
  await grant(rig, 2, 60);
  await database.put(put("k", "v", { lease: lease(1) }));
  await database.put(put("j", "v", { lease: lease(1) }));
  deepEqual(await attached(rig, 1), ["j", "k"]);
  await database.put(put("k", "v", { lease: lease(2) }));
  deepEqual([await attached(rig, 1), await attached(rig, 2)], [["j"], ["k"]]);
  await database.put(put("k", "w", { ignoreLease: true }));
  deepEqual(await attached(rig, 2), ["k"]);
  await database.put(put("k", "x"));
  deepEqual(await attached(rig, 2), []);
  await database.put(put("k", "", { ignoreValue: true, lease: lease(2) }));
  equal(shown((await database.range(range("k"))).rows[0]!), "k=x@2/7/5+2");
  await database.deleteRange(del("k"));
  await database.put(put("k", "free"));
  await database.leaseRevoke(lease(2));
  await database.leaseRevoke(lease(1));
  deepEqual(await keys(rig), ["k"]);
});

test("L6 a lease ends after its TTL, never before, counted from the last keep-alive answered", async () => {
  const rig = await openRig();
  await grant(rig, 1, 5);
  await rig.database.put(put("k", "v", { lease: lease(1) }));
  await rig.time.pass(4900);
  equal((await rig.database.leaseKeepAlive(lease(1))).ttlSeconds, 5);
  await rig.time.pass(4999);
  deepEqual(await keys(rig), ["k"]);
  await rig.time.pass(600);
  deepEqual(await keys(rig), []);
  equal((await rig.database.leaseKeepAlive(lease(1))).ttlSeconds, 0);
  equal(await ttl(rig, 1), -1);
  equal(rig.database.committed, 3);
  await rig.time.pass(7000);
  equal(rig.time.timersSet, 0, "without leases no timer is left");
});

test("L6 the time of a lease begins when its grant is durable", async () => {
  const rig = await openRig({ auto: false });
  const granted = grant(rig, 1, 2);
  await rig.time.pass(5000);
  rig.log.commit();
  await granted;
  await rig.time.pass(1999);
  equal(rig.log.records.length, 1);
  await rig.time.pass(500);
  equal(rig.log.records.length, 2);
});

test("L6 a keep-alive counts from its answer, also when the proof took its time", async () => {
  const rig = await openRig();
  await grant(rig, 1, 10);
  let prove = (_: null): void => {};
  rig.leadership.answer = new Promise<null>((resolve) => (prove = resolve));
  await rig.time.pass(2000);
  const answer = rig.database.leaseKeepAlive(lease(1));
  await rig.time.pass(3000);
  prove(null);
  equal((await answer).ttlSeconds, 10);
  rig.leadership.answer = null;
  await rig.time.pass(9999);
  equal(await ttl(rig, 1), 0);
  equal((await rig.database.leaseLeases()).ids.length, 1);
});

test("L4 a keep-alive of a lease that is due is answered 0 once its keys are gone for good", async () => {
  const rig = await openRig();
  await grant(rig, 1, 2);
  await rig.database.put(put("k", "v", { lease: lease(1) }));
  rig.log.auto = false;
  await rig.time.pass(2001);
  let answered: number | null = null;
  void Promise.resolve(rig.database.leaseKeepAlive(lease(1))).then(({ ttlSeconds }) => (answered = ttlSeconds));
  await settle();
  equal(answered, null);
  deepEqual(await keys(rig), ["k"], "its revoke is not durable");
  equal((await rig.database.leaseLeases()).ids.length, 1);
  rig.log.commit();
  await settle();
  equal(answered, 0);
  deepEqual(await keys(rig), []);
});

test("L8 without proof no lease ends; with it again, each has its full TTL", async () => {
  const rig = await openRig();
  await grant(rig, 1, 5);
  rig.leadership.unproven = new DbError("noLeader");
  rig.leadership.answer = rig.leadership.unproven;
  await rig.time.pass(60_000);
  equal(rig.log.records.length, 1);
  throws(() => rig.database.leaseKeepAlive(lease(1)), isKind("noLeader"));
  throws(() => rig.database.leaseTimeToLive({ id: lease(1), keys: false }), isKind("noLeader"));
  throws(() => rig.database.leaseLeases(), isKind("noLeader"));
  rig.leadership.unproven = rig.leadership.answer = null;
  rig.leadership.onRegained();
  equal(await ttl(rig, 1), 5);
  await rig.time.pass(4999);
  equal(rig.log.records.length, 1);
  await rig.time.pass(600);
  equal(rig.log.records.length, 2);
});

test("L8 where the proof costs a request no lease ends before it has come", async () => {
  const rig = await openRig();
  await grant(rig, 1, 5);
  // As in the first moments of an outage, which nobody knows of yet.
  rig.leadership.answer = Promise.resolve(new DbError("noLeader"));
  await rig.time.pass(60_000);
  equal(rig.log.records.length, 1);
  rig.leadership.answer = Promise.resolve(null);
  await rig.time.pass(1000);
  equal(rig.log.records.length, 2);
});

test("L7 after a crash every lease has its full TTL again; after a clean release what was left", async () => {
  const first = await openRig();
  await grant(first, 1, 100);
  await grant(first, 2, 100);
  await first.database.put(put("k", "v", { lease: lease(1) }));
  await first.time.pass(60_000);
  await first.database.leaseKeepAlive(lease(2));
  await first.time.pass(39_000);
  const crashed = await openRig({ replay: first.log.records, epoch: 2 });
  deepEqual([await ttl(crashed, 1), await ttl(crashed, 2)], [100, 100]);
  await first.database.release();
  throws(() => first.database.leaseKeepAlive(lease(1)), isKind("stopped"));
  throws(() => first.database.put(put("k")), isKind("stopped"));
  equal((await first.database.range(range("k"))).count, 1, "reads go on until it is closed");
  const released = await openRig({ replay: first.log.records, epoch: 2 });
  deepEqual([await ttl(released, 1), await ttl(released, 2)], [2, 61]);
  deepEqual(await attached(released, 1), ["k"]);
  const later = await openRig({ replay: released.log.records, epoch: 3 });
  deepEqual([await ttl(later, 1), await ttl(later, 2)], [100, 100], "somebody may have led in between");
});

test("L7 what was left at a clean release is never less than promised: rounded up", async () => {
  const first = await openRig();
  await grant(first, 1, 10);
  await first.time.pass(2001);
  await first.database.release();
  const released = await openRig({ replay: first.log.records, epoch: 2 });
  equal(await ttl(released, 1), 8);
  await released.time.pass(7998);
  equal(
    released.log.records.some(({ payload }) => payload[1] === recordKinds.leaseRevoke),
    false,
  );
});

test("L8 a lease that is renewed while its end waits for a read lives on", async () => {
  const rig = await openRig();
  await grant(rig, 1, 5);
  await rig.database.put(put("k", "v", { lease: lease(1) }));
  let arrive = (): void => {};
  rig.tree.arrival = () => new Promise((resolve) => (arrive = resolve));
  rig.tree.isAway = (what) => what === "scan";
  await rig.time.pass(5100);
  rig.leadership.onRegained();
  rig.tree.isAway = () => false;
  arrive();
  await settle();
  equal(await ttl(rig, 1), 5);
  deepEqual(await keys(rig), ["k"]);
  await rig.time.pass(5600);
  deepEqual(await keys(rig), []);
});

const COUNT = 20_000;

test("L6, L9 very many leases end at a bounded pace, none early; very many keys in one revision", async () => {
  const rig = await openRig({ settings: { callsMax: 200_000, expiriesPerSecond: 1000 } });
  const grants: Promise<unknown>[] = [];
  for (let id = 1; id <= COUNT; id++) grants.push(grant(rig, id, 30));
  await Promise.all(grants);
  await rig.time.pass(29_999);
  equal(rig.log.records.length, COUNT);
  await rig.time.pass(10_000);
  const ended = rig.log.records.length - COUNT;
  ok(ended >= 9_500 && ended <= 10_500, `${ended} leases ended in 10 s`);
  rig.database.close();

  const one = await openRig({ settings: { callsMax: 200_000 } });
  await grant(one, 1, 60);
  const puts: unknown[] = [];
  for (let n = 0; n < COUNT; n++) puts.push(one.database.put(put(`k${n}`, "", { lease: lease(1) })));
  await Promise.all(puts);
  equal((await one.database.leaseRevoke(lease(1))).revision, COUNT + 2);
  equal(one.watch.revisions.at(-1)!.changes.length, COUNT);
  equal((await one.database.range(range(...everything, { countOnly: true }))).count, 0);
  equal((await attached(one, 1)).length, 0);
});

test("a lease revoked and granted anew before either is durable: readers see what is durable", async () => {
  const rig = await openRig();
  await grant(rig, 1, 10);
  rig.log.auto = false;
  const id: LeaseId = lease(1);
  const revoked = rig.database.leaseRevoke(id);
  const granted = rig.database.leaseGrant({ id, ttlSeconds: 50n });
  deepEqual((await rig.database.leaseLeases()).ids, [1n]);
  equal((await rig.database.leaseTimeToLive({ id, keys: false })).grantedTtlSeconds, 10);
  rig.log.commit(2);
  await revoked;
  deepEqual((await rig.database.leaseLeases()).ids, []);
  rig.log.commit();
  await granted;
  equal((await rig.database.leaseTimeToLive({ id, keys: false })).grantedTtlSeconds, 50);
});

test("a transaction that attaches and deletes a key leaves nothing attached", async () => {
  const rig = await openRig();
  await grant(rig, 1, 60);
  await rig.database.txn(txn([txn([put("k", "v", { lease: lease(1) })]), txn([del("k")])]));
  deepEqual(await attached(rig, 1), []);
  equal((await rig.database.leaseRevoke(lease(1))).revision, 2);
});

test("a bug in ending a lease, which has no caller to be told, ends the branch", async () => {
  const rig = await openRig();
  await grant(rig, 1, 10);
  await rig.database.put(put("a", "1", { lease: lease(1) }));
  rig.tree.isAway = (what) => what === "scan";
  rig.tree.arrival = () => Promise.reject(new TypeError("broken"));
  await rig.time.pass(20_000);
  ok(rig.ends[0] instanceof ClosedByBug);
});
