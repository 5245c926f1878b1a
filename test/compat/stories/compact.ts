import { deepEqual, equal } from "node:assert/strict";
import { text } from "../client.ts";
import { fails, type Story } from "../story.ts";

const COMPACTED = "etcdserver: mvcc: required revision has been compacted";
const FUTURE = "etcdserver: mvcc: required revision is a future revision";

export const compactStories: Story[] = [
  {
    name: "C1 which revisions may be compacted",
    async body(client) {
      await fails(client.compact(-1), 11, COMPACTED);
      await fails(client.compact(2), 11, FUTURE);
      await client.compact(0);
      await fails(client.compact(0), 11, COMPACTED);
      await client.put("a", "1");
      await client.put("a", "2");
      await client.compact(2);
      await fails(client.compact(2), 11, COMPACTED);
      await fails(client.compact(1), 11, COMPACTED);
      await fails(client.compact(4), 11, FUTURE);
      await client.compact(3);
      await fails(client.compact(3), 11, COMPACTED);
    },
  },
  {
    name: "C2 C4 what a compaction keeps, and that it makes no revision",
    async body(client) {
      await client.put("a", "1");
      await client.put("b", "1");
      await client.put("a", "2");
      await client.del("b");
      await client.put("c", "1");
      await client.put("a", "3");
      equal((await client.compact(5, true)).header!.revision, 7n);
      await fails(client.range("a", { revision: 4n }), 11, COMPACTED);
      const at5 = await client.range("a", { end: "z", revision: 5n });
      deepEqual(
        at5.kvs.map((kv) => text(kv.key) + text(kv.value)),
        ["a2"],
      );
      await client.range("a", { end: "z", revision: 6n });
      await client.range("a", { end: "z" });
      equal((await client.compact(7, true)).header!.revision, 7n);
      await client.range("a", { end: "z" });
      await client.put("d", "after");
      await client.range("a", { end: "z" });
      await fails(client.range("a", { revision: 6n }), 11, COMPACTED);
    },
  },
  {
    name: "C3 physical compaction of many versions",
    async body(client) {
      await client.transcript.silently(async () => {
        for (let i = 0; i < 300; i++) await client.put(`k${i % 10}`, String(i));
      });
      await client.compact(250, true);
      await client.range("k", { end: "l", revision: 250n });
      await client.range("k", { end: "l" });
    },
  },
  {
    name: "Q3 negative revisions inside and outside of a transaction, before and after a compaction",
    async body(client) {
      const { bytes } = await import("../client.ts");
      const get = (revision: bigint) => ({
        success: [{ request: { case: "requestRange" as const, value: { key: bytes("a"), revision } } }],
      });
      await client.put("a", "1");
      await client.range("a", { revision: -1n });
      await client.txn(get(-1n));
      await client.txn(get(-2n)).catch(() => {});
      await client.compact(1);
      await client.range("a", { revision: -1n });
      await client.txn(get(-1n)).catch(() => {});
      await client.txn(get(0n));
      await client.txn(get(1n));
    },
  },
];
