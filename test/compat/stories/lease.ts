import { deepEqual, equal, ok } from "node:assert/strict";
import { Lease } from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import { text } from "../client.ts";
import { eventually, fails, type Story, sleep } from "../story.ts";
import { put } from "./txn.ts";

const NOT_FOUND = "etcdserver: requested lease not found";

export const leaseStories: Story[] = [
  {
    name: "L1 L2 Grant",
    async body(client) {
      const picked = await client.grant(100);
      ok(picked.ID > 0n);
      await client.grant(100, 5);
      await fails(client.grant(100, 5), 9, "etcdserver: lease already exists");
      await client.grant(100, -5);
      await client.grant(100, 2n ** 63n - 1n);
      await client.grant(100, -(2n ** 63n));
      await client.grant(9_000_000_000n, 6);
      await fails(client.grant(9_000_000_001n, 7), 11, "etcdserver: too large lease TTL");
      await fails(client.grant(2n ** 63n - 1n, 7), 11, "etcdserver: too large lease TTL");
      equal((await client.range("a")).header!.revision, 1n);
    },
  },
  {
    name: "L2 a TTL below the least one is raised to it",
    defaultTimings: true,
    async body(client) {
      for (const ttl of [0n, 1n, -1n, -(2n ** 63n), 2n, 3n]) await client.grant(ttl, ttl + 2n ** 62n);
    },
  },
  {
    name: "L3 Revoke deletes the attached keys in one revision",
    async body(client) {
      await fails(client.revoke(1n), 5, NOT_FOUND);
      await fails(client.revoke(0n), 5, NOT_FOUND);
      const watch = client.watch();
      await watch.created("\0", { end: "\0", prevKv: true });
      await client.grant(100, 5);
      await client.grant(100, 6);
      for (const key of ["c", "a", "b"]) await client.put(key, "v", { lease: 5n });
      await client.put("d", "stays");
      equal((await client.revoke(6n)).header!.revision, 5n);
      equal((await client.revoke(5n)).header!.revision, 6n);
      await fails(client.revoke(5n), 5, NOT_FOUND);
      const events = await watch.events(7);
      deepEqual(
        events.slice(4).map((event) => text(event.kv!.key) + event.kv!.modRevision),
        ["a6", "b6", "c6"],
      );
      await client.range("\0", { end: "\0" });
      await fails(client.put("a", "v", { lease: 5n }), 5, NOT_FOUND);
      await client.grant(100, 5);
      await client.timeToLive(5n, true);
    },
  },
  {
    name: "L4 KeepAlive answers in order, unknown leases with TTL 0",
    async body(client) {
      await client.grant(100, 5);
      await client.grant(200, -6);
      const stream = client.stream(Lease.method.leaseKeepAlive);
      for (const ID of [5n, 77n, -6n, 5n, 0n]) stream.send({ ID });
      const ttls: bigint[] = [];
      for (let i = 0; i < 5; i++) ttls.push((await stream.next())!.TTL);
      deepEqual(ttls, [100n, 0n, 200n, 100n, 0n]);
      await client.revoke(5n);
      stream.send({ ID: 5n });
      equal((await stream.next())!.TTL, 0n);
      stream.raw.halfClose();
      equal(await stream.next(), null);
    },
  },
  {
    name: "L4 many keep-alives on one stream",
    async body(client) {
      await client.transcript.silently(async () => {
        for (let id = 1; id <= 20; id++) await client.grant(100 + id, id);
        const stream = client.stream(Lease.method.leaseKeepAlive);
        for (let i = 0; i < 1000; i++) stream.send({ ID: BigInt((i % 20) + 1) });
        for (let i = 0; i < 1000; i++) {
          const answer = (await stream.next())!;
          equal(answer.ID, BigInt((i % 20) + 1));
          equal(answer.TTL, BigInt((i % 20) + 101));
        }
        stream.raw.halfClose();
        equal(await stream.next(), null);
      });
    },
  },
  {
    name: "L4 a malformed message ends a stream",
    async body(client) {
      const stream = client.stream(Lease.method.leaseKeepAlive);
      stream.raw.send(Buffer.from("0a", "hex"));
      await stream.next().catch(() => {});
    },
  },
  {
    name: "L5 TimeToLive and LeaseLeases",
    async body(client) {
      equal((await client.timeToLive(5n)).TTL, -1n);
      equal((await client.timeToLive(5n, true)).TTL, -1n);
      await client.call(Lease.method.leaseLeases, {});
      await client.grant(1000, 5);
      await client.grant(3000, 6);
      await client.put("b", "v", { lease: 5n });
      await client.put("a", "v", { lease: 5n });
      await client.transcript.silently(async () => {
        const { TTL, grantedTTL } = await client.timeToLive(5n);
        equal(grantedTTL, 1000n);
        ok(TTL >= 995n && TTL <= 1000n, `TTL ${TTL}`);
        const { keys } = await client.timeToLive(5n, true);
        deepEqual(keys.map(text).sort(), ["a", "b"]);
        deepEqual((await client.timeToLive(6n, true)).keys, []);
        const { leases } = await client.call(Lease.method.leaseLeases, {});
        deepEqual(leases.map((lease) => lease.ID).sort(), [5n, 6n]);
      });
    },
  },
  {
    name: "L6 a lease expires with its keys, in one revision, and not early",
    async body(client) {
      const watch = client.watch();
      await watch.created("\0", { end: "\0" });
      await client.grant(2, 5);
      await client.put("b", "v", { lease: 5n });
      await client.put("a", "v", { lease: 5n });
      await sleep(1500);
      equal((await client.range("a")).count, 1n);
      await client.transcript.silently(() =>
        eventually("the keys are gone", 4000, async () => (await client.range("a")).count === 0n),
      );
      await watch.events(4);
      equal((await client.timeToLive(5n)).TTL, -1n);
      await fails(client.revoke(5n), 5, NOT_FOUND);
      await client.range("\0", { end: "\0" });
    },
  },
  {
    name: "L6 a lease that is kept alive stays",
    async body(client) {
      await client.grant(2, 5);
      await client.put("a", "v", { lease: 5n });
      const stream = client.stream(Lease.method.leaseKeepAlive);
      for (let i = 0; i < 5; i++) {
        await sleep(700);
        stream.send({ ID: 5n });
        equal((await stream.next())!.TTL, 2n);
      }
      equal((await client.range("a")).count, 1n);
      stream.raw.halfClose();
      equal(await stream.next(), null);
    },
  },
  {
    name: "L9 attaching, moving and detaching keys",
    async body(client) {
      await client.grant(100, 5);
      await client.grant(100, 6);
      await client.put("a", "v", { lease: 5n });
      await client.put("b", "v", { lease: 5n });
      await client.put("c", "v", { lease: 5n });
      await client.put("d", "v", { lease: 5n });
      await client.put("a", "v", { lease: 6n });
      await client.put("b", "v");
      await client.del("c");
      await client.txn({ success: [put("e", "v", { lease: 6n }), put("d", "w", { ignoreLease: true })] });
      await client.range("a", { end: "z" });
      await client.revoke(5n);
      await client.range("a", { end: "z" });
      await client.revoke(6n);
      await client.range("a", { end: "z" });
    },
  },
];
