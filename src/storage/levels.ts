import { AssertionError, assert } from "../base/assert.ts";
import { DbError, isDbError } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import { type MergePlan, type MergePolicy, pickMerge } from "./merge-policy.ts";
import { isTable, mergeParts, type RunMerge, type RunPart } from "./merge-runs.ts";
import { Run } from "./run.ts";
import { Table, type TableContext, type TableRef } from "./table.ts";
import type { WriteContext } from "./tree-write.ts";
import { UnlistedTables } from "./unlisted-tables.ts";

export interface LevelsOptions {
  readonly runtime: Runtime;
  readonly policy: MergePolicy & { readonly runsHardMax: number };
  /** What tables are read with. */
  readonly tables: TableContext;
  readonly runs: readonly (readonly TableRef[])[];
  readonly closing: AbortSignal;
  readonly onBug: (error: unknown) => void;
}

/** What tables are written with, but for who is told of them first. */
export type LevelContext = Omit<WriteContext, "onWriting">;

/** After a failure that may pass a merge is tried again. */
const RETRY_MS = 5000;
/** What a start finds is merged so much later: first it answers those who wait for it, with all processors. */
const START_MS = 1000;

/** How far merging everything has come. */
export interface MergeProgress {
  /** Bytes of all tables now. */
  readonly tableBytes: number;
  /** Bytes of tables written by merges since it began. */
  readonly writtenBytes: number;
}

/**
 * The runs of tables of a tree, the youngest first, and their merging, one merge at a time (merge-policy.ts).
 *
 * 1. `runs` is replaced, never changed: who reads goes on in the list that it began with.
 * 2. A merge replaces parts of adjacent runs by its output, all in one turn, when all of the output is in the store. A
 *    crash before the next checkpoint lists it leaves tables that nothing names, and the merge is done again.
 * 3. A table that cannot be merged (it is corrupt) is left out from then on, and nothing is merged across it, which
 *    would break the order of versions. Runs on both sides of it are merged as ever: their number stays bounded.
 * 4. Flushing goes first: while a memtable is being written merging reads nothing more.
 */
export class Levels {
  readonly #options: LevelsOptions;
  #runs: readonly Run[];
  #context: (() => LevelContext) | null = null;
  #merging: Promise<void> | null = null;
  #flushing: Promise<unknown> | null = null;
  /** So many have asked to merge everything. */
  #everything = 0;
  #error: Error | null = null;
  #retry: Timer | null = null;
  readonly #spoiled = new Set<ObjectKey>();
  #merges = 0;
  #unlisted = false;
  #writtenBytes = 0;
  readonly #unnamed: UnlistedTables;

  constructor(options: LevelsOptions) {
    this.#options = options;
    const { tables, runtime, closing } = options;
    const { store, requestTimeoutMs } = tables;
    this.#unnamed = new UnlistedTables({ store, runtime, requestTimeoutMs, closing });
    this.#runs = options.runs.map((refs) => this.#run(refs));
  }

  get runs(): readonly Run[] {
    return this.#runs;
  }

  get merges(): number {
    return this.#merges;
  }

  get merging(): boolean {
    return this.#merging !== null;
  }

  /** Merges have changed what the last checkpoint lists, and none is under way. */
  get unlisted(): boolean {
    return this.#unlisted && this.#merging === null;
  }

  /** Why merging failed last; stays while a table cannot be merged. */
  get trouble(): string | null {
    return this.#error?.message ?? null;
  }

  /** Tables as a checkpoint lists them; what is merged from here on is news to the next. */
  list(): TableRef[][] {
    this.#unlisted = false;
    const runs = this.#runs.map((run) => run.tables.map((table) => table.ref));
    this.#unnamed.listed(runs.flat().map(({ key }) => key));
    return runs;
  }

  /** Whether it is in any run now. */
  lists(key: ObjectKey): boolean {
    return this.#runs.some((run) => run.tables.some(({ ref }) => ref.key === key));
  }

  /** Tables that no checkpoint has named, nor will, and that are not deleted yet. */
  get litter(): number {
    return this.#unnamed.waiting;
  }

  /** From now on runs are merged. `context` is asked for at the start of each merge. */
  lead(context: () => LevelContext): void {
    this.#context = context;
    this.#retry ??= this.#options.runtime.timers.set(START_MS, () => this.mergeSoon(), { background: true });
  }

  /** Adds what `write` has written as the youngest run; merging stands back meanwhile. */
  async flush(
    write: (onWriting: WriteContext["onWriting"]) => Promise<readonly TableRef[]>,
    done: () => void,
  ): Promise<void> {
    assert(this.#flushing === null, "one flush at a time");
    const writing = this.#noted(write);
    this.#flushing = writing.catch(() => {});
    try {
      const refs = await writing;
      this.#checkOpen();
      // What may throw comes first, then all in one turn: readers find each entry in the memtables or in the run.
      const runs = refs.length > 0 ? [this.#run(refs), ...this.#runs] : this.#runs;
      done();
      this.#runs = runs;
    } finally {
      this.#flushing = null;
    }
  }

  /** Tells the tables that are written meanwhile, so that what a failure leaves of them is deleted. */
  async #noted<T>(write: (onWriting: WriteContext["onWriting"]) => Promise<T>): Promise<T> {
    const begun: ObjectKey[] = [];
    try {
      return await write((key, bytes) => {
        begun.push(key);
        this.#unnamed.written(key, bytes);
      });
    } catch (error) {
      this.#unnamed.dropped(begun);
      throw error;
    }
  }

  /** Waits while there are so many runs that reading would suffer, and merging can change that. */
  async room(): Promise<void> {
    while (this.#runs.length >= this.#options.policy.runsHardMax && this.#merging !== null) await this.#merging;
  }

  /** Begins a merge if one is due and none is under way. */
  mergeSoon(): void {
    if (this.#merging !== null || this.#context === null || this.#options.closing.aborted) return;
    this.#retry?.cancel();
    this.#retry = null;
    const context = this.#context();
    const plan = pickMerge(this.#runs, this.#options.policy, {
      compactRevision: context.compactRevision,
      everything: this.#everything > 0,
      isSpoiled: ({ key }) => this.#spoiled.has(key),
    });
    if (plan === null) return;
    const runs = this.#runs;
    const parts = plan.slices.map(({ run, from, to }) => ({ run: runs[run]!, from, to }));
    this.#merging = this.#merge(context, plan, parts, runs).then(
      () => this.#merged(),
      (error: unknown) => this.#failed(error, parts),
    );
  }

  /** Resolves when there is nothing to merge just now. */
  async settled(): Promise<void> {
    while (this.#merging !== null) await this.#merging;
  }

  /**
   * Merges as long as there is anything to be gained, in steps of bounded size. Rejects with what merging failed of.
   * `signal` ends it behind the step at hand.
   */
  async mergeEverything(
    options: { signal?: AbortSignal; onProgress?: (progress: MergeProgress) => void } = {},
  ): Promise<void> {
    assert(this.#context !== null, "only a leader merges");
    const writtenBefore = this.#writtenBytes;
    this.#everything++;
    if (this.#spoiled.size === 0) this.#error = null;
    this.mergeSoon();
    try {
      while (this.#merging !== null && options.signal?.aborted !== true) {
        await this.#merging;
        const tableBytes = this.#runs.reduce((sum, run) => sum + run.bytes, 0);
        options.onProgress?.({ tableBytes, writtenBytes: this.#writtenBytes - writtenBefore });
      }
    } finally {
      this.#everything--;
    }
    this.#checkOpen();
    if (this.#error !== null && options.signal?.aborted !== true) throw this.#error;
  }

  /** Waits for the merge under way, which has been told to stop, and frees cached blocks. */
  async close(): Promise<void> {
    assert(this.#options.closing.aborted, "merging is told to stop before it is waited for");
    this.#retry?.cancel();
    await this.#merging;
    await this.#unnamed.close();
    // The runs stay, so that a late read finds what there is and not an empty tree.
    for (const run of this.#runs) for (const table of run.tables) table.release();
  }

  async #merge(context: LevelContext, plan: MergePlan, parts: readonly RunPart[], runs: readonly Run[]): Promise<void> {
    const last = parts.at(-1)!;
    const onWritten = (bytes: number): void => {
      this.#writtenBytes += bytes;
      context.onWritten(bytes);
    };
    const how: RunMerge = {
      parts,
      below: runs.slice(runs.indexOf(last.run) + 1),
      moved: plan.moved,
      gate: () => this.#gate(),
    };
    const merged = await this.#noted((onWriting) =>
      mergeParts({ ...context, tableBytes: plan.tableBytes, onWritten, onWriting }, how),
    );
    this.#checkOpen();
    const kept = new Set<Table>(merged.filter(isTable));
    const output = merged.map((table) => (isTable(table) ? table : new Table(table, this.#options.tables)));
    this.#replace(parts, output);
    // What was only moved is moved again after a start: no checkpoint is needed for that.
    if (kept.size < parts.reduce((sum, { from, to }) => sum + to - from, 0)) this.#unlisted = true;
    for (const { run, from, to } of parts) {
      const replaced = run.tables.slice(from, to).filter((table) => !kept.has(table));
      for (const table of replaced) table.release();
      this.#unnamed.dropped(replaced.map(({ ref }) => ref.key));
    }
    this.#unnamed.sweep();
  }

  #replace(parts: readonly RunPart[], output: readonly Table[]): void {
    const last = parts.at(-1)!;
    const changed: Run[] = [];
    let found = 0;
    for (const run of this.#runs) {
      const part = parts.find((each) => each.run === run);
      if (part === undefined) {
        changed.push(run);
        continue;
      }
      found++;
      const middle = part === last ? output : [];
      const tables = [...run.tables.slice(0, part.from), ...middle, ...run.tables.slice(part.to)];
      if (tables.length > 0) changed.push(new Run(tables));
    }
    assert(found === parts.length, "what was merged is still there");
    this.#runs = changed;
  }

  async #gate(): Promise<void> {
    while (this.#flushing !== null) await this.#flushing;
  }

  #merged(): void {
    this.#merging = null;
    this.#merges++;
    if (this.#spoiled.size === 0) this.#error = null;
    this.mergeSoon();
  }

  #failed(error: unknown, parts: readonly RunPart[]): void {
    this.#merging = null;
    if (error instanceof AssertionError || !isDbError(error)) {
      this.#options.onBug(error);
      return;
    }
    if (error.kind === "canceled") return;
    this.#error = new DbError(error.kind, `tables could not be merged: ${error.message}`, { cause: error });
    if (error.kind === "corrupt") {
      this.#spoil(error, parts);
      this.mergeSoon();
    } else {
      // Until then reads only have more runs to look into.
      this.#retry = this.#options.runtime.timers.set(RETRY_MS, () => this.mergeSoon(), { background: true });
    }
  }

  /** What the error names is left out from now on; all inputs where it names none of them. */
  #spoil(error: DbError, parts: readonly RunPart[]): void {
    const keys = parts.flatMap(({ run, from, to }) => run.tables.slice(from, to).map(({ ref }) => ref.key));
    const named = keys.filter((key) => error.message.includes(key));
    for (const key of named.length > 0 ? named : keys) this.#spoiled.add(key);
  }

  #checkOpen(): void {
    if (this.#options.closing.aborted) throw new DbError("canceled", "the branch is closing");
  }

  #run(refs: readonly TableRef[]): Run {
    return new Run(refs.map((ref) => new Table(ref, this.#options.tables)));
  }
}
