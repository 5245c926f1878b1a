import { assert } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
import type { BranchId, Epoch, ObjectKey } from "../base/ids.ts";
import { createOnce } from "../objects/conditional.ts";
import { tableKey } from "../objects/keys.ts";
import type { ObjectStore } from "../objects/objects.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ContentHash } from "./content-hash.ts";
import type { Memtable } from "./memtable.ts";
import { type MergeJob, type MergeRequest, type MergeResult, mergeTask, type ReadReply } from "./merge-task.ts";
import { RowFeed } from "./row-feed.ts";
import { AT_HEAD, type Space, spaces } from "./storage.ts";
import type { TableRef } from "./table.ts";
import type { FlushEnds } from "./table-cuts.ts";

export interface WriteContext {
  readonly store: ObjectStore;
  readonly runtime: Runtime;
  readonly branch: BranchId;
  readonly epoch: Epoch;
  readonly compactRevision: number;
  readonly tableBytes: number;
  readonly blockBytes: number;
  readonly requestTimeoutMs: number;
  readonly putTimeoutMs: number;
  readonly signal: AbortSignal;
  /** Told of each table before it is sent. */
  readonly onWriting: (key: ObjectKey, bytes: number) => void;
  /** Told of each table written. */
  readonly onWritten: (bytes: number) => void;
}

/** Below this size a merge is done in the event loop: waking a thread costs more. */
const SHORT_BYTES = 256 << 10;
const SPACES: readonly Space[] = Object.values(spaces);

/** What lies around the memtables that are flushed. */
export interface FlushPlace extends Omit<FlushEnds, "entries"> {
  /** Nothing older lies below them. */
  readonly bottom: boolean;
}

/** Writes frozen memtables, the youngest first, as one run. */
export async function flushMemtables(
  context: WriteContext,
  memtables: readonly Memtable[],
  { bottom, below, above }: FlushPlace,
): Promise<TableRef[]> {
  const isCut = memtables.length === 1 && memtables[0]!.bytes >= context.tableBytes >> 1;
  const feeds = memtables.map((memtable) => {
    const ends = isCut ? { entries: memtable.entries, below, above } : null;
    return new RowFeed(memtable.source(), context.blockBytes, ends);
  });
  const bytesHint = memtables.reduce((sum, memtable) => sum + memtable.bytes, 0);
  const inputs = memtables.map((_, memtable) => ({ kind: "rows" as const, memtable }));
  const merged = await runMerge(context, { inputs, bytesHint, bottom, after: null, before: null }, { feeds });
  const entries = memtables.reduce((sum, memtable) => sum + memtable.entries, 0);
  assert(entries === merged.entries + merged.droppedEntries, "a flush: entries in = entries out + dropped");
  const sums = new Map(merged.effectSums);
  for (const space of SPACES) {
    const before = memtables.reduce((sum, each) => sum + each.count(space, { from: "", to: null }, AT_HEAD), 0);
    assert(before === (sums.get(space) ?? 0), "a flush keeps the sum of effects");
  }
  return [...merged.tables];
}

/** What is merged: of each run, the youngest first, tables in order. */
export interface TableMerge extends Pick<MergeJob, "bottom" | "after" | "before"> {
  readonly inputs: readonly (readonly TableRef[])[];
  /** Waited for before each read: whatever goes first. */
  readonly gate: () => Promise<void>;
}

/**
 * Merges tables into a run of new ones, and checks it against what the tables say of themselves. What is found wrong is
 * `corrupt`, naming the tables; then nothing of it may be used.
 */
export async function mergeTables(context: WriteContext, merge: TableMerge): Promise<TableRef[]> {
  const { inputs, gate, ...job } = merge;
  const refs = inputs.flat();
  const bytesHint = refs.reduce((sum, ref) => sum + ref.bytes, 0);
  const sources = inputs.filter((tables) => tables.length > 0).map((of) => ({ kind: "tables" as const, refs: of }));
  const merged = await runMerge(context, { ...job, inputs: sources, bytesHint }, { gate }).catch((error: unknown) => {
    if (error instanceof DbError && error.message.startsWith("merging: ")) throw mistaken(refs, error.message.slice(9));
    throw error;
  });
  checkMerge(refs, merged);
  return [...merged.tables];
}

function checkMerge(inputs: readonly TableRef[], merged: MergeResult): void {
  const hashOut = hashOf(merged.tables);
  hashOut.addAll(ContentHash.fromHex(merged.droppedHash));
  const hashIn = hashOf(inputs);
  if (!hashIn.equals(hashOut)) {
    const detail = `content hash ${hashOut.hex()} of what came out and was dropped, expected ${hashIn.hex()}`;
    throw mistaken(inputs, detail);
  }
  for (const space of SPACES) {
    const [before, after] = [inputs, merged.tables].map((tables) => effectSum(tables, space));
    if (before !== after)
      throw mistaken(inputs, `the sum of effects of space ${space} is ${after}, expected ${before}`);
  }
}

const NAMES_MAX = 20;

function mistaken(refs: readonly TableRef[], what: string): DbError {
  const names = refs.slice(0, NAMES_MAX).map(({ key }) => key);
  const more = refs.length > NAMES_MAX ? ` and ${refs.length - NAMES_MAX} more` : "";
  return new DbError("corrupt", `merging the tables ${names.join(", ")}${more}: ${what}`);
}

interface Served {
  readonly feeds?: readonly RowFeed[];
  readonly gate?: () => Promise<void>;
}

type Job = Omit<MergeJob, "compactRevision" | "tableBytes" | "blockBytes" | "requestTimeoutMs">;

function runMerge(context: WriteContext, job: Job, served: Served): Promise<MergeResult> {
  const { runtime, signal, compactRevision, tableBytes, blockBytes, requestTimeoutMs } = context;
  const whole: MergeJob = { ...job, compactRevision, tableBytes, blockBytes, requestTimeoutMs };
  return runtime.offload.run(mergeTask, whole, {
    short: job.bytesHint < SHORT_BYTES,
    signal,
    serve: (request) => serve(context, served, request as MergeRequest),
  });
}

async function serve(context: WriteContext, served: Served, request: MergeRequest): Promise<unknown> {
  switch (request.kind) {
    case "read": {
      await served.gate?.();
      return readRange(context, request);
    }
    case "rows":
      return served.feeds![request.memtable]!.next(request.spare);
    case "write":
      return writeTable(context, request.table);
  }
}

async function readRange(
  { store, requestTimeoutMs, signal }: WriteContext,
  { key, start, end, fresh }: MergeRequest & { kind: "read" },
): Promise<ReadReply | null> {
  const range = { start, end };
  const object = await store.get(key, { range, timeoutMs: requestTimeoutMs, signal, once: true, fresh });
  if (object === null) return null;
  // All of the memory is copied to the task: small reads come out of a pool.
  const isAlone = object.body.byteLength === object.body.buffer.byteLength;
  const body = isAlone ? object.body : new Uint8Array(object.body);
  return { body, etag: object.etag, bytes: object.bytes };
}

async function writeTable(
  { store, runtime, branch, epoch, putTimeoutMs, signal, onWriting, onWritten }: WriteContext,
  { body, sha256, facts }: (MergeRequest & { kind: "write" })["table"],
): Promise<TableRef> {
  const key = tableKey({ branch, epoch, sha256 });
  onWriting(key, body.length);
  // Dying here leaves a table that nothing lists: safe.
  const outcome = await createOnce(store, key, body, { runtime, timeoutMs: putTimeoutMs, signal });
  if (outcome.kind === "exists") {
    throw new DbError("corrupt", `object ${key}: exists with other bytes than those that it is named by`);
  }
  onWritten(body.length);
  return { ...facts, key, bytes: body.length };
}

function hashOf(tables: readonly TableRef[]): ContentHash {
  const hash = new ContentHash();
  for (const table of tables) hash.addAll(ContentHash.fromHex(table.contentHash));
  return hash;
}

function effectSum(tables: readonly TableRef[], space: number): number {
  let sum = 0;
  for (const table of tables) for (const each of table.spaces) if (each.space === space) sum += each.effectSum;
  return sum;
}
