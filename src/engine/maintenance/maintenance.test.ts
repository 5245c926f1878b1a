import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { openRig, type Rig } from "../../../test/engine/doubles.ts";
import { isDbError } from "../../base/errors.ts";
import type { LeaseId } from "../../base/ids.ts";
import type { PutRequest } from "../engine.ts";
import { alarmTypes, type MemberAddresses } from "./maintenance.ts";

const put = (key: string, bytes = 1): PutRequest => ({
  ...{ kind: "put", key, value: Buffer.alloc(bytes), lease: 0n as LeaseId },
  ...{ prevKv: false, ignoreValue: false, ignoreLease: false },
});
const refusedAs = (kind: string) => (error: unknown) => isDbError(error) && error.kind === kind;
const self: MemberAddresses = { peerUrls: ["http://self:1"], clientUrls: ["http://self:2"] };
const reopened = (rig: Rig) => openRig({ replay: rig.log.records });

test("M2 alarms survive a restart, and so does that they were disarmed", async () => {
  const rig = await openRig();
  const { maintenance } = rig.database;
  for (const type of [alarmTypes.noSpace, 7]) await maintenance.alarm({ action: "activate", memberId: 5n, type });
  const again = await reopened(rig);
  deepEqual(again.database.maintenance.alarms, [
    { memberId: 5n, type: 1 },
    { memberId: 5n, type: 7 },
  ]);
  await rejects(async () => again.database.put(put("k")), refusedAs("noSpace"));
  await again.database.maintenance.alarm({ action: "deactivate", memberId: 5n, type: alarmTypes.noSpace });
  const last = await reopened(again);
  deepEqual(last.database.maintenance.alarms, [{ memberId: 5n, type: 7 }]);
  await last.database.put(put("k"));
});

test("M2 an alarm holds for what is sequenced after it, and is shown when it is durable", async () => {
  const rig = await openRig({ auto: false });
  const { database, log } = rig;
  const raised = database.maintenance.alarm({ action: "activate", memberId: 5n, type: alarmTypes.noSpace });
  const refused = rejects(async () => database.put(put("k")), refusedAs("noSpace"));
  deepEqual(database.maintenance.alarms, []);
  log.commit();
  await raised;
  await refused;
  equal(database.maintenance.alarms.length, 1);
  equal(database.committed, 1, "no revision was made");
});

test("M2 alarms have a bound", async () => {
  const { database } = await openRig();
  for (let memberId = 0n; memberId < 1000n; memberId++)
    await database.maintenance.alarm({ action: "activate", memberId, type: 7 });
  const oneMore = { action: "activate", memberId: 1000n, type: 7 } as const;
  await rejects(async () => database.maintenance.alarm(oneMore), refusedAs("invalidArgument"));
});

test("M3 what does not fit raises NOSPACE; deletes and compactions go on; disarmed, what fits is taken", async () => {
  let inUse = 0;
  const rig = await openRig({ settings: { quotaBytes: 10_000 }, bytesInUse: () => inUse });
  const { database } = rig;
  await database.put(put("k", 9000));
  inUse = 9500;
  await rejects(async () => database.put(put("more", 300)), refusedAs("noSpace"));
  deepEqual(database.maintenance.alarms, [{ memberId: 8n, type: alarmTypes.noSpace }]);
  const lease = { id: 0n as LeaseId, ttlSeconds: 10n };
  await rejects(async () => database.leaseGrant(lease), refusedAs("noSpace"));
  await database.deleteRange({ kind: "deleteRange", key: "k", rangeEnd: "", prevKv: false });
  await database.compact({ revision: 3, physical: false });
  inUse = 0;
  await rejects(async () => database.put(put("small")), refusedAs("noSpace"), "until it is disarmed");
  await database.maintenance.alarm({ action: "deactivate", memberId: 8n, type: alarmTypes.noSpace });
  await database.put(put("small"));
});

test("M3 what costs nothing passes a full quota", async () => {
  const { database } = await openRig({ settings: { quotaBytes: 100 }, bytesInUse: () => 1000 });
  const range = { kind: "deleteRange", key: "k", rangeEnd: "", prevKv: false } as const;
  await database.txn({ kind: "txn", compare: [], success: [range], failure: [] });
  deepEqual(database.maintenance.alarms, []);
});

test("M7 a downgrade survives a restart", async () => {
  const rig = await openRig();
  await rig.database.maintenance.downgrade({ action: "enable", version: "3.5" });
  const again = await reopened(rig);
  equal(again.database.maintenance.downgradeTarget, "3.5.0");
  equal(again.database.maintenance.storageVersion, "3.5.0");
  await again.database.maintenance.downgrade({ action: "cancel", version: "" });
  equal((await reopened(again)).database.maintenance.downgradeTarget, null);
});

test("M8 announced members survive a restart; one whose address is this node's is this node", async () => {
  const rig = await openRig();
  const { maintenance } = rig.database;
  const added = await maintenance.changeMember(self, { kind: "add", peerUrls: ["http://b:1"], isLearner: true });
  const again = (await reopened(rig)).database.maintenance;
  const listed = await again.members(self, { linearizable: true });
  deepEqual(listed, added.members);
  equal(listed.length, 2);
  const joined = { ...self, peerUrls: ["http://b:1"] };
  equal((await again.members(joined, { linearizable: false })).length, 1);
});

test("M8 a second voter that has not started is refused", async () => {
  const { database } = await openRig();
  const add = (url: string) =>
    database.maintenance.changeMember(self, { kind: "add", peerUrls: [url], isLearner: false });
  await add("http://b:1");
  await rejects(async () => add("http://c:1"), refusedAs("membersNotStarted"));
  await rejects(async () => add("http://b:1"), refusedAs("peerUrlExists"));
});

test("M4, M5 so many scans at a time, no more; a snapshot's place is given back when its signal fires", async () => {
  const { database } = await openRig();
  await database.put(put("k"));
  const signals = Array.from({ length: 4 }, () => new AbortController());
  for (const { signal } of signals) await database.maintenance.snapshot(signal);
  await rejects(async () => database.maintenance.hashKv(0), refusedAs("tooManyRequests"));
  signals[0]!.abort();
  const { hash } = await database.maintenance.hashKv(0);
  ok(hash > 0);
});
