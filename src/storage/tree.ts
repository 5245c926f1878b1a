import { assert } from "../base/assert.ts";
import { isDbError } from "../base/errors.ts";
import type { BranchId } from "../base/ids.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import { Turns } from "../base/turns.ts";
import type { ObjectStore } from "../objects/objects.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { BlockCache } from "./block-cache.ts";
import type { Checkpoint, CheckpointPosition } from "./checkpoint.ts";
import type { CheckpointWriter } from "./checkpoint-store.ts";
import { checkKept, LastingVersions, type PresentLayers, resumes } from "./lasting-reads.ts";
import { type LevelContext, Levels, type MergeProgress } from "./levels.ts";
import { scanMemtable } from "./memory-tree.ts";
import { Memtable } from "./memtable.ts";
import type { MemtableCursor } from "./memtable-cursor.ts";
import type { MergePolicy } from "./merge-policy.ts";
import { PointLookup } from "./point-lookup.ts";
import { chain, type Run } from "./run.ts";
import { RunCursor } from "./run-cursor.ts";
import type { Scratch } from "./scratch.ts";
import {
  AT_HEAD,
  type CheckpointPoint,
  type Entry,
  KEYS,
  type KeyRange,
  type OrderedVersions,
  type ScanOptions,
  type Space,
  type Tree,
  type Version,
  type VersionsRequest,
  type Walk,
} from "./storage.ts";
import type { TableContext } from "./table.ts";
import type { LayerCursor } from "./tree-scan.ts";
import { beginScan, TreeWalk } from "./tree-walk.ts";
import { flushMemtables } from "./tree-write.ts";
import { VersionReader } from "./version-reader.ts";

/** How runs are merged stands with the policy (merge-policy.ts). */
export interface TreeSettings extends MergePolicy {
  /**
   * A block is closed when it has this many bytes, before packing: smaller ones pack worse, larger ones make a point
   * read dearer.
   */
  readonly blockBytes: number;
  /** At so many runs `persist` waits for a merge: writing may not outrun it. */
  readonly runsHardMax: number;
  /** Versions are sorted by revision so many bytes at a time. */
  readonly sortWindowBytes: number;
  /** Bound of reading a part of a table. */
  readonly requestTimeoutMs: number;
  /** Bound of writing a table, with its retries. */
  readonly putTimeoutMs: number;
}

export const defaultTreeSettings: TreeSettings = {
  tableBytes: 16 << 20,
  blockBytes: 16 << 10,
  runsMax: 6,
  runsHardMax: 32,
  mergeInputsMax: 10,
  levelBytes: 256 << 20,
  levelRatio: 10,
  mergeBytesMax: 512 << 20,
  sortWindowBytes: 8 << 20,
  requestTimeoutMs: 30_000,
  putTimeoutMs: 300_000,
};

/** Sorts of versions at once (each takes a window of memory), and those that wait for their turn. */
const SORTS_AT_ONCE = 2;
const SORTS_WAITING_MAX = 1000;

export interface TreeOptions {
  readonly store: ObjectStore;
  readonly runtime: Runtime;
  readonly branch: BranchId;
  /** Shared by all branches. */
  readonly cache: BlockCache;
  /** Where to sort what memory has no room for; without one that takes longer. */
  readonly scratch?: Scratch | null;
  /** The state to start from; null: empty. */
  readonly checkpoint: Checkpoint | null;
  readonly settings: TreeSettings;
  /** As in TableContext. */
  readonly whyMissing?: TableContext["whyMissing"];
}

/** Opens a branch's state as of a checkpoint. Nothing is read: tables are opened when they are first needed. */
export const openTree = (options: TreeOptions): BranchTree => new BranchTree(options);

/**
 * A branch's state: layers, each newer than the next, key by key.
 *
 *   active memtable ─► frozen memtables ─► runs of tables, the youngest first
 *        apply            freeze             persist, merges
 *
 * 1. The lists of layers are replaced, never changed: a read goes on in those that it began with.
 * 2. A frozen memtable leaves when the tables with its entries are in the store, both in one turn of the event loop.
 * 3. A checkpoint lists the runs at its moment, all of whose tables are in the store. It covers what was frozen before
 *    the log was cut.
 * 4. Merging (levels.ts) drops by the compact revision of the last checkpoint: never newer than that of the next, which
 *    lists the output.
 * 5. Versions of a key in one layer are newer than those in the next. Of space 0 the memtables have disjoint ranges of
 *    revisions, all above those in tables; runs have not, once parts of them have been merged.
 */
export class BranchTree implements Tree {
  /** A broken promise of this code was found in the background: the branch must close. */
  onBug: (error: unknown) => void = (error) => {
    throw error;
  };
  readonly #options: TreeOptions;
  readonly #levels: Levels;
  readonly #hashSeed: number;
  #active: Memtable;
  /** The youngest first. */
  #frozen: readonly Memtable[] = [];
  #checkpoint: Checkpoint | null;
  #writer: CheckpointWriter | null = null;
  #head: number;
  #persisting = false;
  #writing: Promise<void> | null = null;
  /** Who has met one may have stopped between any two steps: nothing of it may become a checkpoint. */
  #bug: { readonly error: unknown } | null = null;
  #flushedBytes = 0;
  #mergedBytes = 0;
  readonly #closing = new AbortController();
  readonly #sorting = new Turns(SORTS_AT_ONCE, SORTS_WAITING_MAX);
  #historyBlocks = 0;
  #droppedThrough: number;
  readonly #present: PresentLayers;
  readonly #onHistoryBlock = (): void => {
    this.#historyBlocks++;
  };

  constructor(options: TreeOptions) {
    this.#options = options;
    const { store, runtime, cache, checkpoint, settings } = options;
    const tables: TableContext = {
      store,
      runtime,
      cache,
      requestTimeoutMs: settings.requestTimeoutMs,
      closing: this.#closing.signal,
      ...(options.whyMissing === undefined ? {} : { whyMissing: options.whyMissing }),
    };
    this.#levels = new Levels({
      runtime,
      policy: settings,
      tables,
      runs: checkpoint?.runs ?? [],
      closing: this.#closing.signal,
      onBug: (error) => this.#meetBug(error),
    });
    this.#droppedThrough = checkpoint?.point.compactRevision ?? -1;
    this.#present = this.#presentLayers();
    this.#hashSeed = runtime.random.uint32();
    this.#active = new Memtable(this.#hashSeed);
    this.#checkpoint = checkpoint;
    this.#head = checkpoint?.point.position.revision ?? 0;
  }

  #meetBug(error: unknown): void {
    this.#bug ??= { error };
    this.onBug(error);
  }

  #checkNoBug(): void {
    if (this.#bug !== null) throw this.#bug.error;
  }

  #presentLayers(): PresentLayers {
    const droppedThrough = (): number => this.#droppedThrough;
    return {
      layers: () => this.layers,
      lists: (key) => this.#levels.lists(key),
      get droppedThrough(): number {
        return droppedThrough();
      },
    };
  }

  get(space: Space, key: string, at: number): MaybePromise<Version | null> {
    let found: Version | null = this.#active.find(space, key, at);
    for (let i = 0; found === null && i < this.#frozen.length; i++) found = this.#frozen[i]!.find(space, key, at);
    if (found !== null) return found.tombstone ? null : found;
    if (this.#levels.runs.length === 0) return null;
    const version = getFromRuns(this.#levels.runs, new PointLookup(space, key, at), 0);
    return isPromise(version) ? this.#lasting(version, space, at, (limited) => this.get(space, key, limited)) : version;
  }

  scan(space: Space, range: KeyRange, at: number, options: ScanOptions): MaybePromise<Version[]> {
    const reverse = options.reverse === true;
    if (this.#frozen.length === 0 && this.#levels.runs.length === 0) {
      return scanMemtable(this.#active, space, range, at, options);
    }
    // What is applied while this waits for blocks is not seen.
    const limited = space === KEYS ? Math.min(at, this.#head) : at;
    const memory: LayerCursor[] = [];
    const active = this.#active.cursor(space, range, limited, reverse);
    if (active.version !== null) memory.push(space === KEYS ? active : gather(active));
    for (const memtable of this.#frozen) {
      const cursor = memtable.cursor(space, range, limited, reverse);
      if (cursor.version !== null) memory.push(cursor);
    }
    const runs = this.#levels.runs.map((run) => new RunCursor(run, space, range, limited, reverse));
    const limit = options.limit === 0 ? Number.POSITIVE_INFINITY : options.limit;
    const rows = chain(beginScan(memory, runs, reverse), (scan) => scan.page(limit, Number.POSITIVE_INFINITY));
    if (!isPromise(rows)) return rows;
    return this.#lasting(rows, space, limited, (still) => this.scan(space, range, still, options));
  }

  walk(range: KeyRange, at: number, reverse: boolean): Walk {
    return new TreeWalk(this.#present, { range, at: Math.min(at, this.#head), reverse });
  }

  isEmptyBetween(first: string, last: string): boolean {
    if (!this.#active.isEmptyBetween(first, last)) return false;
    for (const memtable of this.#frozen) if (!memtable.isEmptyBetween(first, last)) return false;
    for (const run of this.#levels.runs) if (!run.isEmptyBetween(first, last)) return false;
    return true;
  }

  count(space: Space, range: KeyRange, at: number): MaybePromise<number> {
    let sum = this.#active.count(space, range, at);
    for (const memtable of this.#frozen) sum += memtable.count(space, range, at);
    const waits: Promise<number>[] = [];
    for (const run of this.#levels.runs) {
      const value = run.count(space, range, at);
      if (isPromise(value)) waits.push(value);
      else sum += value;
    }
    if (waits.length === 0) return sum;
    const whole = Promise.all(waits).then((values) => values.reduce((all, value) => all + value, sum));
    return this.#lasting(whole, space, at, (limited) => this.count(space, range, limited));
  }

  /**
   * What is being read, or once more where tables have gone that it began with: as of the moment of the call in
   * space 0, as of now in the others.
   */
  #lasting<T>(value: Promise<T>, space: Space, at: number, again: (at: number) => MaybePromise<T>): Promise<T> {
    const limited = space === KEYS ? Math.min(at, this.#head) : at;
    return value.catch((error: unknown) => {
      if (!resumes(error, this.#present, 0)) throw error;
      checkKept(limited, this.#present);
      return again(limited);
    });
  }

  versions(request: VersionsRequest): OrderedVersions {
    const upTo = Math.min(request.upTo, this.#head);
    const present = this.#present;
    const reader = (asked: VersionsRequest): OrderedVersions =>
      new VersionReader(
        {
          runtime: this.#options.runtime,
          memtables: [this.#active, ...this.#frozen],
          runs: this.#levels.runs,
          head: upTo,
          scratch: this.scratch,
          windowBytes: this.#options.settings.sortWindowBytes,
          onBlock: this.#onHistoryBlock,
          takeTurn: (signal) => this.#sorting.take(signal),
        },
        asked,
      );
    return new LastingVersions({ present, request, open: reader });
  }

  /** For who goes by layers: each the youngest first. The lists are of this moment. */
  get layers(): { readonly memtables: readonly Memtable[]; readonly runs: readonly Run[] } {
    return { memtables: [this.#active, ...this.#frozen], runs: this.#levels.runs };
  }

  apply(entry: Entry): void {
    this.#active.apply(entry);
    if (entry.space === KEYS) this.#head = entry.main;
  }

  /** The same for an entry whose bytes never change: they may be kept instead of a copy. */
  applyKept(entry: Entry): void {
    this.#active.applyKept(entry);
    if (entry.space === KEYS) this.#head = entry.main;
  }

  applyAllKept(entries: readonly Entry[]): void {
    this.#active.applyAllKept(entries);
    for (const { space, main } of entries) if (space === KEYS) this.#head = main;
  }

  /** Memory taken by what is not yet in tables. */
  get memtableBytes(): number {
    return this.#frozen.reduce((sum, memtable) => sum + memtable.bytes, this.#active.bytes);
  }

  /** Of it, what `freeze` would freeze. */
  get activeBytes(): number {
    return this.#active.bytes;
  }

  /** The newest revision applied. */
  get head(): number {
    return this.#head;
  }

  /** The checkpoint last written or opened. */
  get checkpoint(): Checkpoint | null {
    return this.#checkpoint;
  }

  /**
   * What was applied so far will be in the tables of the next `persist`; call it in the turn in which the log is cut.
   */
  freeze(): void {
    if (this.#active.entries === 0) return;
    this.#active.freeze();
    this.#frozen = [this.#active, ...this.#frozen];
    this.#active = new Memtable(this.#hashSeed);
  }

  /**
   * Begins to write what is frozen as tables; `persist` waits for it. All of it must lie below the point of the next
   * `persist`. Drops by `compactRevision`, which readers know already. A failure is met again by `persist`.
   */
  writeFrozen(compactRevision: number): void {
    const writer = this.#writer;
    assert(writer !== null, "only a leader writes");
    const { runsHardMax } = this.#options.settings;
    // Else `persist` does all of it, when there is room.
    if (this.#persisting || this.#writing !== null || this.#levels.runs.length >= runsHardMax) return;
    this.#writing = this.#flush(this.#writeContext(writer, compactRevision), this.#frozen)
      .catch((error: unknown) => {
        if (!isDbError(error)) this.#meetBug(error);
      })
      .finally(() => {
        this.#writing = null;
      });
  }

  /** From now on this node writes the branch: `persist` may be called, and runs are merged in the background. */
  lead(writer: CheckpointWriter): void {
    assert(this.#writer === null || this.#writer.epoch < writer.epoch, "a leadership begins once");
    this.#writer = writer;
    this.#levels.lead(() => ({
      ...this.#writeContext(writer, this.#checkpoint?.point.compactRevision ?? -1),
      onWritten: (bytes) => {
        this.#mergedBytes += bytes;
      },
    }));
  }

  /**
   * Writes what was frozen and lies below the point as tables, then a checkpoint. One at a time. When it fails nothing
   * is lost: call it again with the same or a later point. Throws `leadershipLost` when deposed.
   */
  async persist(point: CheckpointPoint<CheckpointPosition>): Promise<Checkpoint> {
    const writer = this.#writer;
    assert(writer !== null, "only a leader persists");
    assert(!this.#persisting, "one persist at a time");
    this.#persisting = true;
    try {
      // Bounded by what a merge takes; writers are held back by memtableBytes meanwhile.
      await this.#writing;
      await this.#levels.room();
      this.#checkNoBug();
      await this.#flush(this.#writeContext(writer, point.compactRevision), coveredBy(point, this.#frozen));
      this.#checkNoBug();
      const runs = this.#levels.list();
      // Dying before this leaves tables that nothing lists; the log still has what they hold.
      this.#checkpoint = await writer.write(point, runs, this.#closing.signal);
      this.#levels.mergeSoon();
      return this.#checkpoint;
    } finally {
      this.#persisting = false;
    }
  }

  /**
   * Writes all that was applied so far as tables, which the next `persist` lists: for who fills a tree without a log.
   * One at a time. Drops by `compactRevision`.
   */
  async writeOut(compactRevision: number): Promise<void> {
    const writer = this.#writer;
    assert(writer !== null, "only a leader writes");
    assert(!this.#persisting, "tables are written by one at a time");
    this.#persisting = true;
    try {
      this.freeze();
      await this.#levels.room();
      this.#checkNoBug();
      await this.#flush(this.#writeContext(writer, compactRevision), this.#frozen);
    } finally {
      this.#persisting = false;
    }
  }

  get scratch(): Scratch | null {
    return this.#options.scratch ?? null;
  }

  /** Stops merging and frees cached blocks. Reads under way fail, at the latest where they need the store again. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    await this.#writing;
    await this.#levels.close();
  }

  /** Resolves when there is nothing to merge just now. */
  settled(): Promise<void> {
    return this.#levels.settled();
  }

  /** Merges all that can be merged now, by the compact revision of the last checkpoint; the next one lists it. */
  mergeEverything(
    options: { signal?: AbortSignal; onProgress?: (progress: MergeProgress) => void } = {},
  ): Promise<void> {
    return this.#levels.mergeEverything(options);
  }

  /** Merging has changed what the last checkpoint lists, and has come to rest. */
  get unlisted(): boolean {
    return this.#levels.unlisted;
  }

  stats(): TreeStats {
    const all: KeyRange = { from: "", to: null };
    let keys = this.#active.count(KEYS, all, AT_HEAD);
    let entries = this.#active.entries;
    for (const memtable of this.#frozen) {
      keys += memtable.count(KEYS, all, AT_HEAD);
      entries += memtable.entries;
    }
    let tombstones = 0;
    let valueBytes = 0;
    let tableBytes = 0;
    let tables = 0;
    for (const run of this.#levels.runs) {
      const sums = run.sums(KEYS);
      keys += sums.effectSum;
      entries += sums.entries;
      tombstones += run.tombstones;
      valueBytes += run.valueBytes;
      tableBytes += run.bytes;
      tables += run.tables.length;
    }
    return {
      keys,
      entries,
      tombstones,
      valueBytes,
      tableBytes,
      tables,
      runs: this.#levels.runs.length,
      memtableBytes: this.memtableBytes,
      frozenMemtables: this.#frozen.length,
      merging: this.#levels.merging,
      merges: this.#levels.merges,
      mergeError: this.#levels.trouble,
      litter: this.#levels.litter,
      flushedBytes: this.#flushedBytes,
      mergedBytes: this.#mergedBytes,
      historyBlocks: this.#historyBlocks,
    };
  }

  #writeContext(writer: CheckpointWriter, compactRevision: number): LevelContext {
    const { store, runtime, branch, settings } = this.#options;
    const { tableBytes, blockBytes, requestTimeoutMs, putTimeoutMs } = settings;
    this.#droppedThrough = Math.max(this.#droppedThrough, compactRevision);
    const { signal } = this.#closing;
    return {
      store,
      runtime,
      branch,
      epoch: writer.epoch,
      compactRevision,
      tableBytes,
      blockBytes,
      requestTimeoutMs,
      putTimeoutMs,
      signal,
      onWritten: (bytes) => {
        this.#flushedBytes += bytes;
      },
    };
  }

  async #flush(context: LevelContext, memtables: readonly Memtable[]): Promise<void> {
    if (memtables.length === 0) return;
    const { runs } = this.#levels;
    const last = runs[0]?.tables.at(-1)?.ref.end;
    const place = {
      bottom: runs.length === 0,
      below: last?.space === KEYS ? last.key : null,
      above: () => this.#leastKeyBeside(memtables),
    };
    await this.#levels.flush(
      (onWriting) => flushMemtables({ ...context, onWriting }, memtables, place),
      () => {
        this.#frozen = this.#frozen.filter((memtable) => !memtables.includes(memtable));
      },
    );
  }

  /** The least of the user's keys in the memtables but these. */
  #leastKeyBeside(memtables: readonly Memtable[]): string | null {
    let least: string | null = null;
    for (const memtable of [this.#active, ...this.#frozen]) {
      const key = memtables.includes(memtable) ? null : memtable.leastKey;
      if (key !== null && (least === null || key < least)) least = key;
    }
    return least;
  }
}

export interface TreeStats {
  /** Live keys of space 0 at the head. */
  readonly keys: number;
  /** Versions and tombstones held. */
  readonly entries: number;
  /** Of the tombstones among them those in tables; and bytes of the versions in tables, unpacked. */
  readonly tombstones: number;
  readonly valueBytes: number;
  readonly tableBytes: number;
  readonly tables: number;
  readonly runs: number;
  readonly memtableBytes: number;
  readonly frozenMemtables: number;
  readonly merging: boolean;
  readonly merges: number;
  /** Why the last merge failed; null when it did not. */
  readonly mergeError: string | null;
  /** Tables that were replaced before any checkpoint named them, and are not deleted yet. */
  readonly litter: number;
  /** Bytes of tables written since this tree was opened, of memtables and by merges: write amplification. */
  readonly flushedBytes: number;
  readonly mergedBytes: number;
  /** Blocks read so far for work in the order of revisions. */
  readonly historyBlocks: number;
}

/**
 * The frozen memtables that lie below a point: a memtable is covered as a whole or not at all, because the log is cut
 * where it is frozen.
 */
function coveredBy(point: CheckpointPoint<CheckpointPosition>, frozen: readonly Memtable[]): Memtable[] {
  const { revision, lastRecord } = point.position;
  const covered = frozen.filter((memtable) => memtable.revisionMax <= revision && memtable.recordMax <= lastRecord);
  const rest = frozen.slice(0, frozen.length - covered.length);
  const apart = rest.every(
    (each) => !covered.includes(each) && (each.revisionMin === 0 || each.revisionMin > revision),
  );
  assert(apart, "a memtable is frozen in the turn in which the log is cut");
  return covered;
}

function getFromRuns(runs: readonly Run[], lookup: PointLookup, from: number): MaybePromise<Version | null> {
  for (let i = from; i < runs.length; i++) {
    const found = runs[i]!.get(lookup, i === runs.length - 1);
    if (isPromise(found)) {
      return found.then((version) => (version === undefined ? getFromRuns(runs, lookup, i + 1) : alive(version)));
    }
    if (found !== undefined) return alive(found);
  }
  return null;
}

const alive = (version: Version): Version | null => (version.tombstone ? null : version);

/** The rest of a cursor's versions, as of now: in spaces beside the keys a newer version replaces the one before it. */
function gather(cursor: MemtableCursor): LayerCursor {
  const versions: Version[] = [];
  for (; cursor.version !== null; cursor.advance()) versions.push(cursor.version);
  let at = 0;
  return {
    get version(): Version | null {
      return versions[at] ?? null;
    },
    advance(): void {
      at++;
    },
  };
}
