import { assert } from "../base/assert.ts";
import type { BranchId, Epoch } from "../base/ids.ts";
import type { ObjectStore } from "../objects/objects.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ContentHash } from "./content-hash.ts";
import type { Memtable } from "./memtable.ts";
import { Merge, type Merged } from "./merge.ts";
import type { Run } from "./run.ts";
import { type EntrySource, RunSource } from "./run-source.ts";
import { AT_HEAD, type Space, spaces } from "./storage.ts";
import type { TableRef } from "./table.ts";

export interface WriteContext {
  readonly store: ObjectStore;
  readonly runtime: Runtime;
  readonly branch: BranchId;
  readonly epoch: Epoch;
  readonly compactRevision: number;
  readonly tableBytes: number;
  readonly blockBytes: number;
  readonly putTimeoutMs: number;
  readonly signal: AbortSignal;
}

const SPACES: readonly Space[] = Object.values(spaces);

/** Writes frozen memtables, the youngest first, as one run. `bottom`: nothing older lies below them. */
export async function flushMemtables(
  context: WriteContext,
  memtables: readonly Memtable[],
  bottom: boolean,
): Promise<TableRef[]> {
  const sources: EntrySource[] = memtables.map((memtable) => memtable.source());
  const bytesHint = memtables.reduce((sum, memtable) => sum + memtable.bytes, 0);
  const merged = await new Merge({ ...context, sources, bytesHint, bottom }).run();
  const entries = memtables.reduce((sum, memtable) => sum + memtable.entries, 0);
  assert(entries === merged.entries + merged.dropped.entries, "a flush: entries in = entries out + dropped");
  for (const space of SPACES) {
    const before = memtables.reduce((sum, each) => sum + each.count(space, { from: "", to: null }, AT_HEAD), 0);
    assert(before === (merged.effectSums.get(space) ?? 0), "a flush keeps the sum of effects");
  }
  return merged.tables;
}

/** Merges adjacent runs, the youngest first, into one, and checks it against what the tables say of themselves. */
export async function mergeRuns(context: WriteContext, runs: readonly Run[], bottom: boolean): Promise<TableRef[]> {
  const sources = runs.map((run) => new RunSource(run));
  await Promise.all(sources.map((source) => source.start()));
  const bytesHint = runs.reduce((sum, run) => sum + run.bytes, 0);
  const merged = await new Merge({ ...context, sources, bytesHint, bottom }).run();
  checkMerge(
    runs.flatMap((run) => run.tables.map((table) => table.ref)),
    merged,
  );
  return merged.tables;
}

function checkMerge(inputs: readonly TableRef[], merged: Merged): void {
  const hashOut = hashOf(merged.tables);
  hashOut.addAll(merged.dropped.hash);
  assert(hashOf(inputs).equals(hashOut), "a merge: entries in = entries out + dropped, by their multiset hash");
  for (const space of SPACES) {
    const [before, after] = [inputs, merged.tables].map((tables) => effectSum(tables, space));
    assert(before === after, "a merge keeps the sum of effects");
  }
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
