import { ok } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { NaiveTree } from "../../test/storage/naive-tree.ts";
import { StorageBench } from "../../test/storage/storage-bench.ts";
import { KEYS, type Space, spaces } from "./storage.ts";

const small = { tableBytes: 600, blockBytes: 100, runsMax: 2, levelBytes: 3000, levelRatio: 2, mergeBytesMax: 6000 };

interface Round {
  readonly from: number;
  readonly count: number;
  readonly deletes: number;
  readonly compacts: boolean;
}

const rounds = fc.array(
  fc.record({
    from: fc.nat({ max: 400 }),
    count: fc.integer({ min: 1, max: 60 }),
    deletes: fc.nat({ max: 60 }),
    compacts: fc.boolean(),
  }),
  { minLength: 1, maxLength: 12 },
);

const SPACES: readonly Space[] = [KEYS, spaces.leases];
const keyOf = (n: number): string => `key${String(n).padStart(4, "0")}`;

function write(bench: StorageBench, naive: NaiveTree, space: Space, key: string, value: string | null): void {
  const { revision, record } = bench.begin(space === KEYS);
  const entry = naive.write(space, key, space === KEYS ? revision : record, 0, value);
  if (entry !== null) bench.tree.apply(entry);
}

/** Writes a history, deletes all that is left, compacts, and merges. Resolves with how many entries are left. */
async function leftAfter(history: readonly Round[], settles: boolean): Promise<number> {
  const bench = new StorageBench({ cacheBytes: 1 << 20, settings: small });
  const naive = new NaiveTree();
  for (const { from, count, deletes, compacts } of history) {
    for (let n = from; n < from + count; n++) {
      for (const space of SPACES) write(bench, naive, space, keyOf(n), `value ${n}`);
    }
    for (let n = from; n < from + deletes; n++) {
      for (const space of SPACES) write(bench, naive, space, keyOf(n), null);
    }
    await bench.persist(compacts ? bench.revision : -1);
    if (settles) await bench.tree.settled();
  }
  for (let n = 0; n < 500; n++) for (const space of SPACES) write(bench, naive, space, keyOf(n), null);
  await bench.persist(bench.revision);
  // Who watches from the compaction on is told of the deletion there: it goes with the next one.
  write(bench, naive, KEYS, "zz", "one");
  await bench.persist(bench.revision);
  await bench.tree.mergeEverything();
  await bench.persist(bench.revision);
  await bench.tree.mergeEverything();
  const { entries } = bench.tree.stats();
  await bench.close();
  return entries;
}

test("of what is deleted and compacted nothing is left once all is merged, whatever became of it before", async () => {
  await fc.assert(
    fc.asyncProperty(rounds, fc.boolean(), async (history, settles) => {
      const left = await leftAfter(history, settles);
      ok(left <= 2, `${left} entries are left`);
    }),
    { numRuns: 25 },
  );
});
