import { deepEqual, equal, rejects } from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { openHost, runtime } from "../../../test/engine/open-host.ts";
import { put, range } from "../../../test/engine/requests.ts";
import { type BranchId, branchId, type RecordNumber, type Slot } from "../../base/ids.ts";
import { branchNameRegister } from "../../leadership/branch-name.ts";
import { encodeOrigin, type Origin, type OriginRun } from "../../leadership/origin.ts";
import { readRuns } from "../../log/run-reader.ts";
import { createOnce } from "../../objects/conditional.ts";
import { originKey, parseKey, prefixes } from "../../objects/keys.ts";
import type { ObjectStore } from "../../objects/objects.ts";
import { newestCheckpoint } from "../../storage/checkpoint-store.ts";
import type { Database } from "../engine.ts";

const request = { timeoutMs: 1000 };

async function openMain(t: TestContext) {
  const { host, store, main } = await openHost(t);
  const { branch: id } = (await branchNameRegister(store, "main", runtime).read(request))!.body;
  return { host, store, main, id };
}

/** Up to record `lastRecord` of the parent's log, from its newest checkpoint on, behind what `before` replays. */
async function cut(
  store: ObjectStore,
  options: { name: string; parent: BranchId; lastRecord: number; before?: Origin },
): Promise<Origin> {
  const { name, parent, before } = options;
  const own = await newestCheckpoint(store, parent, request);
  const start =
    own ??
    (before?.checkpoint === undefined ? null : await newestCheckpoint(store, before.checkpoint!.branch, request))!;
  const { objects } = await store.list(prefixes.segments(parent), { ...request, limit: 1000 });
  const last = objects.map(({ key }) => parseKey(key)).findLast((name) => name?.kind === "segment");
  const run: OriginRun = {
    branch: parent,
    first: own?.point.position.nextSlot ?? before!.position.nextSlot,
    last: last?.kind === "segment" ? last.slot : (1 as Slot),
    lastRecord: options.lastRecord as RecordNumber,
  };
  const runs = [...(own === null ? before!.runs : []), run];
  const { position: from } = start.point;
  const position = await readRuns({ store, from, runs, requestTimeoutMs: 1000, onRecord: () => {} });
  const { n, id } = start;
  const branch = branchId(Buffer.from(name.padEnd(16, "-")).toString("hex"));
  const origin: Origin = {
    branch,
    parent,
    checkpoint: { branch: start.branch, nextSlot: from.nextSlot, n, sha256: id },
    runs,
    position: { ...position, nextSlot: 1 as Slot },
  };
  await createOnce(store, originKey(branch), encodeOrigin(origin), { ...request, runtime });
  const body = { branch, protected: false, expiresMs: null, tombstone: false };
  await branchNameRegister(store, name, runtime).swap(null, body, request);
  return origin;
}

const keysOf = async (database: Database): Promise<[number, number]> => {
  const { count, revision } = await database.range(range("k", "l", { countOnly: true }));
  return [count, revision];
};

test("a cut branch begins amid its parent's log; neither sees the other's later writes", async (t) => {
  const { host, store, main, id } = await openMain(t);
  const { database } = main;
  for (const key of ["k1", "k2", "k3"]) await database.put(put(key));
  await main.checkpoint();
  const { record } = database.status();
  await Promise.all(["k4", "k5", "k6"].map((key) => database.put(put(key))));
  // k4 and k5, of three in one segment.
  await cut(store, { name: "child", parent: id, lastRecord: record + 2 });
  const child = await host.database("child");
  deepEqual(await keysOf(child), [5, 6]);
  await database.put(put("k7"));
  await child.put(put("k-own"));
  deepEqual(await keysOf(child), [6, 7]);
  deepEqual(await keysOf(database), [7, 8]);
});

test("a branch of a branch replays both logs, and makes a checkpoint of its own", async (t) => {
  const { host, store, main, id } = await openMain(t);
  const { database } = main;
  await database.put(put("k1"));
  await main.checkpoint();
  const { record } = database.status();
  await Promise.all(["k2", "k3"].map((key) => database.put(put(key))));
  const origin = await cut(store, { name: "child", parent: id, lastRecord: record + 1 });
  const child = await host.database("child");
  await child.put(put("k-child"));
  await cut(store, { name: "grandchild", parent: origin.branch, lastRecord: child.status().record, before: origin });
  const served = await host.serve("grandchild");
  await served.opened();
  deepEqual(await keysOf(served.database), [3, 4]);
  await served.database.put(put("k-grandchild"));
  await served.checkpoint();
  await served.database.put(put("k-behind"));
  deepEqual(await keysOf(served.database), [5, 6]);
  const again = await newestCheckpoint(store, branchId(Buffer.from("grandchild------").toString("hex")), request);
  equal(again?.point.position.revision, 5);
});

test("an origin whose checkpoint is not there is corrupt, and says so", async (t) => {
  const { host, store, main, id } = await openMain(t);
  await main.database.put(put("k1"));
  await main.checkpoint();
  const { record } = main.database.status();
  await main.database.put(put("k2"));
  await cut(store, { name: "child", parent: id, lastRecord: record + 1 });
  const { objects } = await store.list(prefixes.checkpoints(id), { ...request, limit: 10 });
  for (const { key } of objects) await store.delete(key, request);
  await rejects(async () => host.database("child"), /is missing: object branch\/[0-9a-f]+\/origin begins with it/);
});
