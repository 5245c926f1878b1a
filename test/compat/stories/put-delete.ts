import { deepEqual, equal, ok } from "node:assert/strict";
import { KV } from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import { bytes, text } from "../client.ts";
import { fails, type Story } from "../story.ts";

export const putDeleteStories: Story[] = [
  {
    name: "P1 P2 P3 P4 argument checks of Put",
    async body(client) {
      await fails(client.put("", "v"), 3, "etcdserver: key is not provided");
      await fails(client.put("a", "v", { ignoreValue: true }), 3, "etcdserver: value is provided");
      await fails(client.put("a", "v", { ignoreLease: true, lease: 5n }), 3, "etcdserver: lease is provided");
      const missing = "etcdserver: key not found";
      await fails(client.put("a", "", { ignoreValue: true }), 3, missing);
      await fails(client.put("a", "v", { ignoreLease: true }), 3, missing);
      await fails(client.put("a", "", { ignoreValue: true, ignoreLease: true }), 3, missing);
      // The order of the checks.
      await fails(
        client.put("", "v", { ignoreValue: true, ignoreLease: true, lease: 5n }),
        3,
        "etcdserver: key is not provided",
      );
      await fails(
        client.put("a", "v", { ignoreValue: true, ignoreLease: true, lease: 5n }),
        3,
        "etcdserver: value is provided",
      );
      await fails(client.put("a", "", { ignoreValue: true, lease: 5n }), 5, "etcdserver: requested lease not found");
      equal((await client.range("a")).header!.revision, 1n);
    },
  },
  {
    name: "P4 ignore_value and ignore_lease of a present key",
    async body(client) {
      const { ID } = await client.grant(100, 7);
      await client.grant(100, 8);
      await client.put("a", "1", { lease: ID });
      await client.put("a", "", { ignoreValue: true, lease: 8n });
      await client.range("a");
      await client.put("a", "2", { ignoreLease: true, prevKv: true });
      await client.range("a");
      await client.put("a", "", { ignoreValue: true, ignoreLease: true, prevKv: true });
      await client.range("a");
      await client.put("a", "", { ignoreValue: true });
      const { kvs } = await client.range("a");
      equal(kvs[0]!.lease, 0n);
      equal(text(kvs[0]!.value), "2");
      await client.del("a");
      await fails(client.put("a", "", { ignoreValue: true }), 3, "etcdserver: key not found");
    },
  },
  {
    name: "P5 a put with an unknown lease writes nothing",
    async body(client) {
      await fails(client.put("a", "v", { lease: 5n }), 5, "etcdserver: requested lease not found");
      await fails(client.put("a", "v", { lease: -5n }), 5, "etcdserver: requested lease not found");
      const { header, count } = await client.range("a");
      equal(header!.revision, 1n);
      equal(count, 0n);
    },
  },
  {
    name: "P7 P8 P9 prev_kv, empty values, revisions and versions",
    async body(client) {
      equal((await client.put("a", "1", { prevKv: true })).prevKv, undefined);
      await client.put("a", "2", { prevKv: true });
      await client.put("a", "", { prevKv: true });
      await client.put("a", "4", { prevKv: true });
      await client.del("a");
      await client.put("a", "5", { prevKv: true });
      await client.put("b", "", {});
      await client.range("b");
    },
  },
  {
    name: "keys and values of any bytes, and large ones",
    async body(client) {
      const every = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i));
      await client.put(every, every);
      deepEqual(text((await client.range(every)).kvs[0]!.value), every);
      await client.transcript.silently(async () => {
        const large = "x".repeat(1_400_000);
        await client.put("large", large);
        equal(text((await client.range("large")).kvs[0]!.value), large);
        await client.put("k".repeat(30_000), "long key");
        equal((await client.range("k".repeat(30_000))).count, 1n);
      });
    },
  },
  {
    name: "B1.1 a request over max-request-bytes, and one over the limit of gRPC",
    async body(client) {
      await client.transcript.silently(async () => {
        const tooLarge = "etcdserver: request is too large";
        // etcd's envelope around a request takes some 17 bytes, by the size of its ids.
        const fits = "v".repeat(1_572_864 - 64);
        await client.put("a", fits);
        const over = `${fits}${"v".repeat(64)}`;
        await fails(client.put("a", over), 3, tooLarge);
        const put = { request: { case: "requestPut" as const, value: { key: bytes("b"), value: bytes(over) } } };
        await fails(client.txn({ success: [put] }), 3, tooLarge);
        await fails(client.txn({ failure: [put] }), 3, tooLarge);
        await fails(client.del(over), 3, tooLarge);
        // Reads are not held against that limit.
        equal((await client.range("k".repeat(1_700_000))).count, 0n);
        const get = { request: { case: "requestRange" as const, value: { key: bytes("k".repeat(1_700_000)) } } };
        ok((await client.txn({ success: [get] })).succeeded);
        const whole = "v".repeat(2_097_152);
        await fails(
          client.put("a", whole),
          8,
          `grpc: received message larger than max (${whole.length + 8} vs. 2097152)`,
        );
      });
    },
  },
  {
    name: "D1 D2 D3 D4 D5 DeleteRange",
    async body(client) {
      await fails(client.del(""), 3, "etcdserver: key is not provided");
      await fails(client.del("", "z"), 3, "etcdserver: key is not provided");
      equal((await client.del("a", "z")).deleted, 0n);
      equal((await client.range("a")).header!.revision, 1n);
      for (const key of ["a", "a\0", "aa", "b", "c", "d"]) await client.put(key, `value of ${key}`);
      await client.del("a");
      await client.del("a", "b", true);
      await client.del("b", undefined, true);
      await client.del("z", "a");
      await client.put("c", "second");
      await client.del("c", "\0", true);
      await client.del("\0", "\0", true);
      await client.range("\0", { end: "\0" });
      await client.range("a", { end: "z", revision: 7n });
    },
  },
  {
    name: "D6 a deleted key is detached from its lease",
    async body(client) {
      const { ID } = await client.grant(100, 5);
      await client.put("a", "1", { lease: ID });
      await client.del("a");
      await client.put("a", "2");
      await client.timeToLive(ID, true);
      await client.revoke(ID);
      equal((await client.range("a")).count, 1n);
    },
  },
  {
    name: "B1.16 unknown fields are ignored, malformed messages refused",
    async body(client) {
      await client.put("a", "1");
      await client.raw("/etcdserverpb.KV/Range", Buffer.from("0a0161" + "f8070a" + "fa070178", "hex"));
      for (const bad of [
        "0a",
        "0a0561",
        "0805",
        "80",
        "04",
        "0001",
        "03",
        "18ffffffffffffffffffff01",
        "7e",
        "7b7b",
        "79",
      ]) {
        await client.raw("/etcdserverpb.KV/Range", Buffer.from(bad, "hex")).catch(() => {});
      }
      await client.raw("/etcdserverpb.KV/Txn", Buffer.from("12020a05", "hex")).catch(() => {});
      await client.raw("/etcdserverpb.Lease/LeaseGrant", Buffer.from("0a00", "hex")).catch(() => {});
      await client.raw("/etcdserverpb.Maintenance/Status", Buffer.from("0c", "hex")).catch(() => {});
      await client.raw("/etcdserverpb.Cluster/MemberList", Buffer.from("0a00", "hex")).catch(() => {});
    },
  },
  {
    name: "B1.9 B1.10 metadata",
    async body(client) {
      await client.call(KV.method.range, { key: bytes("a") }, { hasleader: "true" });
      await client.call(KV.method.range, { key: bytes("a") }, { hasleader: "true", "client-api-version": "3.6" });
      await client.call(KV.method.range, { key: bytes("a") }, { token: "ignored while auth is off" });
    },
  },
];
