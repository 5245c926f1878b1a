import { equal } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../../test/properties.ts";
import type { Change } from "../changes.ts";
import { LiveBytes, liveChange } from "./live-bytes.ts";

const row = (bytes: number) => ({ bytes: new Uint8Array(bytes), start: 0, end: bytes }) as unknown as Change["kv"];

const steps = fc.array(
  fc.array(fc.record({ key: fc.nat({ max: 5 }), size: fc.option(fc.nat({ max: 100 })) }), {
    minLength: 1,
    maxLength: 6,
  }),
);

test("what transactions add is what the pairs then are, also where one puts and deletes a key", () => {
  fc.assert(
    fc.property(steps, (transactions) => {
      const pairs = new Map<number, number>();
      let sum = 0;
      for (const transaction of transactions) {
        const before = new Map(pairs);
        const changes: Change[] = [];
        for (const { key, size } of transaction) {
          // A deletion tells what was there before the transaction, a put what is there when it comes.
          const prev = (size === null ? before : pairs).get(key);
          if (size === null && !pairs.has(key)) continue;
          const kv = row(size ?? 3);
          changes.push({ key: `${key}`, kv, deleted: size === null, prev: prev === undefined ? null : row(prev) });
          if (size === null) pairs.delete(key);
          else pairs.set(key, size);
        }
        sum += liveChange(changes);
      }
      equal(
        sum,
        [...pairs.values()].reduce((all, size) => all + size, 0),
      );
    }),
  );
});

test("what was found is reckoned by shares, and exact once only live pairs are left in tables", () => {
  const found = { keys: 10, entries: 45, tombstones: 5, valueBytes: 4000, memtableBytes: 0 };
  const live = new LiveBytes(found);
  equal(live.after(0, found), 1000);
  equal(live.shareOf(2000, 500, { ...found, memtableBytes: 500 }), Math.round((2000 * 1500) / 4500));
  equal(live.after(-5000, found), 0, "never below nothing");
  equal(live.after(9000, found), 4000, "never above all");
  const merged = { keys: 12, entries: 12, tombstones: 0, valueBytes: 1700, memtableBytes: 0 };
  equal(live.after(500, merged), 1700);
  equal(live.after(700, { ...merged, keys: 13, memtableBytes: 300 }), 1900);
  equal(live.shareOf(100, 700, { keys: 0, entries: 0, tombstones: 0, valueBytes: 0, memtableBytes: 0 }), 0);
});
