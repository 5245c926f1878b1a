import { AssertionError } from "../base/assert.ts";
import type { ObjectKey } from "../base/ids.ts";
import type { GetOptions, ListPage, ObjectStore, PutOutcome, StoredObject } from "../objects/objects.ts";
import type { OffloadTask, TaskSurroundings } from "../runtime/runtime.ts";
import { BlockCache } from "./block-cache.ts";
import { Merge, type WrittenTable } from "./merge.ts";
import type { Position } from "./position.ts";
import { type RowBatch, RowSource } from "./row-feed.ts";
import { Run } from "./run.ts";
import { RunSource } from "./run-source.ts";
import { Table, type TableContext, type TableRef } from "./table.ts";

/**
 * A merge as a task beside the event loop (runtime.ts). It reads, compares, packs and hashes; bytes come from, and go
 * to, who runs it: the store, its credentials and the memtables stay there.
 */
export interface MergeJob {
  /** The youngest first: tables in order, or a memtable by its number. */
  readonly inputs: readonly MergeInput[];
  readonly bytesHint: number;
  readonly compactRevision: number;
  readonly bottom: boolean;
  readonly tableBytes: number;
  readonly blockBytes: number;
  readonly after: Position | null;
  readonly before: Position | null;
  readonly requestTimeoutMs: number;
}

export type MergeInput =
  | { readonly kind: "tables"; readonly refs: readonly TableRef[] }
  | { readonly kind: "rows"; readonly memtable: number };

/** What it asks for, and what is answered. */
export type MergeRequest =
  | { readonly kind: "read"; readonly key: ObjectKey; readonly start: number; readonly end: number; fresh: boolean }
  | { readonly kind: "rows"; readonly memtable: number; readonly spare: Uint8Array | null }
  | { readonly kind: "write"; readonly table: Omit<WrittenTable, "body"> & { readonly body: Uint8Array } };
export interface ReadReply {
  readonly body: Uint8Array;
  readonly etag: string;
  readonly bytes: number;
}

export interface MergeResult {
  readonly tables: readonly TableRef[];
  readonly droppedHash: string;
  readonly droppedEntries: number;
  readonly entries: number;
  readonly effectSums: readonly (readonly [space: number, sum: number])[];
}

/** Index blocks and filters of the tables being read; their data is not cached. */
const CACHE_BYTES = 8 << 20;
/**
 * A larger table is handed over to whoever stores it, a smaller one copied: after the first that is handed over V8
 * compiles all code for bytes in this thread anew, and slower.
 */
const COPIED_BYTES_MAX = 1 << 20;

export const mergeTask: OffloadTask<MergeJob, MergeResult> = {
  // This file; where modules are bundled together, the one of its name beside them.
  module: new URL(`./merge-task${import.meta.url.slice(import.meta.url.lastIndexOf("."))}`, import.meta.url).href,
  name: "mergeTask",
  run: runMerge,
};

async function runMerge(job: MergeJob, surroundings: TaskSurroundings): Promise<MergeResult> {
  const { runtime, signal } = surroundings;
  const context: TableContext = {
    store: new AskedStore(surroundings),
    runtime,
    cache: new BlockCache({ bytesMax: CACHE_BYTES }),
    requestTimeoutMs: job.requestTimeoutMs,
    closing: signal,
  };
  const sources = job.inputs.map((input) =>
    input.kind === "tables"
      ? new RunSource(new Run(input.refs.map((ref) => new Table(ref, context))))
      : new RowSource((spare) => ask<RowBatch>(surroundings, { kind: "rows", memtable: input.memtable, spare })),
  );
  await Promise.all(sources.map((source) => source.start()));
  const { bytesHint, compactRevision, bottom, tableBytes, blockBytes, after, before } = job;
  const bounds = { tableBytes, blockBytes, after, before };
  const write = (table: WrittenTable): Promise<TableRef> =>
    ask<TableRef>(
      surroundings,
      { kind: "write", table },
      table.body.length > COPIED_BYTES_MAX ? [table.body] : NOTHING,
    );
  const merge = new Merge({ ...bounds, runtime, sources, bytesHint, compactRevision, bottom, write, signal });
  const { tables, dropped, entries, effectSums } = await merge.run();
  const droppedHash = dropped.hash.hex();
  return { tables, droppedHash, droppedEntries: dropped.entries, entries, effectSums: [...effectSums] };
}

const NOTHING: readonly Uint8Array[] = [];

const ask = <Reply>(
  surroundings: TaskSurroundings,
  request: MergeRequest,
  moved: readonly Uint8Array[] = NOTHING,
): Promise<Reply> => surroundings.call(request, moved) as Promise<Reply>;

/** What a table reads from: whoever runs the task. */
class AskedStore implements ObjectStore {
  readonly name = "the store";
  readonly local = false;
  readonly #surroundings: TaskSurroundings;

  constructor(surroundings: TaskSurroundings) {
    this.#surroundings = surroundings;
  }

  async get(key: ObjectKey, { range, fresh = false }: GetOptions): Promise<StoredObject | null> {
    if (range === undefined || !("start" in range)) throw new AssertionError("a table is read by ranges");
    const reply = await ask<ReadReply | null>(this.#surroundings, { kind: "read", key, ...range, fresh });
    if (reply === null) return null;
    const { body, etag, bytes } = reply;
    return { body: Buffer.from(body.buffer, body.byteOffset, body.length), etag, bytes };
  }

  put(): Promise<PutOutcome> {
    throw new AssertionError("a merge writes tables by asking for it");
  }

  list(): Promise<ListPage> {
    throw new AssertionError("a merge lists nothing");
  }

  delete(): Promise<void> {
    throw new AssertionError("a merge deletes nothing");
  }

  async close(): Promise<void> {}
}
