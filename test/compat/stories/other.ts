import { deepEqual, equal, match, ok } from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import * as pb from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import {
  AlarmRequest_AlarmAction,
  AlarmType,
  Auth,
  Cluster,
  Maintenance,
} from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../../src/gen/grpc/health/v1/health_pb.ts";
import { bytes } from "../client.ts";
import { fails, type Story } from "../story.ts";
import { get as rangeOp } from "./txn.ts";

export const otherStories: Story[] = [
  {
    name: "M1 Status",
    async body(client) {
      await client.put("a", "1");
      await client.transcript.silently(async () => {
        let status = await client.call(Maintenance.method.status, {});
        // A real etcd learns its storage version a moment after it began to serve.
        for (let tries = 0; status.storageVersion === "" && tries < 100; tries++) {
          await sleep(100);
          status = await client.call(Maintenance.method.status, {});
        }
        match(status.version, /^3\.6\.\d+$/);
        match(status.storageVersion, /^3\.\d+\.0$/);
        equal(status.header!.revision, 2n);
        ok(status.header!.clusterId !== 0n && status.header!.memberId !== 0n && status.header!.raftTerm !== 0n);
        equal(status.leader, status.header!.memberId);
        equal(status.raftTerm, status.header!.raftTerm);
        ok(status.raftIndex >= status.raftAppliedIndex && status.raftAppliedIndex > 0n);
        ok(status.dbSize >= status.dbSizeInUse && status.dbSizeInUse > 0n);
        deepEqual(status.errors, []);
        equal(status.isLearner, false);
        ok(status.downgradeInfo !== undefined && !status.downgradeInfo.enabled);
      });
    },
  },
  {
    name: "M8 MemberList of a single node",
    async body(client) {
      await client.transcript.silently(async () => {
        for (const linearizable of [false, true]) {
          const list = await client.call(Cluster.method.memberList, { linearizable });
          equal(list.header!.revision, 0n);
          equal(list.members.length, 1);
          const [member] = list.members;
          equal(member!.ID, list.header!.memberId);
          ok(member!.name !== "");
          ok(member!.clientURLs.every((url) => /^https?:\/\//.test(url)) && member!.clientURLs.length > 0);
          ok(member!.peerURLs.length > 0);
          equal(member!.isLearner, false);
        }
      });
    },
  },
  {
    name: "M1 Status of an empty store: its size is not zero, clients divide by it",
    async body(client) {
      await client.transcript.silently(async () => {
        ok((await client.call(Maintenance.method.status, {})).dbSize > 0n);
      });
    },
  },
  {
    name: "M2 without an alarm the list is empty, and disarming does nothing",
    async body(client) {
      await client.put("a", "1");
      for (const alarm of [AlarmType.NONE, AlarmType.NOSPACE, AlarmType.CORRUPT]) {
        for (const action of [AlarmRequest_AlarmAction.GET, AlarmRequest_AlarmAction.DEACTIVATE]) {
          const answer = await client.call(Maintenance.method.alarm, { action, alarm });
          deepEqual(answer.alarms, []);
          equal(answer.header!.revision, 2n);
        }
      }
    },
  },
  {
    name: "A1, A3 authentication that is off",
    async body(client) {
      await client.put("a", "1");
      const status = await client.call(Auth.method.authStatus, {});
      deepEqual([status.enabled, status.authRevision, status.header!.revision], [false, 1n, 2n]);
      await client.call(Auth.method.authDisable, {});
      await fails(
        client.call(Auth.method.authenticate, { name: "name", password: "password" }),
        9,
        "etcdserver: authentication is not enabled",
      );
    },
  },
  {
    name: "B1.13 every answer has a header: whose it is, and the store's revision",
    async body(client) {
      const { method } = pb.KV;
      await client.put("a", "1");
      const { header } = await client.put("b", "2");
      const answers = {
        range: await client.call(method.range, { key: bytes("a"), revision: 2n }),
        put: await client.put("b", "3"),
        deleteNothing: await client.del("none"),
        delete: await client.del("b"),
        txn: await client.txn({}),
        compact: await client.compact(2),
        grant: await client.grant(100, 7),
        timeToLive: await client.timeToLive(7n),
        leases: await client.call(pb.Lease.method.leaseLeases, {}),
        revoke: await client.revoke(7n),
        hash: await client.transcript.silently(() => client.call(Maintenance.method.hash, {})),
        hashKv: await client.call(Maintenance.method.hashKV, {}),
        alarm: await client.call(Maintenance.method.alarm, {}),
        authStatus: await client.call(Auth.method.authStatus, {}),
        members: await client.transcript.silently(() => client.call(Cluster.method.memberList, {})),
        watch: await client.watch().created("a"),
      };
      const revisions: Record<string, bigint> = {};
      for (const [name, answer] of Object.entries(answers)) {
        const { clusterId, memberId, revision } = answer.header!;
        deepEqual([clusterId, memberId], [header!.clusterId, header!.memberId], name);
        revisions[name] = revision;
      }
      const { range, put, deleteNothing, members, ...later } = revisions;
      deepEqual([range, put, deleteNothing, members], [3n, 4n, 4n, 0n]);
      ok(Object.values(later).every((revision) => revision === 5n));
      const inner = await client.txn({ success: [rangeOp("a")] });
      const [first] = inner.responses;
      ok(first!.response.case === "responseRange");
      deepEqual(first!.response.value.header, { ...first!.response.value.header!, clusterId: 0n, memberId: 0n });
      // Neither of these has one.
      deepEqual((await client.call(Maintenance.method.defragment, {})).header, undefined);
    },
  },
  {
    name: "the gRPC health service",
    async body(client) {
      equal((await client.call(Health.method.check, {})).status, Status.SERVING);
      await fails(client.call(Health.method.check, { service: "no such" }), 5, "unknown service");
      await client.call(Health.method.list, {});
    },
  },
  {
    name: "B1.16 a method that does not exist",
    async body(client) {
      await fails(
        client.raw("/etcdserverpb.KV/Nothing", Buffer.alloc(0)),
        12,
        "unknown method Nothing for service etcdserverpb.KV",
      );
    },
  },
];
