import type { DescMessage, DescMethodUnary, MessageInitShape } from "@bufbuild/protobuf";
import * as pb from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import { Election } from "../../../src/gen/v3electionpb/v3election_pb.ts";
import { Lock } from "../../../src/gen/v3lockpb/v3lock_pb.ts";
import { bytes, type EtcdClient } from "../client.ts";
import { RpcFailure } from "../endpoint.ts";
import type { Story } from "../story.ts";

/** Asked one after the other; that each is answered, or refused, as by an etcd is what the recorded answers say. */
async function ask<I extends DescMessage, O extends DescMessage>(
  client: EtcdClient,
  method: DescMethodUnary<I, O>,
  requests: readonly MessageInitShape<I>[],
): Promise<void> {
  for (const request of requests) {
    await client.call(method, request).catch((error: unknown) => {
      if (!(error instanceof RpcFailure)) throw error;
    });
  }
}

const MOST = 9223372036854775807n;
const LEAST = -9223372036854775808n;
const k = bytes("k");
const end = bytes("\0");

/** What no client of its own accord says: the ends of numbers, what is left out, what does not go together. */
export const odditiesStories: Story[] = [
  {
    name: "R2 R5 R6 R7 R9 ranges with the greatest and the least numbers",
    async body(client) {
      await client.put("k", "v");
      await ask(client, pb.KV.method.range, [
        { key: k, revision: MOST },
        { key: k, revision: LEAST },
        { key: k, limit: MOST, rangeEnd: end },
        { key: k, limit: LEAST, rangeEnd: end },
        { key: k, sortOrder: 3 as never },
        { key: k, sortTarget: -1 as never },
        { key: k, minModRevision: MOST },
        { key: k, maxModRevision: -1n },
        { key: k, minCreateRevision: LEAST, rangeEnd: end },
        { key: k, countOnly: true, keysOnly: true, rangeEnd: bytes("z") },
      ]);
    },
  },
  {
    name: "T3 T6 T8 C1 transactions and compactions with hardly anything in them",
    async body(client) {
      await client.put("k", "v");
      await ask(client, pb.KV.method.txn, [
        { compare: [{ key: k, result: 7 as never, targetUnion: { case: "version", value: MOST } }] },
        { compare: [{ key: k, target: 9 as never }] },
        { compare: [{ key: k, target: pb.Compare_CompareTarget.VALUE, targetUnion: { case: "version", value: 0n } }] },
        { compare: [{}] },
        { success: [{}] },
        { failure: [{}] },
        { success: [{ request: { case: "requestTxn", value: {} } }] },
        { success: [{ request: { case: "requestTxn", value: { success: [{}] } } }] },
      ]);
      await ask(client, pb.KV.method.compact, [{ revision: LEAST }, { revision: MOST }]);
    },
  },
  {
    name: "L1 L2 L3 L5 leases with the greatest, the least and no id and time",
    defaultTimings: true,
    async body(client) {
      await ask(client, pb.Lease.method.leaseGrant, [
        { ID: MOST, TTL: 50n },
        { ID: LEAST, TTL: 50n },
        { ID: LEAST, TTL: 50n },
        { ID: 5n, TTL: LEAST },
        { ID: 6n, TTL: 9000000001n },
        { ID: 6n, TTL: 9000000000n },
      ]);
      await ask(client, pb.KV.method.put, [
        { key: k, lease: LEAST },
        { key: bytes("l"), lease: -1n },
      ]);
      await ask(client, pb.KV.method.range, [{ key: k }]);
      await ask(client, pb.Lease.method.leaseTimeToLive, [{ ID: 0n }, { ID: 0n, keys: true }]);
      await ask(client, pb.Lease.method.leaseRevoke, [{ ID: 0n }, { ID: LEAST }, { ID: LEAST }]);
      await ask(client, pb.KV.method.range, [{ key: k }]);
    },
  },
  {
    name: "K1 K2 K3 locks and elections without a name, with a lease that is negative or unknown",
    async body(client) {
      for (const id of [77, -77, 78]) await client.grant(1000, id);
      await ask(client, Lock.method.lock, [
        { name: bytes("lk"), lease: 77n },
        { name: bytes("lk"), lease: 77n },
        { lease: 77n },
        { name: bytes("neg"), lease: -77n },
        { name: bytes("a\xff\0b"), lease: 77n },
        { name: bytes("lk"), lease: 999n },
      ]);
      await ask(client, Lock.method.unlock, [
        {},
        { key: bytes("no") },
        { key: bytes("lk/4d") },
        { key: bytes("lk/4d") },
      ]);
      await ask(client, Election.method.leader, [{ name: bytes("e") }, {}]);
      await ask(client, Election.method.campaign, [
        { name: bytes("e"), lease: 77n, value: bytes("v1") },
        { name: bytes("e"), lease: 77n, value: bytes("v2") },
        { name: bytes("e2"), lease: 999n },
        { name: bytes("e4"), lease: -77n },
      ]);
      await ask(client, Election.method.leader, [{ name: bytes("e") }]);
      const other = { name: bytes("e"), key: bytes("e/4d"), rev: 1n, lease: 77n };
      await ask(client, Election.method.proclaim, [{}, { leader: {} }, { leader: other, value: bytes("x") }]);
      await ask(client, Election.method.resign, [{}, { leader: {} }, { leader: other }]);
      await ask(client, Election.method.leader, [{ name: bytes("e") }]);
    },
  },
  {
    name: "M2 M7 M8 alarms of members that there are not, versions that are none, members without addresses",
    defaultTimings: true,
    async body(client) {
      const [get, activate, deactivate] = [0, 1, 2] as const;
      await ask(client, pb.Maintenance.method.alarm, [
        { action: deactivate, alarm: 1 },
        { action: deactivate, alarm: 0 },
        { action: activate, alarm: 1, memberID: 5n },
        { action: activate, alarm: 2, memberID: 5n },
        { action: activate, alarm: 2, memberID: 5n },
        { action: get, alarm: 2 },
      ]);
      await ask(client, pb.KV.method.put, [{ key: k }]);
      await ask(client, pb.Maintenance.method.alarm, [
        { action: deactivate, alarm: 1, memberID: 6n },
        { action: deactivate, alarm: 1, memberID: 5n },
        { action: deactivate, alarm: 2, memberID: 5n },
        { action: activate, alarm: 9 as never, memberID: 5n },
        { action: deactivate, alarm: 9 as never, memberID: 5n },
        { action: get },
      ]);
      const versions = ["", "3.5.99", "v3.5", "3.5.0-rc", "03.5", " 3.5", "3.5.0.1", "3", "-3.5"];
      await ask(client, pb.Maintenance.method.downgrade, [
        { action: 7 as never },
        ...versions.map((version) => ({ action: 0 as const, version })),
        { action: 2, version: "3.5" },
        { action: 1, version: "3.6.1" },
      ]);
      await ask(client, pb.Maintenance.method.moveLeader, [{}]);
      const addresses = [[], [""], ["x"], ["ftp://a:1"], ["http://a:1/x"]];
      await ask(
        client,
        pb.Cluster.method.memberAdd,
        addresses.map((peerURLs) => ({ peerURLs })),
      );
      await ask(client, pb.Cluster.method.memberRemove, [{}]);
      await ask(client, pb.Cluster.method.memberPromote, [{}]);
      await ask(client, pb.Cluster.method.memberUpdate, [{}, { peerURLs: ["http://127.0.0.1:5"] }]);
    },
  },
  {
    name: "A6 A7 A8 A9 users, roles and permissions with hardly anything in them, and with too much",
    async body(client) {
      const { method } = pb.Auth;
      await ask(client, method.userAdd, [
        { name: "u", password: "p", options: { noPassword: true } },
        { name: "u2" },
        { name: "u3", hashedPassword: "eHg=" },
        { name: "u4", hashedPassword: "!!" },
        { name: "u5", password: "p".repeat(73) },
        { name: "u6", password: "p".repeat(72) },
        {},
      ]);
      await ask(client, method.userChangePassword, [
        { name: "u", password: "x" },
        { name: "u2", password: "x".repeat(73) },
      ]);
      await ask(client, method.userGet, [{}, { name: "u" }]);
      await ask(client, method.userDelete, [{}]);
      await ask(client, method.roleAdd, [{ name: "r" }, {}]);
      await ask(client, method.roleGrantPermission, [
        { name: "r" },
        { name: "r", perm: {} },
        { name: "r", perm: { permType: 5 as never, key: bytes("q") } },
        { name: "r", perm: { permType: 1, key: end, rangeEnd: end } },
        { name: "none", perm: { key: bytes("b"), rangeEnd: bytes("a") } },
      ]);
      await ask(client, method.roleGet, [{ role: "r" }, {}]);
      await ask(client, method.roleRevokePermission, [{ role: "r" }, { role: "r", key: end, rangeEnd: end }, {}]);
      await ask(client, method.roleGet, [{ role: "r" }]);
      await ask(client, method.roleDelete, [{}]);
      await ask(client, method.userGrantRole, [{}, { user: "u" }]);
      await ask(client, method.userRevokeRole, [{}]);
      await ask(client, method.authenticate, [{}]);
      await ask(client, method.authStatus, [{}]);
    },
  },
];
