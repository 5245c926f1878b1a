import { deepEqual, equal, match, ok } from "node:assert/strict";
import { createHash } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  AlarmRequest_AlarmAction as Action,
  AlarmType,
  DowngradeRequest_DowngradeAction as Downgrade,
  KV,
  Lease,
  Maintenance,
  SnapshotRequestSchema,
  SnapshotResponseSchema,
} from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import { bytes, type EtcdClient } from "../client.ts";
import { RpcFailure } from "../endpoint.ts";
import { fails, type Story } from "../story.ts";

const { method } = Maintenance;
const NO_SPACE = [8, "etcdserver: mvcc: database space exceeded"] as const;
const CORRUPT = [15, "etcdserver: corrupt cluster"] as const;

const putOp = (key: string) => ({
  request: { case: "requestPut" as const, value: { key: bytes(key), value: bytes("v") } },
});
const deleteOp = (key: string) => ({
  request: { case: "requestDeleteRange" as const, value: { key: bytes(key) } },
});
const rangeOp = (key: string) => ({ request: { case: "requestRange" as const, value: { key: bytes(key) } } });
const nested = (op: ReturnType<typeof putOp>) => ({
  request: { case: "requestTxn" as const, value: { success: [op] } },
});

/** Each either answered, or refused so. */
async function growthIsRefused(client: EtcdClient, [code, text]: readonly [number, string]): Promise<void> {
  await fails(client.put("k", "v"), code, text);
  await fails(client.put("missing", "", { ignoreValue: true }), code, text);
  await fails(client.put("k", "v", { lease: 12345n }), code, text);
  await fails(client.txn({ success: [putOp("k")] }), code, text);
  await fails(client.txn({ failure: [putOp("k")] }), code, text);
  await fails(client.txn({ success: [nested(putOp("k"))] }), code, text);
  await fails(client.grant(100, 7), code, text);
}

/** The revision hashed, the compact revision, and the sum, at each of these revisions. */
async function hashes(client: EtcdClient, revisions: readonly number[]): Promise<void> {
  for (const revision of revisions) await client.call(method.hashKV, { revision: BigInt(revision) });
}

export const maintenanceStories: Story[] = [
  {
    name: "M2 P10 D7 T16 L11 NOSPACE refuses what adds to the state, and nothing else, until it is disarmed",
    async body(client) {
      await client.put("k", "1");
      await client.put("other", "1");
      await client.grant(1000, 5);
      const raised = await client.call(method.alarm, {
        action: Action.ACTIVATE,
        alarm: AlarmType.NOSPACE,
        memberID: 5n,
      });
      equal(raised.header!.revision, 3n, "it makes no revision");
      await client.call(method.alarm, { action: Action.ACTIVATE, alarm: AlarmType.NOSPACE, memberID: 5n });
      await growthIsRefused(client, NO_SPACE);
      await fails(client.put("", "v"), 3, "etcdserver: key is not provided");
      await client.range("k");
      await client.txn({});
      await client.txn({ success: [rangeOp("k")] });
      await client.txn({ success: [deleteOp("other")] });
      await client.del("k");
      await client.compact(4);
      await client.timeToLive(99n);
      await client.revoke(5n);
      await client.transcript.silently(async () => {
        deepEqual((await client.call(method.status, {})).errors, ["memberID:5 alarm:NOSPACE "]);
      });
      await client.call(method.alarm, { action: Action.DEACTIVATE, alarm: AlarmType.NOSPACE, memberID: 6n });
      await client.call(method.alarm, { action: Action.DEACTIVATE, alarm: AlarmType.NONE, memberID: 5n });
      await fails(client.put("k", "v"), ...NO_SPACE);
      await client.call(method.alarm, { action: Action.DEACTIVATE, alarm: AlarmType.NOSPACE, memberID: 5n });
      await client.put("k", "v");
      await client.call(method.alarm, {});
    },
  },
  {
    name: "M2 CORRUPT refuses every change of keys and leases, and nothing else",
    async body(client) {
      await client.put("k", "1");
      await client.grant(1000, 5);
      await client.call(method.alarm, { action: Action.ACTIVATE, alarm: AlarmType.CORRUPT, memberID: 5n });
      await growthIsRefused(client, CORRUPT);
      await fails(client.del("k"), ...CORRUPT);
      await fails(client.del("missing"), ...CORRUPT);
      await fails(client.txn({ success: [deleteOp("k")] }), ...CORRUPT);
      await fails(client.compact(1), ...CORRUPT);
      await fails(client.revoke(5n), ...CORRUPT);
      await client.range("k");
      await client.range("k", { serializable: true });
      await client.txn({});
      await client.txn({ success: [rangeOp("k")] });
      await client.call(Lease.method.leaseLeases, {});
      await hashes(client, [2]);
      await client.call(method.alarm, { action: Action.GET, alarm: AlarmType.NOSPACE });
      await client.call(method.alarm, { action: Action.GET, alarm: AlarmType.CORRUPT });
      await client.call(method.alarm, { action: Action.DEACTIVATE, alarm: AlarmType.CORRUPT, memberID: 5n });
      await client.del("k");
    },
  },
  {
    name: "M2 alarms of several members, of none and of unknown numbers",
    async body(client) {
      for (const [alarm, memberID] of [
        [AlarmType.NOSPACE, 0n],
        [AlarmType.NOSPACE, 9n],
        [AlarmType.CORRUPT, 9n],
        [7 as AlarmType, 5n],
        [AlarmType.NONE, 5n],
      ] as const) {
        await client.call(method.alarm, { action: Action.ACTIVATE, alarm, memberID });
        await client.call(method.alarm, { action: Action.GET, alarm: AlarmType.CORRUPT });
      }
      await client.transcript.silently(async () => {
        equal((await client.call(method.alarm, {})).alarms.length, 4);
        const errors = (await client.call(method.status, {})).errors.sort();
        deepEqual(errors, [
          "alarm:NOSPACE ",
          "memberID:5 alarm:7 ",
          "memberID:9 alarm:CORRUPT ",
          "memberID:9 alarm:NOSPACE ",
        ]);
      });
    },
  },
  {
    name: "M4 HashKV of a history, at each of its revisions",
    async body(client) {
      await hashes(client, [0, 1, -5]);
      await fails(
        client.call(method.hashKV, { revision: 2n }),
        10 + 1,
        "etcdserver: mvcc: required revision is a future revision",
      );
      await client.put("a", "1");
      await client.put("b", "2");
      await client.put("a", "3");
      await client.del("a");
      await client.grant(1000, 77);
      await client.put("a", "", { lease: 77n });
      await client.txn({ success: [putOp("c"), putOp("d"), deleteOp("b")] });
      await client.txn({
        success: [nested(putOp("e")), { request: { case: "requestTxn", value: { success: [deleteOp("e")] } } }],
      });
      await client.del("a", "z");
      await client.put("f", "x".repeat(1000));
      await hashes(client, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    },
  },
  {
    name: "M4 HashKV after a compaction, above its revision: as if it had been carried out",
    async body(client) {
      await client.put("a", "1");
      await client.put("b", "2");
      await client.put("a", "3");
      await client.del("b");
      await client.put("c", "4");
      await client.put("a", "5");
      await hashes(client, [5, 6, 7]);
      await client.compact(5, true);
      await hashes(client, [6, 7]);
      await client.del("a", "z");
      await hashes(client, [6, 7, 8]);
      await client.put("d", "1");
      await hashes(client, [6, 7, 8, 9]);
      await client.compact(8, true);
      await hashes(client, [9]);
      await client.del("d");
      // No key is left: what the store still holds is hashed.
      await hashes(client, [10]);
      await fails(
        client.call(method.hashKV, { revision: 100n }),
        11,
        "etcdserver: mvcc: required revision is a future revision",
      );
      // Revisions that a double does not hold.
      await client.call(method.hashKV, { revision: -(2n ** 63n) });
      await client.call(method.hashKV, { revision: -(2n ** 53n) - 1n });
      await fails(
        client.call(method.hashKV, { revision: 2n ** 63n - 1n }),
        11,
        "etcdserver: mvcc: required revision is a future revision",
      );
    },
  },
  {
    name: "M4 Hash changes with the state, and with nothing else",
    async body(client) {
      await client.transcript.silently(async () => {
        const hash = async () => (await client.call(method.hash, {})).hash;
        await client.put("a", "1");
        const first = await hash();
        equal(await hash(), first);
        await client.put("a", "1");
        const second = await hash();
        ok(second !== first);
        await client.grant(1000, 5);
        ok((await hash()) !== second);
        await client.revoke(5n);
        equal(await hash(), second);
      });
    },
  },
  {
    name: "M5 Snapshot: blobs of 32 KiB, what remains, the version, and the SHA-256 at the end",
    async body(client) {
      await client.put("a", "x".repeat(50_000));
      await client.transcript.silently(async () => {
        const stream = client.endpoint.stream("/etcdserverpb.Maintenance/Snapshot");
        stream.send(toBinary(SnapshotRequestSchema, create(SnapshotRequestSchema)));
        stream.halfClose();
        const messages = [];
        for (let next = await stream.next(); next !== null; next = await stream.next())
          messages.push(fromBinary(SnapshotResponseSchema, next));
        const last = messages.pop()!;
        const file = Buffer.concat(messages.map((message) => message.blob));
        equal(file.length % 4096, 0);
        let left = file.length;
        for (const [n, { blob, remainingBytes, version, header }] of messages.entries()) {
          ok(blob.length === 32_768 || n === messages.length - 1);
          left -= blob.length;
          equal(remainingBytes, BigInt(left));
          // A real etcd tells none for a moment after it began to serve.
          match(version, /^(3\.6\.0)?$/);
          equal(header, undefined);
        }
        equal(Buffer.from(last.blob).toString("hex"), createHash("sha256").update(file).digest("hex"));
        equal(last.remainingBytes, 0n);
      });
    },
  },
  {
    name: "M6 MoveLeader to itself, to nobody",
    async body(client) {
      await client.transcript.silently(async () => {
        const { leader } = await client.call(method.status, {});
        equal((await client.call(method.moveLeader, { targetID: leader })).header, undefined);
      });
      for (const targetID of [0n, 7n])
        await fails(client.call(method.moveLeader, { targetID }), 9, "etcdserver: bad leader transferee");
    },
  },
  {
    name: "M7 Downgrade",
    async body(client) {
      const ask = (action: Downgrade, version: string) => client.call(method.downgrade, { action, version });
      // A real etcd learns its cluster's version a moment after it began to serve.
      await client.transcript.silently(async () => {
        for (let tries = 0; tries < 100; tries++) {
          const answer = await ask(Downgrade.VALIDATE, "3.5").catch((error: unknown) => error);
          if (!(answer instanceof RpcFailure)) return;
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      });
      for (const version of ["3.5", "3.5.0", "3.5.9", "3.5.0-alpha"])
        equal((await ask(Downgrade.VALIDATE, version)).version, "3.6");
      for (const version of ["3.6", "3.4", "3.7", "4.5"])
        await fails(ask(Downgrade.VALIDATE, version), 3, "etcdserver: invalid downgrade target version");
      for (const version of ["", "3", "v3.5", " 3.5", "3.5.", "x"])
        await fails(ask(Downgrade.ENABLE, version), 3, "etcdserver: wrong downgrade target version format");
      await ask(Downgrade.CANCEL, "");
      await ask(Downgrade.ENABLE, "3.5");
      for (const action of [Downgrade.VALIDATE, Downgrade.ENABLE])
        await fails(ask(action, "3.5"), 9, "etcdserver: cluster has a downgrade job in progress");
      await ask(Downgrade.CANCEL, "");
      await fails(client.call(method.downgrade, { action: 5 as Downgrade }), 2, "etcdserver: unknown method");
      await client.call(KV.method.range, { key: bytes("a") });
    },
  },
];
