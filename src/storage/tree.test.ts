import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { historyOf } from "../../test/storage/history.ts";
import { inRange, NaiveTree, shown } from "../../test/storage/naive-tree.ts";
import { StorageBench } from "../../test/storage/storage-bench.ts";
import { AT_HEAD, KEYS, type KeyRange, type Space, spaces } from "./storage.ts";
import type { BranchTree } from "./tree.ts";

/**
 * The model of effects (docs/formats/table.md, "effects") on the real code: random histories of transactions, flushes,
 * merges, compactions and reopenings; after each step the tree must read as the naive one does, at the head and at
 * older revisions.
 */
const keyNames = ["a", "ab", "abc", "b", "b\0", "b\xff", "long".repeat(60), "\xff\xff", ""];
const pairsOfNames = keyNames.flatMap((first) =>
  keyNames.filter((last) => last >= first).map((last) => [first, last] as const),
);
const key = fc.constantFrom(...keyNames);
const range = fc.record({ from: key, to: fc.option(key) });
const otherSpace = fc.constantFrom<Space>(spaces.leases, spaces.roles);
const space = fc.oneof({ weight: 4, arbitrary: fc.constant<Space>(KEYS) }, { weight: 1, arbitrary: otherSpace });
const write = fc.record({ space, key, value: fc.option(fc.string({ maxLength: 30 }), { freq: 2 }) });

type Step =
  | { kind: "write"; writes: { space: Space; key: string; value: string | null }[] }
  | { kind: "overwrite"; key: string; times: number }
  | { kind: "compact"; back: number }
  | { kind: "freeze" | "persist" | "reopen" | "defragment" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("write" as const), writes: fc.array(write, { maxLength: 5 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("overwrite" as const), key, times: fc.nat(30) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("compact" as const), back: fc.nat(12) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("freeze" as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("persist" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("reopen" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("defragment" as const) }) },
);

/** Blocks of one entry or of many, one index block or many, one table or many, a cache that holds little or all. */
const shape = fc.record({
  cacheBytes: fc.constantFrom(6000, 1 << 20),
  settings: fc.record({
    tableBytes: fc.constantFrom(150, 700, 64 << 20),
    blockBytes: fc.constantFrom(1, 60, 16 << 10),
    runsMax: fc.constantFrom(1, 2, 4),
    mergeInputsMax: fc.constantFrom(2, 3, 10),
    levelBytes: fc.constantFrom(200, 1500, 256 << 20),
    levelRatio: fc.constantFrom(2, 10),
    mergeBytesMax: fc.constantFrom(400, 4000, 512 << 20),
  }),
});

test("random histories read as in the naive tree, through flush, merge, compaction and reopening", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 40 }),
      fc.array(range, { minLength: 1, maxLength: 3 }),
      shape,
      fc.nat(3),
      async (steps, ranges, options, limit) => {
        const bench = new StorageBench(options);
        const naive = new NaiveTree();
        let compacted = -1;
        for (const one of steps) {
          if (one.kind === "write") applyAll(bench, naive, one.writes);
          else if (one.kind === "overwrite") {
            for (let i = 0; i < one.times; i++) applyAll(bench, naive, [{ space: KEYS, key: one.key, value: `${i}` }]);
          } else if (one.kind === "compact") compacted = Math.max(compacted, bench.revision - one.back);
          else if (one.kind === "freeze") bench.freeze();
          else if (one.kind === "persist") await bench.persist(compacted, { early: steps.length % 2 === 0 });
          else if (one.kind === "defragment") await bench.tree.mergeEverything();
          else await bench.reopen(naive.entries);
          await compare(bench.tree, naive, { ranges, limit, compacted, head: bench.revision });
        }
        await bench.tree.settled();
        await compare(bench.tree, naive, { ranges, limit, compacted, head: bench.revision });
        await bench.close();
      },
    ),
    { numRuns: 80 },
  );
});

function applyAll(
  bench: StorageBench,
  naive: NaiveTree,
  writes: { space: Space; key: string; value: string | null }[],
): void {
  const { revision, record } = bench.begin(writes.some((each) => each.space === KEYS));
  writes.forEach((each, sub) => {
    const main = each.space === KEYS ? revision : record;
    const entry = naive.write(each.space, each.key, main, sub, each.value);
    if (entry !== null) bench.tree.apply(entry);
  });
}

async function compare(
  tree: BranchTree,
  naive: NaiveTree,
  how: { ranges: KeyRange[]; limit: number; compacted: number; head: number },
): Promise<void> {
  const low = Math.max(1, how.compacted);
  for (const at of new Set([AT_HEAD, how.head, low, (low + how.head) >> 1])) {
    for (const one of how.ranges) {
      for (const reverse of [false, true]) {
        const rows = (await tree.scan(KEYS, one, at, { limit: how.limit, reverse })).map(shown);
        deepEqual(rows, naive.scan(KEYS, one, at, how.limit, reverse).map(shown));
      }
      equal(await tree.count(KEYS, one, at), naive.scan(KEYS, one, at, 0, false).length);
    }
    for (const [first, last] of pairsOfNames) {
      if (!tree.isEmptyBetween(first, last)) continue;
      deepEqual(naive.scan(KEYS, { from: first, to: `${last}\0` }, at, 0, false), [], `${first} to ${last}`);
    }
    for (const name of keyNames) equal(shown(await tree.get(KEYS, name, at)), shown(naive.get(KEYS, name, at)));
  }
  for (const other of [spaces.leases, spaces.roles]) {
    const all = naive.scan(other, { from: "", to: null }, AT_HEAD, 0, false);
    deepEqual((await tree.scan(other, { from: "", to: null }, AT_HEAD, { limit: 0 })).map(shown), all.map(shown));
    equal(await tree.count(other, { from: "", to: null }, AT_HEAD), all.length);
  }
  equal(tree.stats().keys, naive.scan(KEYS, { from: "", to: null }, AT_HEAD, 0, false).length);
  const one = how.ranges[0]!;
  for (const limit of [1, 7, 1000]) {
    const pages = await historyOf(tree, { range: one, after: low, upTo: how.head, limit });
    const want = naive.entries.filter((each) => each.space === KEYS && each.main > low && inRange(each.key, one));
    deepEqual(pages.map(shown), want.map(shown));
  }
}
