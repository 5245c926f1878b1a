import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { historyOf } from "../../test/storage/history.ts";
import { NaiveTree, shown } from "../../test/storage/naive-tree.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import { createMemoryTree } from "./memory-tree.ts";
import { Memtable } from "./memtable.ts";
import { AT_HEAD, type Entry, KEYS, type Space, spaces, type Tree } from "./storage.ts";

const key = fc.string({ unit: fc.constantFrom("a", "b", "\0", "\xff"), maxLength: 3 });
const range = fc.record({ from: key, to: fc.option(key) });
const space = fc.constantFrom<Space>(spaces.keys, spaces.keys, spaces.keys, spaces.leases, spaces.alarms);
const write = fc.record({
  space,
  key,
  value: fc.option(fc.string({ unit: fc.constantFrom("x", "\xf0"), maxLength: 90 })),
});
/** A transaction: all its writes have one main and count up in sub. */
const history = fc.array(fc.array(write, { minLength: 1, maxLength: 4 }), { maxLength: 40 });

function filled(writes: { space: Space; key: string; value: string | null }[][]): [NaiveTree, Tree, number] {
  const naive = new NaiveTree();
  const tree = createMemoryTree();
  let main = 1;
  for (const transaction of writes) {
    main++;
    transaction.forEach((one, sub) => {
      const entry = naive.write(one.space, one.key, main, sub, one.value);
      if (entry !== null) tree.apply(entry);
    });
  }
  return [naive, tree, main];
}

function now<T>(value: MaybePromise<T>): T {
  equal(value instanceof Promise, false, "memory answers at once");
  return value as T;
}

test("reads of random histories are those of the naive tree, at the head and at every older revision", () => {
  fc.assert(
    fc.property(history, fc.array(range, { minLength: 1, maxLength: 4 }), fc.nat(5), (writes, ranges, limit) => {
      const [naive, tree, head] = filled(writes);
      for (const one of ranges) {
        for (const at of [AT_HEAD, head, head >> 1, 1]) {
          for (const reverse of [false, true]) {
            const rows = now(tree.scan(KEYS, one, at, { limit, reverse })).map(shown);
            deepEqual(rows, naive.scan(KEYS, one, at, limit, reverse).map(shown));
          }
          equal(now(tree.count(KEYS, one, at)), naive.scan(KEYS, one, at, 0, false).length);
          equal(shown(now(tree.get(KEYS, one.from, at))), shown(naive.get(KEYS, one.from, at)));
        }
        for (const other of [spaces.leases, spaces.alarms]) {
          deepEqual(
            now(tree.scan(other, one, AT_HEAD, { limit: 0 })).map(shown),
            naive.scan(other, one, AT_HEAD, 0, false).map(shown),
          );
          equal(now(tree.count(other, one, AT_HEAD)), naive.scan(other, one, AT_HEAD, 0, false).length);
        }
      }
    }),
  );
});

const name = (n: number): string => `k${String(n).padStart(4, "0")}`;
/** Keys in order, as loaders send them, or a few anywhere. */
const record = fc.oneof(
  fc.record({ from: fc.nat(600), step: fc.integer({ min: 1, max: 3 }), count: fc.integer({ min: 1, max: 150 }) }),
  fc.array(fc.record({ n: fc.nat(700), value: fc.option(fc.string({ maxLength: 90 })) }), {
    minLength: 1,
    maxLength: 12,
  }),
);

test("entries of a record applied together are as applied one by one, and a gap is told from what is there", () => {
  fc.assert(
    fc.property(
      fc.array(record, { minLength: 1, maxLength: 12 }),
      fc.array(fc.tuple(fc.nat(700), fc.nat(200)), { minLength: 5, maxLength: 10 }),
      (records, spans) => {
        const naive = new NaiveTree();
        const [together, single] = [createMemoryTree(), createMemoryTree()];
        records.forEach((one, n) => {
          const writes = Array.isArray(one)
            ? one.map((write) => ({ key: name(write.n), value: write.value }))
            : Array.from({ length: one.count }, (_, i) => ({ key: name(one.from + i * one.step), value: `${i}` }));
          const entries = writes.flatMap(({ key, value }, sub) => naive.write(KEYS, key, n + 2, sub, value) ?? []);
          for (const entry of entries) single.applyKept(entry);
          together.applyAllKept(entries);
        });
        const head = records.length + 1;
        for (const at of [AT_HEAD, head, head >> 1]) {
          for (const reverse of [false, true]) {
            const scanned = (tree: Tree) => now(tree.scan(KEYS, { from: "", to: null }, at, { limit: 0, reverse }));
            deepEqual(scanned(together).map(shown), scanned(single).map(shown));
          }
          for (const [from, length] of spans) {
            const range = { from: name(from), to: name(from + length) };
            equal(now(together.count(KEYS, range, at)), naive.scan(KEYS, range, at, 0, false).length);
            equal(shown(now(together.get(KEYS, range.from, at))), shown(naive.get(KEYS, range.from, at)));
          }
        }
        for (const [from, length] of spans) {
          const [first, last] = [name(from), name(from + length)];
          equal(together.isEmptyBetween(first, last), !naive.entries.some(({ key }) => key >= first && key <= last));
        }
      },
    ),
  );
});

test("history comes in order, never splits a transaction, and says how far it is complete", async () => {
  await fc.assert(
    fc.asyncProperty(history, range, fc.integer({ min: 1, max: 6 }), async (writes, one, limit) => {
      const [naive, tree, head] = filled(writes);
      const after = head >> 2;
      const upTo = head - 1;
      const all = await historyOf(tree, { range: one, after, upTo, limit });
      deepEqual(all.map(shown), naive.history(one, after, Math.max(upTo, after)).map(shown));
    }),
  );
});

function put(key: string, main: number, sub = 0, overwrites = false): Entry {
  const bytes = Buffer.from(key);
  const effect = overwrites ? 0 : 1;
  return { space: KEYS, key, main, sub, tombstone: false, effect, bytes, start: 0, end: bytes.length };
}

test("many keys, in order or shuffled, stay in order and are counted exactly at any revision", () => {
  const total = 20_000;
  const name = (i: number): string => `key-${String(i).padStart(6, "0")}`;
  for (const stride of [1, 7919]) {
    const memtable = new Memtable();
    for (let i = 0; i < total; i++) memtable.apply(put(name((i * stride) % total), i + 2));
    const cursor = memtable.cursor(KEYS, { from: "", to: null }, AT_HEAD, false);
    for (let i = 0; i < total; i++) {
      equal(cursor.version?.key, name(i));
      cursor.advance();
    }
    equal(cursor.version, null);
    const back = memtable.cursor(KEYS, { from: "", to: null }, AT_HEAD, true);
    for (let i = total - 1; i >= 0; i--) {
      equal(back.version?.key, name(i));
      back.advance();
    }
    equal(back.version, null);
    for (const [from, to] of [
      [0, total],
      [1, total - 1],
      [63, 64],
      [4321, 17654],
      [5, 5],
    ] as const) {
      for (const at of [AT_HEAD, 2, 777, total]) {
        let want = 0;
        for (let i = 0; i < total; i++) {
          const place = (i * stride) % total;
          if (place >= from && place < to && i + 2 <= at) want++;
        }
        equal(memtable.count(KEYS, { from: name(from), to: name(to) }, at), want);
      }
    }
  }
});

test("a cursor goes on rightly while keys are inserted around it", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(5000), { minLength: 1, maxLength: 400 }), fc.boolean(), (numbers, reverse) => {
      const memtable = new Memtable();
      const name = (n: number): string => String(n).padStart(4, "0");
      let main = 1;
      const half = numbers.length >> 1;
      for (const n of numbers.slice(0, half)) memtable.apply(put(name(n), ++main));
      const cursor = memtable.cursor(KEYS, { from: "", to: null }, main, reverse);
      const seen: string[] = [];
      let next = half;
      while (cursor.version !== null) {
        seen.push(cursor.version.key);
        for (let i = 0; i < 3 && next < numbers.length; i++) memtable.apply(put(name(numbers[next++]!), main + next));
        cursor.advance();
      }
      const want = numbers.slice(0, half).map(name).sort();
      deepEqual(seen, reverse ? want.reverse() : want);
    }),
  );
});

test("a key with very many versions is found at each of them", () => {
  const memtable = new Memtable();
  const total = 50_000;
  for (let main = 2; main < total; main++) memtable.apply(put("hot", main, 0, main > 2));
  for (const at of [2, 3, 777, total - 1]) equal(memtable.find(KEYS, "hot", at)?.main, at);
  equal(memtable.find(KEYS, "hot", 1), null);
  equal(memtable.count(KEYS, { from: "", to: null }, AT_HEAD), 1);
});

test("a frozen memtable is written out in table order, and takes no more entries", () => {
  const memtable = new Memtable();
  memtable.apply(put("b", 2));
  memtable.apply(put("a", 3));
  memtable.apply(put("b", 3, 1, true));
  memtable.apply({ ...put("z", 9), space: spaces.roles });
  memtable.freeze();
  throws(() => memtable.apply(put("c", 4)), /frozen/);
  const source = memtable.source();
  const order: string[] = [];
  for (; source.version !== null; source.advance()) order.push(`${source.space} ${shown(source.version)}`);
  deepEqual(order, ["0 a@3.0=a", "0 b@3.1=b", "0 b@2.0=b", "5 z@9.0=z"]);
});

test("an entry out of order is a bug, said so", () => {
  const memtable = new Memtable();
  memtable.apply(put("a", 5));
  throws(() => memtable.apply(put("b", 5)), /order/);
  throws(() => memtable.apply(put("b", 4)), /order/);
  throws(() => memtable.apply({ ...put("b", 6), tombstone: true }), /tombstone/);
});

test("bytes grow with values, and a value is copied", () => {
  const memtable = new Memtable();
  const value = Buffer.alloc(3 << 20, 7);
  memtable.apply({ ...put("big", 2), bytes: value, start: 1, end: value.length });
  value.fill(0);
  const found = memtable.find(KEYS, "big", 2)!;
  equal(found.bytes[found.start], 7);
  equal(found.end - found.start, value.length - 1);
  equal(memtable.bytes > 3 << 20 && memtable.bytes < (3 << 20) + 1000, true);
});
