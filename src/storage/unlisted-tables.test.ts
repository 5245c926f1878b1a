import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { NaiveTree } from "../../test/storage/naive-tree.ts";
import { StorageBench } from "../../test/storage/storage-bench.ts";
import { DbError } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import type { ObjectStore } from "../objects/objects.ts";
import { KEYS } from "./storage.ts";
import { UnlistedTables } from "./unlisted-tables.ts";

const small = { tableBytes: 2000, blockBytes: 500, runsMax: 2, levelBytes: 3000, levelRatio: 2, mergeBytesMax: 9000 };
const MINUTES = 60_000;

/** A clock beside the runtime's, which can be put forward. */
function clockOf(bench: StorageBench): { aheadMs: number } {
  const { clock } = bench.runtime;
  const real = clock.monotonicMs.bind(clock);
  const shift = { aheadMs: 0 };
  Object.assign(clock, { monotonicMs: () => real() + shift.aheadMs });
  return shift;
}

const tablesOf = (bench: StorageBench): string[] =>
  [...bench.bucket.entries.keys()].filter((key) => key.startsWith("sst/")).sort();

/** Tables that some checkpoint in the bucket has named, or the tree has now. */
function known(bench: StorageBench, named: ReadonlySet<string>): Set<string> {
  const { runs } = bench.tree.layers;
  return new Set([...named, ...runs.flatMap(({ tables }) => tables.map(({ ref }) => ref.key))]);
}

/** Writes a run without a checkpoint, and merges all. */
async function round(bench: StorageBench, naive: NaiveTree, n: number): Promise<void> {
  for (let key = 0; key < 40; key++) {
    const { revision } = bench.begin(true);
    bench.tree.apply(naive.write(KEYS, `key${(key * 7 + n) % 60}`, revision, 0, `value ${n}`.repeat(10))!);
  }
  bench.freeze();
  bench.tree.writeFrozen(-1);
  while (bench.tree.stats().frozenMemtables > 0) await new Promise((resolve) => setImmediate(resolve));
  await bench.tree.mergeEverything();
}

test("what merging has made and replaced before a checkpoint named it is deleted by its leader", async () => {
  const bench = new StorageBench({ cacheBytes: 1 << 20, settings: small });
  const shift = clockOf(bench);
  const naive = new NaiveTree();
  const named = new Set<string>();
  let left = 0;
  for (let n = 0; n < 12; n++) {
    await round(bench, naive, n);
    if (n === 5) for (const run of (await bench.persist(-1)).runs) for (const { key } of run) named.add(key);
    const before = tablesOf(bench).length;
    ok(before > known(bench, named).size || n === 0, "some are left over");
    // Who reads what was replaced has ten minutes for it.
    shift.aheadMs += 4 * MINUTES;
    left = Math.max(left, before - known(bench, named).size);
  }
  shift.aheadMs += 20 * MINUTES;
  await round(bench, naive, 12);
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
  const unknown = tablesOf(bench).filter((key) => !known(bench, named).has(key));
  equal(unknown.length, bench.tree.stats().litter, "only what was replaced just now is there");
  for (const key of known(bench, named)) ok(bench.bucket.entries.has(key), `${key} is there`);
  const rows = await bench.tree.scan(KEYS, { from: "", to: null }, bench.revision, { limit: 0 });
  equal(rows.length, 60);
  ok(left < 200, `${left} tables were left over`);
  await bench.close();
});

test("what a merge that failed has written is deleted", async () => {
  const bench = new StorageBench({ cacheBytes: 1 << 20, settings: { ...small, runsMax: 1000 } });
  const shift = clockOf(bench);
  const naive = new NaiveTree();
  for (let n = 0; n < 3; n++) {
    for (let key = 0; key < 60; key++) {
      const { revision } = bench.begin(true);
      bench.tree.apply(naive.write(KEYS, `key${key}`, revision, 0, `value ${n}`.repeat(10))!);
    }
    await bench.persist(-1);
  }
  const before = tablesOf(bench);
  const put = bench.store.put.bind(bench.store);
  let puts = 0;
  bench.store.put = async (key, body, options) =>
    ++puts > 1 ? { kind: "refused", cause: new Error("quota"), retryable: false } : put(key, body, options);
  await rejects(bench.tree.mergeEverything(), { kind: "storeRefused" });
  ok(tablesOf(bench).length > before.length, "some of its tables were written");
  bench.store.put = put;
  shift.aheadMs += 20 * MINUTES;
  await bench.tree.mergeEverything();
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  deepEqual(tablesOf(bench), [...known(bench, new Set(before))].sort());
  await bench.close();
});

test("what is listed is nobody's here; a delete that fails is tried again; too much goes before its time", async () => {
  let nowMs = 0;
  const deleted: string[] = [];
  let failing = false;
  const store = {
    delete: async (key: ObjectKey) => {
      if (failing) throw new DbError("storeUnavailable");
      deleted.push(key);
    },
  } as unknown as ObjectStore;
  const runtime = { clock: { monotonicMs: () => nowMs, wallMs: () => nowMs } };
  const closing = new AbortController().signal;
  const tables = new UnlistedTables({ store, runtime, requestTimeoutMs: 1000, closing });
  const sweep = async (): Promise<void> => {
    tables.sweep();
    await tables.close();
  };
  const [a, b, c, big] = ["a", "b", "c", "big"] as unknown as [ObjectKey, ObjectKey, ObjectKey, ObjectKey];
  for (const key of [a, b, c]) tables.written(key, 10);
  tables.listed([a]);
  tables.dropped([a, b]);
  await sweep();
  nowMs = 11 * MINUTES;
  tables.dropped([c]);
  failing = true;
  await sweep();
  deepEqual([deleted, tables.waiting], [[], 2]);
  failing = false;
  await sweep();
  deepEqual([deleted, tables.waiting], [["b"], 1]);
  tables.written(big, 1 << 30);
  tables.dropped([big]);
  await sweep();
  deepEqual([deleted, tables.waiting], [["b", "c", "big"], 0]);
});
