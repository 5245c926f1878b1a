import { deepEqual, equal, match, ok } from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import {
  AlarmRequest_AlarmAction,
  AlarmType,
  Auth,
  Cluster,
  Maintenance,
} from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../../src/gen/grpc/health/v1/health_pb.ts";
import { fails, type Story } from "../story.ts";

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
