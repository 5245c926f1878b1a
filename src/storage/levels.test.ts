import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { NaiveTree, shown } from "../../test/storage/naive-tree.ts";
import { StorageBench } from "../../test/storage/storage-bench.ts";
import { isDbError } from "../base/errors.ts";
import { PointLookup } from "./point-lookup.ts";
import { Run } from "./run.ts";
import { RunCursor } from "./run-cursor.ts";
import { AT_HEAD, KEYS } from "./storage.ts";
import { Table } from "./table.ts";

const all = { from: "", to: null };
const small = { tableBytes: 600, blockBytes: 100, runsMax: 2, levelBytes: 3000, levelRatio: 2, mergeBytesMax: 6000 };

function put(bench: StorageBench, naive: NaiveTree, key: string, value: string | null): void {
  const { revision } = bench.begin(true);
  const entry = naive.write(KEYS, key, revision, 0, value);
  if (entry !== null) bench.tree.apply(entry);
}

async function sameAsNaive(bench: StorageBench, naive: NaiveTree): Promise<void> {
  const rows = await bench.tree.scan(KEYS, all, AT_HEAD, { limit: 0 });
  deepEqual(rows.map(shown), naive.scan(KEYS, all, AT_HEAD, 0, false).map(shown));
  equal(await bench.tree.count(KEYS, all, AT_HEAD), rows.length);
  const backwards = await bench.tree.scan(KEYS, all, AT_HEAD, { limit: 0, reverse: true });
  deepEqual(backwards.map(shown), rows.map(shown).reverse());
  for (const row of rows) {
    const found = await bench.tree.get(KEYS, row.key, AT_HEAD);
    deepEqual(found && shown(found), shown(row), row.key);
  }
}

const tables = (bench: StorageBench): string[] =>
  [...bench.bucket.entries.keys()].filter((key) => key.startsWith("sst/"));

test("a corrupt table is left out of merging and named; the others are merged, and runs stay few", async () => {
  const bench = new StorageBench({ cacheBytes: 1 << 20, settings: { ...small, runsMax: 1000 } });
  const naive = new NaiveTree();
  for (let n = 0; n < 200; n += 4) put(bench, naive, `key${String(n).padStart(3, "0")}`, `value ${n}`);
  await bench.persist(-1);
  const bad = bench.tree.checkpoint!.runs[0]!.at(-1)!;
  const entry = bench.bucket.entries.get(bad.key)!;
  const body = Buffer.from(entry.body);
  body[40] = body[40]! ^ 1;
  bench.bucket.set(bad.key, { ...entry, body });
  await bench.reopen(naive.entries);
  await bench.tree.close();
  const merging = new StorageBench({ cacheBytes: 1 << 20, settings: small });
  for (const [key, value] of bench.bucket.entries) merging.bucket.set(key, value);
  merging.revision = bench.revision;
  merging.record = bench.record;
  await merging.reopen([]);
  let runsMost = 0;
  for (let round = 0; round < 30; round++) {
    for (let n = 0; n < 20; n++) put(merging, naive, `key${String((n * 37 + round) % 200).padStart(3, "0")}`, "again");
    await merging.persist(-1);
    await merging.tree.settled();
    runsMost = Math.max(runsMost, merging.tree.stats().runs);
  }
  ok(runsMost < 14, `${runsMost} runs`);
  ok(merging.tree.stats().merges > 5);
  const trouble = merging.tree.stats().mergeError ?? "";
  ok(trouble.includes(bad.key), trouble);
  await rejects(merging.tree.mergeEverything(), (error) => isDbError(error, "corrupt"));
  // What was written since is read, beside what cannot be.
  equal((await merging.tree.get(KEYS, "key190", AT_HEAD)) !== null, true);
  await merging.close();
});

test("a merge whose output is not its input is not used, and says which tables it was", async () => {
  const bench = new StorageBench({ cacheBytes: 1 << 20, settings: small });
  const naive = new NaiveTree();
  for (let round = 0; round < 2; round++) {
    for (let n = 0; n < 30; n++) put(bench, naive, `key${n}`, `value ${round}`);
    await bench.persist(-1);
  }
  const { offload } = bench.runtime;
  const run = offload.run.bind(offload);
  offload.run = async (task, input, how) => {
    const result = (await run(task, input, how)) as { droppedHash: string };
    return { ...result, droppedHash: `f${result.droppedHash.slice(1)}` } as never;
  };
  const before = bench.tree.stats();
  const failed = bench.tree.mergeEverything();
  await rejects(
    failed,
    (error) => isDbError(error, "corrupt") && /merging the tables sst\/.*content hash/.test(error.message),
  );
  equal(bench.tree.stats().runs, before.runs);
  equal(bench.tree.stats().tables, before.tables);
  await sameAsNaive(bench, naive);
  await bench.close();
});

test("a store that is away fails a merge; it is tried again by itself", async () => {
  const bench = new StorageBench({ cacheBytes: 1 << 20, settings: small });
  const naive = new NaiveTree();
  const storePut = bench.store.put.bind(bench.store);
  for (let round = 0; round < 4; round++) {
    for (let n = 0; n < 30; n++) put(bench, naive, `key${n}`, `value ${round}`);
    const persisted = bench.persist(-1);
    await persisted;
    bench.store.put = async (key, body, options) =>
      key.startsWith("sst/") && round === 2
        ? { kind: "refused", cause: new Error("quota"), retryable: false }
        : storePut(key, body, options);
    if (round === 2) {
      await bench.tree.settled();
      bench.store.put = storePut;
    }
  }
  await bench.tree.settled();
  await bench.tree.mergeEverything();
  equal(bench.tree.stats().mergeError, null);
  equal(bench.tree.stats().runs, 1);
  await sameAsNaive(bench, naive);
  await bench.close();
});

test("merging everything takes away what was compacted, and goes on beside reads and writes", async () => {
  const bench = new StorageBench({ cacheBytes: 1 << 20, settings: { ...small, runsMax: 100 } });
  const naive = new NaiveTree();
  for (let round = 0; round < 20; round++) {
    for (let n = 0; n < 20; n++) put(bench, naive, `key${n}`, round === 19 && n < 10 ? null : `value ${round}`);
    await bench.persist(-1);
  }
  put(bench, naive, "last", "1");
  await bench.persist(bench.revision);
  const before = bench.tree.stats();
  const merged = bench.tree.mergeEverything();
  put(bench, naive, "meanwhile", "2");
  await sameAsNaive(bench, naive);
  await merged;
  const { entries, runs } = bench.tree.stats();
  equal(before.entries > 400, true);
  equal(entries, 12);
  equal(runs, 1);
  await sameAsNaive(bench, naive);
  equal(bench.tree.unlisted, true);
  await bench.persist(bench.revision);
  equal(bench.tree.unlisted, false);
  ok(tables(bench).length > 0);
  await bench.close();
});

test("one key of very many versions, values larger than a table, and huge keys go through every merge", async () => {
  const bench = new StorageBench({ cacheBytes: 1 << 20, settings: { ...small, tableBytes: 4000 } });
  const naive = new NaiveTree();
  const long = "k".repeat(200_000);
  for (let round = 0; round < 6; round++) {
    for (let n = 0; n < 400; n++) put(bench, naive, "hot", `version ${round} ${n}`);
    put(bench, naive, `large ${round}`, "v".repeat(300_000));
    put(bench, naive, `${long}${round % 3}`, `round ${round}`);
    put(bench, naive, "", "empty key");
    await bench.persist(-1);
    await bench.tree.settled();
  }
  await sameAsNaive(bench, naive);
  for (const at of [2, 500, 1300, bench.revision]) {
    equal(shown(await bench.tree.get(KEYS, "hot", at)), shown(naive.get(KEYS, "hot", at)));
  }
  await bench.tree.mergeEverything();
  equal(bench.tree.stats().entries, 6 * 403);
  await bench.persist(bench.revision);
  await bench.tree.mergeEverything();
  await sameAsNaive(bench, naive);
  equal(bench.tree.stats().entries, 11);
  await bench.close();
});

test("keys that come in order are never rewritten by merging", async () => {
  const bench = new StorageBench({ cacheBytes: 1 << 20, settings: { ...small, tableBytes: 2000 } });
  const naive = new NaiveTree();
  for (let round = 0; round < 12; round++) {
    for (let n = 0; n < 100; n++)
      put(bench, naive, `key ${round * 100 + n + 100_000}`, `${n * 7919 + round}`.repeat(4));
    await bench.persist(-1);
    await bench.tree.settled();
  }
  const { mergedBytes, flushedBytes, runs } = bench.tree.stats();
  ok(mergedBytes < flushedBytes / 2, `${mergedBytes} of ${flushedBytes}`);
  ok(runs <= 4, `${runs} runs`);
  await sameAsNaive(bench, naive);
  await bench.close();
});

test("keys that come almost in order are rewritten by merging where memtables meet alone", async () => {
  const settings = { ...small, tableBytes: 16_000, blockBytes: 400, levelBytes: 20_000, mergeBytesMax: 60_000 };
  const bench = new StorageBench({ cacheBytes: 1 << 20, settings });
  const naive = new NaiveTree();
  const value = (n: number): string => `${n * 7919} ${n * 104_729} `.repeat(5);
  const key = (n: number): string => `key ${n + 100_000}`;
  const rounds = 12;
  for (let round = 0; round < rounds; round++) {
    // Some of the last keys of this memtable come when the next one has begun, among the first of that.
    const [from, to] = [round * 100, (round + 1) * 100];
    const late = new Set([to - 9, to - 5, to - 2]);
    for (let n = from; n < to + 6; n++) {
      if (round > 0 && n < from + 6) continue;
      if (!late.has(n)) put(bench, naive, key(n), value(n));
    }
    bench.freeze();
    for (const n of late) put(bench, naive, key(n), value(n));
    await bench.tree.persist(bench.point(-1));
    await bench.tree.settled();
    if (round === 5) await sameAsNaive(bench, naive);
  }
  const { mergedBytes, flushedBytes, runs, tables } = bench.tree.stats();
  ok(mergedBytes < flushedBytes / 2, `${mergedBytes} of ${flushedBytes}`);
  equal(runs, 1);
  ok(tables <= 3 * rounds, `${tables} tables`);
  await sameAsNaive(bench, naive);
  await bench.close();
});

test("a key is found wherever the bounds of tables lie: at its versions, right before them, amid them", async () => {
  // The shortest bound between keys like these is often the next key itself.
  const keyOf = (n: number): string => `k${String(n).padStart(2, "0")}`;
  const bench = new StorageBench({ cacheBytes: 1 << 20, settings: { ...small, runsMax: 1 } });
  const naive = new NaiveTree();
  for (let n = 0; n < 100; n++) put(bench, naive, keyOf(n), "first");
  await bench.persist(-1);
  for (let round = 0; round < 40; round++) {
    // Neighbours: what is merged with them is a part of the run below.
    const from = (round * 37) % 90;
    for (let n = from; n < from + 5; n++) put(bench, naive, keyOf(n), `round ${round}`);
    await bench.persist(round % 4 === 3 ? bench.revision - 40 : -1);
    await bench.tree.settled();
    await sameAsNaive(bench, naive);
  }
  ok(bench.tree.stats().merges > 10);
  await bench.close();
});

test("where the bounds of tables leave a gap before a key's versions, it is found all the same", async () => {
  const bench = new StorageBench({ cacheBytes: 1 << 20, settings: { ...small, runsMax: 1000 } });
  const naive = new NaiveTree();
  for (let n = 0; n < 60; n++) put(bench, naive, `k${String(n).padStart(2, "0")}`, "value");
  await bench.persist(-1);
  const rows = naive.scan(KEYS, all, AT_HEAD, 0, false);
  const { store, runtime, cache } = bench;
  const context = { store, runtime, cache, requestTimeoutMs: 1000 };
  const refs = bench.tree.checkpoint!.runs[0]!;
  const firstKeys = refs.map(({ first }) => rows.find(({ key }) => key >= first.key)!);
  // As merging wrote them once.
  const run = new Run(
    refs.map((ref, t) => {
      const { key, main, sub } = firstKeys[t]!;
      return new Table({ ...ref, first: { space: KEYS, key, main, sub } }, context);
    }),
  );
  for (const { key, main } of rows) {
    equal((await run.get(new PointLookup(KEYS, key, AT_HEAD), true))?.main, main, key);
    equal(await run.get(new PointLookup(KEYS, key, main - 1), true), undefined);
  }
  equal(await run.get(new PointLookup(KEYS, "k00a", AT_HEAD), true), undefined);
  const backwards = new RunCursor(run, KEYS, all, AT_HEAD, true);
  const seen: string[] = [];
  for (await backwards.start(); backwards.version !== null; await backwards.advance()) seen.push(backwards.version.key);
  deepEqual(seen, rows.map(({ key }) => key).reverse());
  await bench.close();
});
