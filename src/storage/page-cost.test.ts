import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { inRange, NaiveTree as Naive, type NaiveTree, shown } from "../../test/storage/naive-tree.ts";
import { StorageBench } from "../../test/storage/storage-bench.ts";
import { AT_HEAD, KEYS, type KeyRange } from "./storage.ts";

/**
 * A page of a large range, with the count of all of it, costs what the page costs: measured in parts of tables that are
 * looked at, for time tells little. Parts are small here, so that a few thousand keys stand for millions.
 */
const settings = { tableBytes: 60_000, blockBytes: 400, runsMax: 3, mergeInputsMax: 4 };
const name = (i: number): string => `key-${String(i).padStart(5, "0")}`;
const KEYS_WRITTEN = 2000;

/** Parts of tables that `work` looks at. */
async function partsOf(bench: StorageBench, work: () => unknown): Promise<number> {
  const before = bench.cache.hits + bench.cache.misses;
  await work();
  return bench.cache.hits + bench.cache.misses - before;
}

function write(bench: StorageBench, naive: NaiveTree, key: string, value: string | null): void {
  const { revision } = bench.begin(true);
  const entry = naive.write(KEYS, key, revision, 0, value);
  if (entry !== null) bench.tree.apply(entry);
}

/** Keys in an order of their own, over several tables' worth of runs; some written again, some gone, some compacted. */
async function grown(bench: StorageBench, naive: NaiveTree, seed: number): Promise<void> {
  for (let n = 0; n < KEYS_WRITTEN; n++) {
    write(bench, naive, name((n * 7919 + seed) % KEYS_WRITTEN), `value ${n}`);
    if (n % 4 === 0) write(bench, naive, name((n * 31 + seed) % KEYS_WRITTEN), n % 12 === 0 ? null : "again");
    if (n % 500 === 499) await bench.persist(n % 1000 === 999 ? bench.revision - 300 : -1);
  }
  await bench.tree.settled();
}

const place = fc.nat(KEYS_WRITTEN);
const range = fc
  .tuple(place, place)
  .map(([a, b]): KeyRange => ({ from: name(Math.min(a, b)), to: a % 5 === 0 ? null : name(Math.max(a, b)) }));

test("a page and the count of all of it cost a few parts a run, at the head and not far below it", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(1000),
      fc.nat(8),
      fc.array(range, { minLength: 8, maxLength: 8 }),
      async (seed, changes, ranges) => {
        const bench = new StorageBench({ cacheBytes: 64 << 20, settings });
        const naive = new Naive();
        await grown(bench, naive, seed);
        const past = bench.revision;
        for (let n = 0; n < changes; n++)
          write(bench, naive, name((n * 997) % KEYS_WRITTEN), n % 2 === 0 ? null : "new");
        if (changes > 4) await bench.persist(-1);
        await bench.tree.settled();
        const { runs } = bench.tree.stats();
        for (const one of ranges) {
          for (const at of [AT_HEAD, past]) {
            for (const limit of [1, 10]) {
              // What the first read opens is there for the second.
              const read = async () => [
                await bench.tree.count(KEYS, one, at),
                (await bench.tree.walk(one, at, false).next(limit, 1 << 20)).map(shown),
              ];
              await read();
              let answer: unknown[] = [];
              const parts = await partsOf(bench, async () => {
                answer = await read();
              });
              const rows = naive.scan(KEYS, one, at, 0, false);
              deepEqual(answer, [rows.length, rows.slice(0, limit).map(shown)]);
              // A run: its table, an index block and a block at either edge of the count and at the page's start,
              // and the page's own blocks; a birth or death after `past`: the index block and block that it is in.
              const most = runs * 9 + 2 * limit + (at === past ? 2 * changes : 0);
              ok(
                parts <= most,
                `${parts} parts for a page of ${limit} of ${rows.length} in ${runs} runs, at most ${most}`,
              );
            }
          }
        }
        await bench.close();
      },
    ),
    { numRuns: 3 },
  );
});

test("counting all of a range far larger takes no part more", async () => {
  const parts: number[] = [];
  for (const times of [1, 8]) {
    const bench = new StorageBench({ cacheBytes: 64 << 20, settings });
    const naive = new Naive();
    for (let n = 0; n < 1000 * times; n++) write(bench, naive, name(n), `value ${n}`);
    await bench.persist(-1);
    await bench.tree.settled();
    const one = { from: name(3), to: name(1000 * times - 3) };
    await bench.tree.count(KEYS, one, AT_HEAD);
    parts.push(
      await partsOf(bench, async () =>
        equal(await bench.tree.count(KEYS, one, AT_HEAD), naive.entries.filter(({ key }) => inRange(key, one)).length),
      ),
    );
    await bench.close();
  }
  ok(parts[1]! <= parts[0]! + 4, `${parts[0]} parts for a thousand keys, ${parts[1]} for eight thousand`);
});
