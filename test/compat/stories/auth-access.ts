import { deepEqual, equal } from "node:assert/strict";
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  AlarmRequest_AlarmAction,
  Auth,
  Cluster,
  Compare_CompareTarget,
  DowngradeRequest_DowngradeAction,
  Lease,
  Maintenance,
  type RequestOpSchema,
} from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import { bytes, type EtcdClient } from "../client.ts";
import { fails, type Story } from "../story.ts";
import { auth, READ, READWRITE, refusals, WRITE, withUsers } from "./auth-setup.ts";

const refused = (call: Promise<unknown>, [code, text]: readonly [number, string]) => fails(call, code, text);
const denied = (call: Promise<unknown>) => refused(call, refusals.permissionDenied);
const story = (name: string, body: (client: EtcdClient) => Promise<void>): Story => ({ name, body });

type Op = MessageInitShape<typeof RequestOpSchema>;
const get = (key: string, end = ""): Op => ({
  request: { case: "requestRange", value: { key: bytes(key), rangeEnd: bytes(end) } },
});
const put = (key: string, extra: { lease?: bigint; prevKv?: boolean } = {}): Op => ({
  request: { case: "requestPut", value: { key: bytes(key), value: bytes("v"), ...extra } },
});
const del = (key: string, { end = "", prevKv = false } = {}): Op => ({
  request: { case: "requestDeleteRange", value: { key: bytes(key), rangeEnd: bytes(end), prevKv } },
});
const nested = (...success: Op[]): Op => ({ request: { case: "requestTxn", value: { success } } });
const compare = (key: string, end = "") => ({
  key: bytes(key),
  rangeEnd: bytes(end),
  target: Compare_CompareTarget.VERSION,
  targetUnion: { case: "version", value: 0n } as const,
});

/** What those who have logged in may do with keys, leases, watches and the server. */
export const authAccessStories: Story[] = [
  story("A12 a range must be within the union of what is permitted", async (client) => {
    const { root, alice } = await withUsers(client, {
      alice: [
        [READ, "a", "c"],
        [READ, "c", "f"],
        [READWRITE, "e", "h"],
        [READ, "k"],
        [WRITE, "p", "r"],
      ],
    });
    for (const [key, end] of [
      ["a", ""],
      ["g", ""],
      ["a", "h"],
      ["b", "g"],
      ["k", ""],
      ["k", "k\0"],
    ] as const) {
      await alice.range(key, { end });
    }
    for (const [key, end] of [
      ["h", ""],
      ["a", "i"],
      ["A", "c"],
      ["k", "l"],
      ["k\0", ""],
      ["p", ""],
      ["a", "\0"],
      ["\0", "\0"],
    ] as const) {
      await denied(alice.range(key, { end }));
    }
    await auth.permit(root, "alice", [READ, "m", "\0"]);
    await alice.range("m", { end: "\0" });
    await alice.range("zz", { end: "\0" });
    await alice.range("m", { end: "z" });
    await denied(alice.range("a", { end: "\0" }));
    await auth.permit(root, "alice", [READ, "\0", "\0"]);
    await alice.range("\0", { end: "\0" });
    await alice.range("a", { end: "z" });
    // What is wrong with a request is told to everyone; what there is, to those who may read it.
    await fails(alice.range("a", { revision: 100n }), 11, "etcdserver: mvcc: required revision is a future revision");
    await fails(client.range("a", { revision: 100n }), ...refusals.userEmpty);
  }),

  story("A13 puts and deletions", async (client) => {
    const { root, writer, both } = await withUsers(client, {
      writer: [[WRITE, "a", "c"]],
      both: [
        [WRITE, "a", "c"],
        [READ, "a"],
      ],
    });
    await writer.put("a", "1");
    await denied(writer.put("c", "1"));
    await denied(writer.put("a", "2", { prevKv: true }));
    await both.put("a", "2", { prevKv: true });
    await denied(both.put("b", "2", { prevKv: true }));
    await denied(writer.del("a", undefined, true));
    await denied(writer.del("a", "d"));
    await denied(writer.del("a", "\0"));
    await denied(both.del("a", "c", true));
    await both.del("a", undefined, true);
    await writer.del("a", "c");
    await fails(client.put("a", "1"), ...refusals.userEmpty);
    await fails(client.del("a"), ...refusals.userEmpty);
    await root.put("x", "1", { prevKv: true });
    await root.range("\0", { end: "\0" });
  }),

  story(
    "A14 T15 transactions: comparisons, both branches, nested ones, whichever is taken (CVE-2026-33343)",
    async (client) => {
      const { root, alice } = await withUsers(client, {
        alice: [
          [READ, "a"],
          [READWRITE, "b"],
          [WRITE, "w"],
        ],
      });
      await alice.txn({ compare: [compare("a")], success: [get("a"), put("b")], failure: [get("b")] });
      await denied(alice.txn({ compare: [compare("x")], success: [], failure: [] }));
      await denied(alice.txn({ compare: [compare("a", "c")], success: [], failure: [] }));
      await denied(alice.txn({ compare: [compare("w")], success: [], failure: [] }));
      const outside: Op[] = [
        get("x"),
        put("x"),
        del("x"),
        put("a"),
        del("a"),
        get("a", "z"),
        del("w", { prevKv: true }),
      ];
      for (const op of [...outside, put("w", { prevKv: true })]) {
        await denied(alice.txn({ success: [op] }));
        await denied(alice.txn({ failure: [op] }));
        await denied(alice.txn({ success: [put("b"), nested(get("a"), op)] }));
        await denied(alice.txn({ failure: [nested(nested(nested(op)))] }));
        await denied(alice.txn({ success: [get("a")], failure: [nested(op)] }));
      }
      await denied(alice.txn({ success: [{ request: { case: "requestTxn", value: { compare: [compare("x")] } } }] }));
      await alice.txn({ success: [nested(put("b"), nested(get("a")))] });
      await fails(client.txn({ success: [nested(get("a"))] }), ...refusals.userEmpty);
      deepEqual(
        (await root.range("\0", { end: "\0" })).kvs.map(({ key }) => String.fromCharCode(...key)),
        ["b"],
      );
    },
  ),

  story("A13 a lease with keys that one may not write cannot be put on others (21681, 21685)", async (client) => {
    const { root, alice } = await withUsers(client, { alice: [[READWRITE, "a", "c"]] });
    await client.transcript.silently(() => root.grant(100, 7));
    await alice.put("a", "1", { lease: 7n });
    await root.put("x", "1", { lease: 7n });
    await denied(alice.put("b", "1", { lease: 7n }));
    await denied(alice.txn({ success: [put("b", { lease: 7n })] }));
    await denied(alice.txn({ success: [get("a")], failure: [nested(put("b", { lease: 7n }))] }));
    await fails(alice.put("b", "1", { lease: 8n }), 5, "etcdserver: requested lease not found");
    await root.put("b", "1", { lease: 7n });
    await root.del("x");
    await alice.put("b", "2", { lease: 7n });
  }),

  story("A15 L10 leases: whose keys one may not write or read (CVE-2026-33413)", async (client) => {
    const { root, alice, reader } = await withUsers(client, {
      alice: [[READWRITE, "a", "c"]],
      reader: [[READ, "a", "c"]],
    });
    await fails(client.grant(100, 1), ...refusals.userEmpty);
    await alice.grant(100, 1);
    await reader.grant(100, 2);
    await alice.put("a", "1", { lease: 1n });
    await fails(client.revoke(1n), ...refusals.userEmpty);
    await fails(client.timeToLive(1n), ...refusals.userEmpty);
    await fails(client.call(Lease.method.leaseLeases, {}), ...refusals.userEmpty);
    await denied(reader.revoke(1n));
    await client.transcript.silently(async () => {
      equal((await reader.timeToLive(1n, true)).keys.length, 1);
      equal((await reader.call(Lease.method.leaseLeases, {})).leases.length, 2);
      await root.put("x", "1", { lease: 1n });
      equal((await alice.timeToLive(1n)).grantedTTL, 100n);
      equal((await root.timeToLive(1n, true)).keys.length, 2);
    });
    await denied(reader.timeToLive(1n, true));
    await denied(alice.timeToLive(1n, true));
    await denied(alice.call(Lease.method.leaseLeases, {}));
    await denied(alice.revoke(1n));
    await fails(alice.revoke(9n), 5, "etcdserver: requested lease not found");
    for (const [who, text] of [
      [alice, "etcdserver: permission denied"],
      [client, "etcdserver: user name is empty"],
    ] as const) {
      const stream = who.stream(Lease.method.leaseKeepAlive);
      stream.send({ ID: 1n });
      await fails(stream.next(), who === alice ? 7 : 3, text);
    }
    const kept = root.stream(Lease.method.leaseKeepAlive);
    kept.send({ ID: 1n });
    equal((await kept.next())!.TTL, 100n);
    kept.raw.cancel();
    await root.del("x");
    const keeping = alice.stream(Lease.method.leaseKeepAlive);
    keeping.send({ ID: 1n });
    equal((await keeping.next())!.TTL, 100n);
    keeping.raw.cancel();
    await alice.revoke(1n);
    // Of a lease without keys, anyone who knows its id.
    await alice.revoke(2n);
  }),

  story("A16 W6 watching takes reading all of it (GHSA-xg4h-6gfc-h4m8)", async (client) => {
    const { root, alice } = await withUsers(client, {
      alice: [
        [READ, "a"],
        [READ, "c", "f"],
        [WRITE, "w"],
      ],
    });
    const watch = alice.watch();
    equal((await watch.created("a")).canceled, false);
    equal((await watch.created("c", { end: "e" })).canceled, false);
    for (const [key, end] of [
      ["a", "\0"],
      ["a", "b"],
      ["", ""],
      ["", "\0"],
      ["c", "g"],
      ["d", "\0"],
      ["w", ""],
      ["x", ""],
    ] as const) {
      const answer = await watch.created(key, { end });
      deepEqual(
        [answer.watchId, answer.created, answer.canceled, answer.cancelReason],
        [-1n, true, true, "rpc error: code = PermissionDenied desc = etcdserver: permission denied"],
      );
    }
    await watch.created("x", { startRevision: -1n });
    // The others of the stream go on.
    await root.put("a", "1");
    await root.put("x", "1");
    await root.put("d", "1");
    await watch.events(2);
    watch.raw.cancel();
    for (const [who, reason] of [
      [client, "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"],
      [client.withToken("stranger", "no.1"), "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"],
    ] as const) {
      const refusing = who.watch();
      equal((await refusing.created("a")).cancelReason, reason);
      refusing.raw.cancel();
    }
  }),

  story("W22 a watcher goes on when what permitted it is taken away", async (client) => {
    const { root, alice } = await withUsers(client, { alice: [[READ, "a"]] });
    const watch = alice.watch();
    await watch.created("a");
    await auth.take(root, "alice", "alice");
    await root.put("a", "1");
    await watch.events(1);
    const again = await watch.created("a");
    equal(again.cancelReason, "rpc error: code = PermissionDenied desc = etcdserver: permission denied");
    await root.call(Auth.method.userDelete, { name: "alice" });
    await root.put("a", "2");
    await watch.events(1);
    watch.raw.cancel();
  }),

  story("A11 what takes the role root, and what any user may (CVE-2026-33413)", async (client) => {
    const { root, alice } = await withUsers(client, { alice: [[READWRITE, "\0", "\0"]] });
    const { GET, ACTIVATE, DEACTIVATE } = AlarmRequest_AlarmAction;
    const asks: ((who: EtcdClient) => Promise<unknown>)[] = [
      (who) => who.compact(1),
      (who) => who.call(Maintenance.method.defragment, {}),
      (who) => who.call(Maintenance.method.hash, {}),
      (who) => who.call(Maintenance.method.hashKV, {}),
      (who) => who.call(Maintenance.method.moveLeader, { targetID: 1n }),
      (who) => who.call(Maintenance.method.downgrade, { action: DowngradeRequest_DowngradeAction.CANCEL }),
      (who) => who.call(Maintenance.method.alarm, { action: ACTIVATE, alarm: 1 }),
      (who) => who.call(Maintenance.method.alarm, { action: DEACTIVATE, alarm: 1 }),
      (who) => who.call(Cluster.method.memberAdd, { peerURLs: ["http://127.0.0.1:1"] }),
      (who) => who.call(Cluster.method.memberRemove, { ID: 1n }),
      (who) => who.call(Cluster.method.memberUpdate, { ID: 1n, peerURLs: ["http://127.0.0.1:1"] }),
      (who) => who.call(Cluster.method.memberPromote, { ID: 1n }),
    ];
    for (const ask of asks) {
      await denied(ask(alice));
      await refused(ask(client), refusals.userEmpty);
    }
    const anyUser: ((who: EtcdClient) => Promise<unknown>)[] = [
      (who) => who.call(Maintenance.method.status, {}),
      (who) => who.call(Maintenance.method.alarm, { action: GET }),
      (who) => who.call(Cluster.method.memberList, {}),
      (who) => who.call(Cluster.method.memberList, { linearizable: true }),
    ];
    for (const ask of anyUser) {
      await client.transcript.silently(async () => {
        await ask(alice);
        await ask(root);
      });
      await refused(ask(client), refusals.userEmpty);
    }
    await root.put("a", "1");
    await root.compact(2);
  }),

  story("A11 a snapshot takes the role root", async (client) => {
    const { alice } = await withUsers(client, { alice: [[READWRITE, "\0", "\0"]] });
    for (const [who, refusal] of [
      [alice, refusals.permissionDenied],
      [client, refusals.userEmpty],
    ] as const) {
      const stream = who.endpoint.stream("/etcdserverpb.Maintenance/Snapshot", who.metadata);
      stream.send(Buffer.alloc(0));
      stream.halfClose();
      await refused(stream.next(), refusal);
    }
  }),
];
