import { deepEqual, equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { historyOf } from "../../test/storage/history.ts";
import { MemoryScratch } from "../../test/storage/memory-scratch.ts";
import { inRange, NaiveTree, shown } from "../../test/storage/naive-tree.ts";
import { StorageBench } from "../../test/storage/storage-bench.ts";
import { isDbError } from "../base/errors.ts";
import { type Compacted, KEYS, type KeyRange } from "./storage.ts";

const everything = { from: "", to: null };
const keys = ["a", "ab", "b", "b\xff", "long".repeat(40), ""];

interface Write {
  key: string;
  value: string | null;
}

/** A bench whose tables, blocks, cache and sorting windows are as small as can be. */
function smallBench(scratch: MemoryScratch | null): StorageBench {
  const settings = { tableBytes: 600, blockBytes: 60, runsMax: 2, mergeInputsMax: 3, sortWindowBytes: 300 };
  return new StorageBench({ cacheBytes: 2000, settings, ...(scratch === null ? {} : { scratch }) });
}

function writeOne(bench: StorageBench, naive: NaiveTree, writes: readonly Write[]): void {
  const { revision } = bench.begin(true);
  const done = new Set<string>();
  for (const { key, value } of writes) {
    if (done.has(key)) continue;
    const entry = naive.write(KEYS, key, revision, done.size, value);
    done.add(key);
    if (entry !== null) bench.tree.apply(entry);
  }
}

/** What is asked for, by its definition. */
function expected(
  naive: NaiveTree,
  asked: { range: KeyRange; after: number; upTo: number; compacted: Compacted | null },
) {
  const { range, after, upTo, compacted } = asked;
  return naive.entries.filter((e) => {
    if (e.main <= after || e.main > upTo || !inRange(e.key, range)) return false;
    if (compacted === null || e.main > compacted.through) return true;
    const newest = naive.entries.findLast((other) => other.key === e.key && other.main <= compacted.at);
    return newest === e && (!e.tombstone || e.main === compacted.through);
  });
}

const write = fc.record({ key: fc.constantFrom(...keys), value: fc.option(fc.string({ maxLength: 40 }), { freq: 3 }) });
const step = fc.oneof(
  { weight: 5, arbitrary: fc.array(write, { minLength: 1, maxLength: 4 }) },
  { weight: 1, arbitrary: fc.constantFrom("freeze" as const, "persist" as const) },
);

test("versions in order are those of the definition: on no disk and a full one, while more is written", async () => {
  const request = fc.record({
    from: fc.constantFrom("", "ab", "b"),
    to: fc.constantFrom(null, "b\xff", "c"),
    part: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 4, maxLength: 4 }),
    filtered: fc.boolean(),
    limit: fc.constantFrom(1, 3, 1000),
    disk: fc.constantFrom("none" as const, "good" as const, "full" as const),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), request, async (steps, asks) => {
      const scratch = new MemoryScratch();
      if (asks.disk === "full") scratch.failAt = 3;
      const bench = smallBench(asks.disk === "none" ? null : scratch);
      const naive = new NaiveTree();
      for (const one of steps) {
        if (one === "freeze") bench.freeze();
        else if (one === "persist") await bench.persist(-1);
        else writeOne(bench, naive, one);
      }
      const [after, through, at, upTo] = asks.part
        .map((x) => Math.min(Math.floor(x * (bench.revision + 1)), bench.revision))
        .sort((a, b) => a - b);
      const compacted = asks.filtered ? { through: through!, at: at! } : null;
      const asked = {
        range: { from: asks.from, to: asks.to },
        after: after!,
        upTo: upTo!,
        compacted,
        limit: asks.limit,
      };
      const want = expected(naive, asked).map(shown);
      const read = historyOf(bench.tree, asked);
      // What comes after the question changes nothing: more versions, a compaction, merges.
      for (const key of keys) writeOne(bench, naive, [{ key, value: "later" }]);
      await bench.persist(bench.revision);
      for (const key of keys) writeOne(bench, naive, [{ key, value: null }]);
      await bench.persist(bench.revision);
      deepEqual((await read).map(shown), want);
      await bench.tree.settled();
      await bench.close();
      equal(scratch.files, 0);
    }),
    { numRuns: 300 },
  );
});

test("many windows are merged in levels, and each block is read once however many pages there are", async () => {
  const scratch = new MemoryScratch();
  const bench = smallBench(scratch);
  const naive = new NaiveTree();
  // Keys in an order of their own, so that each block has revisions from all over.
  for (let n = 0; n < 3000; n++) writeOne(bench, naive, [{ key: `k${(n * 7919) % 1000}`, value: `value ${n}` }]);
  await bench.persist(-1);
  await bench.tree.settled();
  const before = bench.tree.stats().historyBlocks;
  const all = await historyOf(bench.tree, { range: everything, after: 0, upTo: bench.revision, limit: 10 });
  deepEqual(
    all.map(shown),
    expected(naive, { range: everything, after: 0, upTo: bench.revision, compacted: null }).map(shown),
  );
  const blocks = bench.tree.stats().historyBlocks - before;
  equal(scratch.created > 64 * 2, true, `${scratch.created} files for two levels`);
  equal(scratch.files, 0);
  // 60 bytes a block.
  equal(blocks > 500 && blocks < 3000, true, `${blocks} blocks for 300 pages`);

  const some = await historyOf(bench.tree, {
    range: { from: "k5", to: "k51" },
    after: 0,
    upTo: bench.revision,
    limit: 10,
  });
  // k5, k50 and k500 to k509, three versions each.
  equal(some.length, 36);
  const few = bench.tree.stats().historyBlocks - before - blocks;
  equal(few < 40, true, `${few} blocks for twelve keys`);
  await bench.close();
});

test("a reader that is given up, by a signal or by closing it, leaves no file", async () => {
  const scratch = new MemoryScratch();
  const bench = smallBench(scratch);
  const naive = new NaiveTree();
  for (let n = 0; n < 300; n++) writeOne(bench, naive, [{ key: `k${(n * 7919) % 100}`, value: `value ${n}` }]);
  await bench.persist(-1);
  const controller = new AbortController();
  const asked = { range: everything, after: 0, upTo: bench.revision, compacted: null };
  const aborted = bench.tree.versions({ ...asked, signal: controller.signal });
  equal((await aborted.next(5, 1 << 20)).versions.length, 5);
  equal(scratch.files > 0, true);
  controller.abort();
  await rejects(aborted.next(5, 1 << 20), (error: unknown) => isDbError(error, "canceled"));
  equal(scratch.files, 0);
  const closed = bench.tree.versions(asked);
  const page = closed.next(5, 1 << 20);
  await closed.close();
  await rejects(page, (error: unknown) => isDbError(error, "canceled"));
  equal(scratch.files, 0);
  await bench.close();
});
