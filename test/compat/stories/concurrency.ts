import { deepEqual, equal, ok } from "node:assert/strict";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Election, LeaderRequestSchema, LeaderResponseSchema } from "../../../src/gen/v3electionpb/v3election_pb.ts";
import { Lock } from "../../../src/gen/v3lockpb/v3lock_pb.ts";
import { bytes, type EtcdClient, text } from "../client.ts";
import { eventually, fails, type Story, sleep } from "../story.ts";

const lock = (client: EtcdClient, name: string, lease: bigint) =>
  client.call(Lock.method.lock, { name: bytes(name), lease });
const unlock = (client: EtcdClient, key: Uint8Array) => client.call(Lock.method.unlock, { key });
const campaign = (client: EtcdClient, name: string, lease: bigint, value: string) =>
  client.call(Election.method.campaign, { name: bytes(name), lease, value: bytes(value) });
const leaderOf = (client: EtcdClient, name: string) => client.call(Election.method.leader, { name: bytes(name) });

/** Asked without a record of when it is answered; `isDone` tells. */
function later<T>(call: Promise<T>): { done: Promise<T>; isDone: () => boolean } {
  let done = false;
  const settled = call.finally(() => {
    done = true;
  });
  settled.catch(() => {});
  return { done: settled, isDone: () => done };
}

/** So many keys are there: the waiters have queued. */
const keysAre = (client: EtcdClient, prefix: string, count: number) =>
  eventually(`${count} keys under ${prefix}`, 5000, async () => {
    const { count: found } = await client.range(prefix, { end: `${prefix.slice(0, -1)}0`, countOnly: true });
    return found === BigInt(count);
  });

const NO_LEASE = [2, "etcdserver: requested lease not found"] as const;

export const concurrencyStories: Story[] = [
  {
    name: "K1, K2 Lock: its key, the same lease twice, an unknown lease; Unlock",
    async body(client) {
      await client.grant(1000, 123);
      await client.grant(1000, -123);
      const first = await lock(client, "a", 123n);
      equal(text(first.key), "a/7b");
      deepEqual((await lock(client, "a", 123n)).key, first.key);
      equal(text((await lock(client, "b", -123n)).key), "b/-7b");
      await fails(lock(client, "c", 99n), ...NO_LEASE);
      await client.range("a/", { end: "b0" });
      await unlock(client, first.key);
      await unlock(client, first.key);
      await fails(unlock(client, bytes("")), 2, "etcdserver: key is not provided");
      await client.range("a/", { end: "b0" });
    },
  },
  {
    name: "K1 without a lease the server grants one of 60 s",
    async body(client) {
      await client.transcript.silently(async () => {
        const { key } = await lock(client, "a", 0n);
        const { kvs } = await client.range("a/", { end: "a0" });
        equal(kvs.length, 1);
        equal(text(key), `a/${kvs[0]!.lease.toString(16)}`);
        equal((await client.timeToLive(kvs[0]!.lease)).grantedTTL, 60n);
      });
    },
  },
  {
    name: "K1 waiters are let in one by one, in the order in which they came",
    async body(client) {
      await client.transcript.silently(async () => {
        for (const id of [1, 2, 3]) await client.grant(1000, id);
        const held = await lock(client, "a", 1n);
        const second = later(lock(client, "a", 2n));
        await keysAre(client, "a/", 2);
        const third = later(lock(client, "a", 3n));
        await keysAre(client, "a/", 3);
        await sleep(50);
        ok(!second.isDone() && !third.isDone());
        const unlocked = await unlock(client, held.key);
        equal(text((await second.done).key), "a/2");
        equal((await second.done).header!.revision, unlocked.header!.revision);
        ok(!third.isDone());
        await client.revoke(2n);
        equal(text((await third.done).key), "a/3");
      });
    },
  },
  {
    name: "K1 a key that only begins like the lock's name is no holder",
    async body(client) {
      await client.grant(1000, 1);
      await client.put("a", "1");
      await client.put("a0", "1");
      await client.put("ab/1", "1");
      await lock(client, "a", 1n);
    },
  },
  {
    name: "K1 a waiter whose lease ends is told so",
    async body(client) {
      await client.transcript.silently(async () => {
        for (const id of [1, 2]) await client.grant(1000, id);
        const held = await lock(client, "a", 1n);
        const second = later(lock(client, "a", 2n));
        await keysAre(client, "a/", 2);
        await client.revoke(2n);
        // An etcd tells it only once the lock is free.
        await unlock(client, held.key);
        await fails(second.done, 2, "mutex: session is expired");
      });
    },
  },
  {
    name: "K3 Campaign, Leader, Proclaim, Resign",
    async body(client) {
      await client.grant(1000, 123);
      await fails(leaderOf(client, "e"), 2, "election: no leader");
      const won = await campaign(client, "e", 123n, "one");
      const leader = won.leader!;
      deepEqual([text(leader.name), text(leader.key), leader.lease], ["e", "e/7b", 123n]);
      await leaderOf(client, "e");
      await campaign(client, "e", 123n, "one");
      await campaign(client, "e", 123n, "two");
      await leaderOf(client, "e");
      const proclaim = (changed: Partial<typeof leader>, value: string) =>
        client.call(Election.method.proclaim, { leader: { ...leader, ...changed }, value: bytes(value) });
      await proclaim({}, "three");
      await leaderOf(client, "e");
      await fails(proclaim({ rev: 1n }, "four"), 2, "election: not leader");
      await fails(proclaim({ lease: 7777n }, "four"), ...NO_LEASE);
      await fails(proclaim({ key: bytes("") }, "four"), 2, "etcdserver: key is not provided");
      const missing = '"leader" field must be provided';
      await fails(client.call(Election.method.proclaim, { value: bytes("four") }), 2, missing);
      await fails(client.call(Election.method.resign, {}), 2, missing);
      const resign = (changed: Partial<typeof leader>) =>
        client.call(Election.method.resign, { leader: { ...leader, ...changed } });
      await resign({ rev: 1n });
      await leaderOf(client, "e");
      await resign({});
      await resign({});
      await fails(leaderOf(client, "e"), 2, "election: no leader");
      await fails(proclaim({}, "five"), 2, "election: not leader");
      await fails(campaign(client, "e", 5555n, "six"), ...NO_LEASE);
    },
  },
  {
    name: "K3 a candidate wins when the one before resigns; its header is that of its own put",
    async body(client) {
      await client.transcript.silently(async () => {
        for (const id of [1, 2]) await client.grant(1000, id);
        const first = await campaign(client, "e", 1n, "one");
        const second = later(campaign(client, "e", 2n, "two"));
        await keysAre(client, "e/", 2);
        await sleep(50);
        ok(!second.isDone());
        await client.call(Election.method.resign, { leader: first.leader! });
        const won = await second.done;
        equal(won.header!.revision, first.header!.revision + 1n);
        equal(won.leader!.rev, won.header!.revision);
        equal(text((await leaderOf(client, "e")).kv!.value), "two");
      });
    },
  },
  {
    name: "K3 Observe: the leader, what it proclaims, the next leader, over a gap without one",
    async body(client) {
      await client.transcript.silently(async () => {
        for (const id of [1, 2]) await client.grant(1000, id);
        const stream = client.endpoint.stream("/v3electionpb.Election/Observe");
        stream.send(toBinary(LeaderRequestSchema, create(LeaderRequestSchema, { name: bytes("e") })));
        stream.halfClose();
        const seen = async () => {
          const message = await stream.next();
          ok(message !== null, "it goes on");
          const { header, kv } = fromBinary(LeaderResponseSchema, message);
          return `${text(kv!.key)}=${text(kv!.value)} ${header!.revision}`;
        };
        await sleep(50);
        await client.put("e/", "not one by its create revision alone", {});
        await client.del("e/");
        const first = await campaign(client, "e", 1n, "one");
        const told = [await seen()];
        // The key that was put by hand may have been seen on the way.
        if (told[0]!.startsWith("e/=")) told[0] = await seen();
        deepEqual(told, ["e/1=one 4"]);
        await client.call(Election.method.proclaim, { leader: first.leader!, value: bytes("uno") });
        equal(await seen(), "e/1=uno 5");
        await client.call(Election.method.resign, { leader: first.leader! });
        await sleep(50);
        await campaign(client, "e", 2n, "two");
        equal(await seen(), "e/2=two 7");
        stream.cancel();
      });
    },
  },
];
