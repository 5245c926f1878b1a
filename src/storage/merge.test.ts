import { deepEqual, equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { shown } from "../../test/storage/naive-tree.ts";
import { BRANCH } from "../../test/storage/storage-bench.ts";
import { buildTable, type Row, runtime, versionOf } from "../../test/storage/table-samples.ts";
import { tableRefOf, verifyTable } from "../../test/storage/table-verify.ts";
import { DbError, isDbError } from "../base/errors.ts";
import type { Epoch } from "../base/ids.ts";
import { createOnce } from "../objects/conditional.ts";
import { tableKey } from "../objects/keys.ts";
import { MemoryBucket, MemoryStore } from "../objects/memory.ts";
import { BlockCache } from "./block-cache.ts";
import type { MergeOptions, WrittenTable } from "./merge.ts";
import { Merge, type Merged } from "./merge.ts";
import { Run } from "./run.ts";
import { type EntrySource, RunSource } from "./run-source.ts";
import { KEYS, type Space, spaces, type Version } from "./storage.ts";
import type { TableRef } from "./table.ts";
import { Table, type TableContext } from "./table.ts";
import { mergeTables, type WriteContext } from "./tree-write.ts";

const bucket = new MemoryBucket();
const store = new MemoryStore(runtime, bucket);
const context: TableContext = { store, runtime, cache: new BlockCache({ bytesMax: 1 << 20 }), requestTimeoutMs: 1000 };

function writing(compactRevision: number, signal = new AbortController().signal): WriteContext {
  const epoch = 4 as Epoch;
  return {
    store,
    runtime,
    branch: BRANCH,
    epoch,
    compactRevision,
    tableBytes: 1 << 20,
    blockBytes: 64,
    requestTimeoutMs: 1000,
    putTimeoutMs: 1000,
    signal,
    onWriting: () => {},
    onWritten: () => {},
  };
}

async function write({ body, sha256, facts }: WrittenTable): Promise<TableRef> {
  const key = tableKey({ branch: BRANCH, epoch: 4 as Epoch, sha256 });
  await createOnce(store, key, body, { runtime, timeoutMs: 1000 });
  return { ...facts, key, bytes: body.length };
}

const merging = (compactRevision: number, signal?: AbortSignal): Omit<MergeOptions, "sources" | "bottom"> => ({
  ...writing(compactRevision, signal),
  bytesHint: 100,
  after: null,
  before: null,
  write,
});

const mergeRun = (compactRevision: number, tables: readonly TableRef[]): Promise<TableRef[]> =>
  mergeTables(writing(compactRevision), {
    inputs: [tables],
    bottom: true,
    after: null,
    before: null,
    gate: async () => {},
  });

class RowSource implements EntrySource {
  version: Version | null = null;
  space: Space = KEYS;
  readonly block = null;
  readonly #rows: readonly Row[];
  #i = -1;

  constructor(rows: readonly Row[]) {
    this.#rows = rows;
    this.advance();
  }

  advance(): void {
    const row = this.#rows[++this.#i];
    this.version = row === undefined ? null : versionOf(row);
    if (row !== undefined) this.space = row.space;
  }

  pass(): void {}
}

async function merge(sources: Row[][], how: { compactRevision: number; bottom: boolean }): Promise<Merged> {
  const made = sources.map((rows) => new RowSource(rows));
  return new Merge({ ...merging(how.compactRevision), sources: made, bottom: how.bottom }).run();
}

async function rowsOf(merged: Merged): Promise<string[]> {
  const rows: string[] = [];
  if (merged.tables.length === 0) return rows;
  const source = new RunSource(new Run(merged.tables.map((ref) => new Table(ref, context))));
  for (await source.start(); source.version !== null; await source.advance()) {
    rows.push(`${shown(source.version)} ${source.version.effect}`);
  }
  return rows;
}

const k = (main: number, value: string | null, effect: -1 | 0 | 1, key = "k"): Row => ({
  space: KEYS,
  key,
  main,
  value,
  effect,
});

test("the newest version not above the compact revision takes over the effects of those it hides", async () => {
  const young = [k(9, "e", 0), k(7, "d", 1)];
  const old = [k(5, null, -1), k(3, "b", 0), k(2, "a", 1)];
  const merged = await merge([young, old], { compactRevision: 5, bottom: false });
  deepEqual(await rowsOf(merged), ["k@9.0=e 0", "k@7.0=d 1", "k@5.0 deleted 0"]);
  equal(merged.dropped.entries, 2);
});

test("a tombstone goes at the bottom only: above it an older version would come to life", async () => {
  const rows = [k(5, null, -1), k(3, "b", 1)];
  deepEqual(await rowsOf(await merge([rows], { compactRevision: 6, bottom: true })), []);
  deepEqual(await rowsOf(await merge([rows], { compactRevision: 6, bottom: false })), ["k@5.0 deleted 0"]);
  deepEqual(await rowsOf(await merge([rows], { compactRevision: 4, bottom: true })), ["k@5.0 deleted -1", "k@3.0=b 1"]);
  // Its birth lies below: dropped here it would leave a key counted that is dead.
  await rejects(merge([[k(5, null, -1)]], { compactRevision: 6, bottom: true }), /no effect left/);
});

test("a tombstone at the compact revision stays: who watches from there on is told of it, as by etcd", async () => {
  const rows = [k(5, null, -1), k(3, "b", 1)];
  const first = await merge([rows], { compactRevision: 5, bottom: true });
  deepEqual(await rowsOf(first), ["k@5.0 deleted 0"]);
  deepEqual(await mergeRun(6, first.tables), [], "and goes with the next compaction");
});

test("versions of one main are told apart by sub; beside the keys the newest alone stays", async () => {
  const rows: Row[] = [
    { space: KEYS, key: "a", main: 4, sub: 1, value: null, effect: -1 },
    { space: KEYS, key: "a", main: 4, sub: 0, value: "x", effect: 1 },
    { space: spaces.leases, key: "l", main: 9, value: "new", effect: 0 },
    { space: spaces.leases, key: "l", main: 8, value: "old", effect: 1 },
  ];
  const merged = await merge([rows], { compactRevision: -1, bottom: true });
  deepEqual(await rowsOf(merged), ["a@4.1 deleted -1", "a@4.0=x 1", "l@9.0=new 1"]);
});

test("the same version in two sources cannot be: a table is corrupt", async () => {
  const merged = merge([[k(5, "x", 1)], [k(5, "x", 1)]], { compactRevision: -1, bottom: true });
  await rejects(merged, (error) => isDbError(error, "corrupt") && error.message.includes("two sources"));
});

test("a run is split into tables at their size, also within a key, and each is whole in itself", async () => {
  const rows: Row[] = [];
  for (let main = 400; main > 0; main--) rows.push(k(main, `value ${main * 7919}`, main === 1 ? 1 : 0, "hot"));
  const options = { ...merging(-1), tableBytes: 300, sources: [new RowSource(rows)], bottom: true };
  const merged = await new Merge(options).run();
  equal(merged.tables.length > 5, true);
  equal((await rowsOf(merged)).length, 400);
  for (const ref of merged.tables) {
    const body = bucket.entries.get(ref.key)!.body;
    deepEqual(await verifyTable(ref.key, body, runtime), ref);
  }
  const run = new Run(merged.tables.map((ref) => new Table(ref, context)));
  equal(await run.count(KEYS, { from: "", to: null }, 200), 1);
});

test("a table that lies about its entries is found by the merge that reads it", async () => {
  const { key, body } = await buildTable([k(5, "x", 1)]);
  await store.put(key, body, { condition: { kind: "none" }, timeoutMs: 1000 });
  const ref = tableRefOf(key, body);
  const lying = { ...ref, spaces: [{ ...ref.spaces[0]!, effectSum: 0 }] };
  await rejects(mergeRun(-1, [lying]), (error) => isDbError(error, "corrupt") && error.message.includes(key));
  await rejects(mergeRun(-1, [lying]), /sum of effects/);
  equal((await mergeRun(-1, [ref])).length, 1);
});

test("a merge that is given up stops at its next pause, and writes nothing more", async () => {
  const rows = Array.from({ length: 20_000 }, (_, i) => k(2, "v", 1, String(i).padStart(6, "0")));
  const closing = new AbortController();
  const options = { ...merging(-1, closing.signal), sources: [new RowSource(rows)], bottom: true };
  const running = new Merge(options).run();
  closing.abort();
  await rejects(running, (error) => error instanceof DbError && error.kind === "canceled");
});
