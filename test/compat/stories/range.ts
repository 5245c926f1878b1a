import { deepEqual, equal } from "node:assert/strict";
import {
  RangeRequest_SortOrder as Order,
  RangeRequest_SortTarget as Target,
} from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import { type EtcdClient, text } from "../client.ts";
import { fails, type Story } from "../story.ts";

const keysOf = (response: { kvs: { key: Uint8Array }[] }): string[] => response.kvs.map((kv) => text(kv.key));

/** Keys a to e, in an order of writing that makes every sort target sort differently. */
async function someKeys(client: EtcdClient): Promise<void> {
  await client.put("c", "v2");
  await client.put("a", "v5");
  await client.put("e", "v1");
  await client.put("b", "v4");
  await client.put("d", "v3");
  await client.put("a", "v5");
  await client.put("a", "v5");
  await client.put("e", "v1");
}

export const rangeStories: Story[] = [
  {
    name: "R14 R13 a fresh store is at revision 1, and the first write makes 2",
    async body(client) {
      equal((await client.range("a")).header!.revision, 1n);
      equal((await client.put("a", "1")).header!.revision, 2n);
      equal((await client.range("a")).header!.revision, 2n);
    },
  },
  {
    name: "R1 R2 R3 argument checks of Range",
    async body(client) {
      await fails(client.range(""), 3, "etcdserver: key is not provided");
      await fails(client.range("", { end: "z" }), 3, "etcdserver: key is not provided");
      await fails(client.range("a", { sortOrder: 3 as Order }), 3, "etcdserver: invalid sort option");
      await fails(client.range("a", { sortTarget: 5 as Target }), 3, "etcdserver: invalid sort option");
      await fails(client.range("a", { sortOrder: -1 as Order }), 3, "etcdserver: invalid sort option");
      const future = "etcdserver: mvcc: required revision is a future revision";
      await fails(client.range("a", { revision: 2n }), 11, future);
      await fails(client.range("a", { revision: 2n ** 53n + 1n }), 11, future);
      await fails(client.range("a", { revision: 2n ** 63n - 1n }), 11, future);
      await client.range("a", { revision: -5n });
      await client.range("a", { revision: -(2n ** 63n) });
    },
  },
  {
    name: "R4 R5 R16 reads at old revisions, compacted ones refused",
    async body(client) {
      await client.put("a", "1");
      await client.put("a", "2");
      await client.del("a");
      await client.put("a", "3");
      for (const revision of [1n, 2n, 3n, 4n, 5n]) await client.range("a", { revision });
      await client.range("a", { revision: -1n });
      await client.compact(3);
      const compacted = "etcdserver: mvcc: required revision has been compacted";
      await fails(client.range("a", { revision: 2n }), 11, compacted);
      await client.range("a", { revision: 3n });
      await client.range("a", { revision: 4n });
      await fails(client.range("a", { revision: 6n }), 11, "etcdserver: mvcc: required revision is a future revision");
    },
  },
  {
    name: "R6 the kinds of range ends",
    async body(client) {
      for (const key of ["\0", "a", "a\0", "aa", "b", "\xff", "\xff\xff"]) await client.put(key, "v");
      deepEqual(keysOf(await client.range("a")), ["a"]);
      deepEqual(keysOf(await client.range("a", { end: "b" })), ["a", "a\0", "aa"]);
      deepEqual(keysOf(await client.range("a", { end: "\0" })), ["a", "a\0", "aa", "b", "\xff", "\xff\xff"]);
      equal((await client.range("\0", { end: "\0" })).count, 7n);
      deepEqual(keysOf(await client.range("b", { end: "a" })), []);
      deepEqual(keysOf(await client.range("a", { end: "a" })), []);
      deepEqual(keysOf(await client.range("a", { end: "a\0" })), ["a"]);
      deepEqual(keysOf(await client.range("\xff", { end: "\0" })), ["\xff", "\xff\xff"]);
      await client.range("nothing", { end: "o" });
    },
  },
  {
    name: "R7 limit, more and count",
    async body(client) {
      await someKeys(client);
      for (const limit of [0n, 1n, 4n, 5n, 6n, -1n, 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n)]) {
        const { count, more, kvs } = await client.range("a", { end: "z", limit });
        equal(count, 5n);
        equal(more, limit > 0n && limit < 5n);
        equal(kvs.length, limit > 0n && limit < 5n ? Number(limit) : 5);
      }
      await client.range("a", { limit: 1n });
    },
  },
  {
    name: "R8 Q1 sort order and target, with and without a limit",
    async body(client) {
      await someKeys(client);
      for (const sortOrder of [Order.NONE, Order.ASCEND, Order.DESCEND]) {
        for (const sortTarget of [Target.KEY, Target.CREATE, Target.MOD, Target.VALUE]) {
          await client.range("a", { end: "z", sortOrder, sortTarget });
          await client.range("a", { end: "z", sortOrder, sortTarget, limit: 2n });
        }
      }
      // Versions 3, 1, 1, 1, 2: ties keep no promised order, so only what has none is asked for.
      const highest = await client.range("a", {
        end: "z",
        sortOrder: Order.DESCEND,
        sortTarget: Target.VERSION,
        limit: 2n,
      });
      deepEqual(keysOf(highest), ["a", "e"]);
      const q1 = await client.range("a", { end: "z", sortTarget: Target.MOD, limit: 2n });
      deepEqual(keysOf(q1), ["c", "b"], "only the first three keys are looked at");
    },
  },
  {
    name: "R9 filters by modification and creation revision",
    async body(client) {
      await someKeys(client);
      const all = { end: "z" };
      await client.range("a", { ...all, minModRevision: 5n });
      await client.range("a", { ...all, maxModRevision: 5n });
      await client.range("a", { ...all, minCreateRevision: 4n });
      await client.range("a", { ...all, maxCreateRevision: 4n });
      await client.range("a", { ...all, minModRevision: 5n, maxModRevision: 8n, minCreateRevision: 4n });
      await client.range("a", { ...all, minModRevision: 5n, limit: 1n });
      await client.range("a", { ...all, minModRevision: 100n, limit: 1n });
      await client.range("a", { ...all, maxModRevision: -1n });
      await client.range("a", { ...all, minModRevision: 5n, countOnly: true });
      await client.range("a", { ...all, maxModRevision: 5n, keysOnly: true });
    },
  },
  {
    name: "R10 R11 keys_only and count_only",
    async body(client) {
      await someKeys(client);
      const { ID } = await client.grant(100, 77);
      await client.put("f", "leased", { lease: ID });
      await client.put("g", "");
      await client.range("a", { end: "z", keysOnly: true });
      await client.range("f", { keysOnly: true });
      await client.range("a", { end: "z", keysOnly: true, sortTarget: Target.VALUE, sortOrder: Order.ASCEND });
      await client.range("a", { end: "z", countOnly: true });
      await client.range("a", { end: "z", countOnly: true, limit: 2n });
      await client.range("a", { end: "z", countOnly: true, keysOnly: true, revision: 3n });
      await client.range("nothing", { countOnly: true });
    },
  },
  {
    name: "R12 serializable reads",
    async body(client) {
      await client.put("a", "1");
      await client.range("a", { serializable: true });
      await client.range("a", { serializable: true, revision: 1n });
      await fails(
        client.range("a", { serializable: true, revision: 9n }),
        11,
        "etcdserver: mvcc: required revision is a future revision",
      );
    },
  },
  {
    name: "R15 create revision, modification revision and version of a key",
    async body(client) {
      await client.put("a", "1");
      await client.put("a", "2");
      await client.put("b", "x");
      await client.range("a");
      await client.del("a");
      await client.put("a", "3");
      const { kvs } = await client.range("a");
      equal(kvs[0]!.version, 1n);
      equal(kvs[0]!.createRevision, kvs[0]!.modRevision);
    },
  },
];
