import { assert } from "../../base/assert.ts";
import { DbError } from "../../base/errors.ts";
import { TimeSlice } from "../../base/event-loop.ts";
import type { ObjectKey } from "../../base/ids.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { Run } from "../../storage/run.ts";
import { AT_HEAD, KEYS, type KeyRange, type Version } from "../../storage/storage.ts";
import type { TableRef } from "../../storage/table.ts";
import type { BranchTree } from "../../storage/tree.ts";
import { KeyValueReader } from "../mvcc/key-value.ts";
import { NewestInLayers } from "./newest-in-layers.ts";

/** One of the two states that are compared: nothing may be applied to it meanwhile. */
export interface DiffSide {
  readonly tree: BranchTree;
  readonly revision: number;
  /** As of the state; what was compacted may be gone without a trace. */
  readonly compactRevision: number;
}

export interface DiffOptions {
  readonly runtime: Pick<Runtime, "clock" | "timers">;
  readonly range: KeyRange;
  /** Up to which both have one history (fork-point.ts); null: not known. */
  readonly forkRevision: number | null;
  /** Whether two live versions differ; by default in value or lease. */
  readonly differ?: (a: Version, b: Version) => boolean;
  readonly signal?: AbortSignal | undefined;
}

/** Null: the key is not there. */
export interface Difference {
  readonly key: string;
  readonly before: Version | null;
  readonly after: Version | null;
}

/** Candidates that are looked up together, and what their versions may take. */
const BATCH = 256;
const BATCH_BYTES = 4 << 20;
const PAGE_ROWS = 1024;
const PAGE_BYTES = 1 << 20;
/** So many keys are rather read one behind the other than one looked up. */
const SCAN_KEYS = 16;
const LOOKUPS_AT_ONCE = 16;

/**
 * What differs between two states of one history, key by key, in order, in batches; reads little more than that.
 *
 *   tables that only one side names, memtables ─► keys with a version behind the fork ─► newest on both sides ─►
 *   differ?
 *
 * 1. A table that both name holds the same on both sides, so it is read only for keys that are candidates by another
 *    layer. Neither are blocks read without a version behind the fork: what is older is the same on both sides.
 * 2. That a key was deleted is not to be seen once its tombstone was compacted. Where that may be so, all of the tables
 *    that only one side names are read; where the fork is not known, too.
 * 3. A version is a side's newest if it is newer than all that shared tables hold; else it is looked up.
 */
export class StateDiff {
  readonly #before: DiffSide;
  readonly #after: DiffSide;
  readonly #options: DiffOptions;
  readonly #sharedMax: number;
  readonly #streams: readonly [NewestInLayers, NewestInLayers];
  readonly #slice: TimeSlice;

  constructor(before: DiffSide, after: DiffSide, options: DiffOptions) {
    this.#before = before;
    this.#after = after;
    this.#options = options;
    const shared = sharedTables(before.tree, after.tree);
    this.#sharedMax = [...shared.values()].reduce((newest, ref) => Math.max(newest, newestOf(ref)), 0);
    const fork = options.forkRevision;
    const recent = fork !== null && this.#sharedMax <= fork && [before, after].every((side) => !hasLost(side, fork));
    const stream = ({ tree, revision }: DiffSide): NewestInLayers => {
      const { memtables, runs } = tree.layers;
      const window = { range: options.range, after: recent ? fork : 0, upTo: revision };
      return new NewestInLayers(memtables, ownRuns(runs, shared), window);
    };
    this.#streams = [stream(before), stream(after)];
    this.#slice = new TimeSlice(options.runtime);
  }

  /** Blocks read in order to find candidates, so far. */
  get blocksRead(): number {
    return this.#streams[0].blocks + this.#streams[1].blocks;
  }

  /** May be empty. Once only. */
  async *batches(): AsyncGenerator<readonly Difference[], void, undefined> {
    let batch: Candidate[] = [];
    let bytes = 0;
    for await (const candidate of this.#candidates()) {
      batch.push(candidate);
      bytes += bytesOf(candidate.before) + bytesOf(candidate.after);
      if (batch.length < BATCH && bytes < BATCH_BYTES) continue;
      yield await this.#resolve(batch);
      batch = [];
      bytes = 0;
    }
    if (batch.length > 0) yield await this.#resolve(batch);
  }

  async *#candidates(): AsyncGenerator<Candidate, void, undefined> {
    const [left, right] = this.#streams;
    await Promise.all([left.start(), right.start()]);
    let a = await left.next();
    let b = await right.next();
    while (a !== null || b !== null) {
      const key = b === null || (a !== null && a.key <= b.key) ? a!.key : b.key;
      const candidate: Candidate = { key, before: a?.key === key ? a : null, after: b?.key === key ? b : null };
      if (!this.#isSame(candidate)) yield candidate;
      if (candidate.before !== null) a = await left.next();
      if (candidate.after !== null) b = await right.next();
      await this.#pauseIfDue();
    }
  }

  /** One version, or equal ones: whatever the shared layers hold, both sides show the same. */
  #isSame({ before: a, after: b }: Candidate): boolean {
    if (a === null || b === null || a.main !== b.main || a.sub !== b.sub) return false;
    const { forkRevision } = this.#options;
    return (forkRevision !== null && a.main <= forkRevision) || sameBytes(a, b);
  }

  async #resolve(batch: readonly Candidate[]): Promise<Difference[]> {
    const [before, after] = await Promise.all([
      this.#newest(
        this.#before.tree,
        batch.map(({ key, before: found }) => ({ key, found })),
      ),
      this.#newest(
        this.#after.tree,
        batch.map(({ key, after: found }) => ({ key, found })),
      ),
    ]);
    const differences: Difference[] = [];
    const differ = this.#options.differ ?? valuesOrLeasesDiffer;
    for (const [i, { key }] of batch.entries()) {
      const [a, b] = [before[i]!, after[i]!];
      if (a === null && b === null) continue;
      if (a !== null && b !== null && !differ(a, b)) continue;
      differences.push({ key, before: a, after: b });
    }
    return differences;
  }

  /** The live version of each key, in their order. */
  async #newest(
    tree: BranchTree,
    keys: readonly { key: string; found: Version | null }[],
  ): Promise<(Version | null)[]> {
    const results = keys.map(({ found }) =>
      found !== null && found.main > this.#sharedMax ? alive(found) : undefined,
    );
    const missing = keys.flatMap(({ key }, i) => (results[i] === undefined ? [{ key, i }] : []));
    const filled = results as (Version | null)[];
    if (missing.length === 0) return filled;
    const range = { from: missing[0]!.key, to: `${missing.at(-1)!.key}\0` };
    if ((await tree.count(KEYS, range, AT_HEAD)) <= missing.length * SCAN_KEYS) {
      const places = new Map(missing.map(({ key, i }) => [key, i]));
      for (const { i } of missing) filled[i] = null;
      const walk = tree.walk(range, AT_HEAD, false);
      for (let page = await walk.next(PAGE_ROWS, PAGE_BYTES); page.length > 0; ) {
        for (const version of page) {
          const i = places.get(version.key);
          if (i !== undefined) filled[i] = version;
        }
        page = await walk.next(PAGE_ROWS, PAGE_BYTES);
      }
      return filled;
    }
    for (let at = 0; at < missing.length; at += LOOKUPS_AT_ONCE) {
      const some = missing.slice(at, at + LOOKUPS_AT_ONCE);
      await Promise.all(
        some.map(async ({ key, i }) => {
          filled[i] = await tree.get(KEYS, key, AT_HEAD);
        }),
      );
    }
    return filled;
  }

  /** Lets others run when this has run for long enough. */
  async #pauseIfDue(): Promise<void> {
    if (this.#options.signal?.aborted) throw new DbError("canceled");
    if (this.#slice.isOver) await this.#slice.end();
  }
}

/** The newest version that a layer of the side's own has; null: none has any. */
interface Candidate {
  readonly key: string;
  readonly before: Version | null;
  readonly after: Version | null;
}

const bytesOf = (version: Version | null): number => (version === null ? 0 : version.end - version.start);
const alive = (version: Version): Version | null => (version.tombstone ? null : version);

function sharedTables(a: BranchTree, b: BranchTree): Map<ObjectKey, TableRef> {
  const refs = (tree: BranchTree) => tree.layers.runs.flatMap((run) => run.tables.map(({ ref }) => ref));
  const ofA = new Set(refs(a).map(({ key }) => key));
  return new Map(refs(b).flatMap((ref) => (ofA.has(ref.key) ? [[ref.key, ref] as const] : [])));
}

function ownRuns(runs: readonly Run[], shared: ReadonlyMap<ObjectKey, TableRef>): Run[] {
  const own = runs.map(({ tables }) => tables.filter(({ ref }) => !shared.has(ref.key)));
  return own.filter((tables) => tables.length > 0).map((tables) => new Run(tables));
}

const newestOf = (ref: TableRef): number => ref.spaces.find(({ space }) => space === KEYS)?.mainMax ?? 0;

/** Whether versions behind the fork, or tombstones, may have been dropped from what the side has. */
export function hasLost({ tree, compactRevision }: DiffSide, fork: number): boolean {
  assert(fork >= 0, "a fork lies at a revision");
  if (compactRevision <= fork) return false;
  // What a checkpoint has compacted, some merge may have dropped, with all trace of the table that it was in.
  const dropped = tree.checkpoint?.point.compactRevision ?? -1;
  return dropped > fork || tree.layers.runs.some((run) => run.tables.some(({ ref }) => ref.compactRevision > fork));
}

const sameBytes = (a: Version, b: Version): boolean =>
  a.tombstone === b.tombstone &&
  Buffer.compare(a.bytes.subarray(a.start, a.end), b.bytes.subarray(b.start, b.end)) === 0;

const first = new KeyValueReader();
const second = new KeyValueReader();

export const valuesDiffer = (a: Version, b: Version): boolean =>
  Buffer.compare(first.read(a).value, second.read(b).value) !== 0;

const valuesOrLeasesDiffer = (a: Version, b: Version): boolean => valuesDiffer(a, b) || first.lease !== second.lease;
