import { assert } from "../../base/assert.ts";
import { DbError, isDbError } from "../../base/errors.ts";
import { type Deferring, nextTurn } from "../../base/event-loop.ts";
import type { Revision } from "../../base/ids.ts";
import { type SortedRows as MergedRows, RowSorter } from "../../storage/row-sorter.ts";
import type { Scratch } from "../../storage/scratch.ts";
import type { Walk } from "../../storage/storage.ts";
import type { RangeCursor, RangeResult, Row } from "../engine.ts";
import { GatherBudget } from "./gathered.ts";
import { rangeResult, scanLimit } from "./range.ts";
import type { Opened } from "./range-cursor.ts";
import { compareRows, filterRows, hasFilters, sortRows } from "./range-order.ts";

/** What is sorted by something else than the key may take so much memory in a whole process. */
const SORTED_BYTES_MAX = 128 << 20;
/** Of one range; what is more goes to scratch files, where there are any. */
const WINDOW_BYTES = 16 << 20;
/** What a row costs in memory beside its bytes. */
const ROW_OVERHEAD_BYTES = 100;
const GATHER_ROWS = 4096;
const GATHER_BYTES = 1 << 20;
/** So many beyond twice what a limit keeps are worth sorting in between. */
const CUT_ROWS = 1024;

const TOO_MUCH = "too much to be sorted: ask for less, with a limit, or by key";
const ofProcess = new GatherBudget(SORTED_BYTES_MAX, TOO_MUCH);

export interface SortingOptions {
  readonly budget?: GatherBudget;
  readonly windowBytes?: number;
}

interface Surroundings extends SortingOptions {
  readonly timers: Deferring;
  /** Where what has no room is sorted; null: nowhere, and it is refused. */
  readonly scratch: Scratch | null;
}

/**
 * A range by another target than the key: all rows take part in the order, but of those that a limit will cut off
 * anyway few are held. What fits a window is held in memory until the cursor is closed; of a larger range the windows,
 * each sorted, go to scratch files, which are merged as the rows are taken.
 */
export function sortedRange(walk: Walk, opened: Opened, surroundings: Surroundings): Promise<RangeCursor> {
  return new Sorting(walk, opened, surroundings).run();
}

class Sorting {
  readonly #walk: Walk;
  readonly #opened: Opened;
  readonly #timers: Deferring;
  readonly #scratch: Scratch | null;
  readonly #budget: GatherBudget;
  readonly #windowBytes: number;
  #rows: Row[] = [];
  /** Of the budget. */
  #held = 0;
  /** Rows that passed the filters. */
  #passed = 0;
  #sorter: RowSorter | null = null;

  constructor(walk: Walk, opened: Opened, { timers, scratch, budget, windowBytes }: Surroundings) {
    this.#walk = walk;
    this.#opened = opened;
    this.#timers = timers;
    this.#scratch = scratch;
    this.#budget = budget ?? ofProcess;
    this.#windowBytes = windowBytes ?? WINDOW_BYTES;
  }

  async run(): Promise<RangeCursor> {
    const { request, revision, at, count } = this.#opened;
    // What fails while pages are read is met when it is awaited.
    if (count instanceof Promise) count.catch(() => {});
    try {
      const seen = await this.#gather();
      const found = { rows: this.#rows, count: (await count) ?? seen };
      if (this.#sorter === null) {
        const result = rangeResult(revision, found, request);
        this.#hold(bytesOf(result.rows));
        return new SortedRows(result, at, () => this.#release());
      }
      await this.#spill(this.#sorter);
      this.#hold(this.#sorter.readingBytes);
      const more = request.limit > 0 && this.#passed > request.limit;
      const given = more ? request.limit : this.#passed;
      return new SpilledRows(this.#sorter, { revision, at, more, count: found.count, given }, () => this.#release());
    } catch (error) {
      this.#release();
      if (isDbError(error, "diskFailed")) throw new DbError("tooManyRequests", `${TOO_MUCH} (${error.message})`);
      throw error;
    }
  }

  /** Reads all of the range; returns how many rows it has. */
  async #gather(): Promise<number> {
    const { request } = this.#opened;
    // Of a range that is cut before it is sorted (quirk Q1) no row is cut off behind.
    const scanned = scanLimit(request, 0);
    const keep = scanned === 0 && request.limit > 0 ? request.limit + 1 : Number.POSITIVE_INFINITY;
    const filtered = hasFilters(request);
    // Each page gets further, to the end of the range, or of the budget.
    for (let seen = 0; ; ) {
      const rowsMax = scanned === 0 ? GATHER_ROWS : Math.min(GATHER_ROWS, scanned - seen);
      const page = await this.#walk.next(rowsMax, GATHER_BYTES);
      seen += page.length;
      const passing = filtered ? filterRows(page, request) : page;
      for (const row of passing) this.#rows.push(row);
      this.#passed += passing.length;
      this.#hold(this.#held + bytesOf(passing));
      if (this.#rows.length > 2 * keep + CUT_ROWS) {
        // Rows that tie stay in their order: those that were there come first.
        this.#rows = sortRows(this.#rows, request).slice(0, keep);
        this.#hold(bytesOf(this.#rows));
      }
      if (this.#held > this.#windowBytes && this.#scratch !== null) {
        this.#sorter ??= new RowSorter(this.#scratch, compareRows(request));
        await this.#spill(this.#sorter);
      }
      if (page.length === 0 || seen === scanned) return seen;
      await nextTurn(this.#timers);
    }
  }

  async #spill(sorter: RowSorter): Promise<void> {
    await sorter.add(sortRows(this.#rows, this.#opened.request));
    this.#rows = [];
    this.#hold(0);
  }

  /** Throws `tooManyRequests` where there is no room for more. */
  #hold(bytes: number): void {
    if (bytes > this.#held) this.#budget.take(bytes - this.#held);
    else this.#budget.giveBack(this.#held - bytes);
    this.#held = bytes;
  }

  #release(): void {
    this.#hold(0);
    // It never fails, and nobody waits for it.
    void this.#sorter?.discard();
  }
}

function bytesOf(rows: readonly Row[]): number {
  let bytes = rows.length * ROW_OVERHEAD_BYTES;
  for (const { start, end } of rows) bytes += end - start;
  return bytes;
}

/** Rows that are all at hand, given out page by page. */
class SortedRows implements RangeCursor {
  readonly revision: Revision;
  readonly at: number;
  readonly more: boolean;
  readonly count: number;
  readonly #result: RangeResult;
  #given = 0;
  #onClose: (() => void) | null;

  constructor(result: RangeResult, at: number, onClose: (() => void) | null) {
    this.revision = result.revision;
    this.at = at;
    this.more = result.more;
    this.count = result.count;
    this.#result = result;
    this.#onClose = onClose;
  }

  get ended(): boolean {
    return this.#given === this.#result.rows.length;
  }

  next(rowsMax: number, bytesMax: number): readonly Row[] {
    assert(rowsMax > 0, "a page has a row");
    const { rows } = this.#result;
    const from = this.#given;
    let bytes = 0;
    while (this.#given < rows.length && this.#given - from < rowsMax && bytes < bytesMax) {
      const { start, end } = rows[this.#given++]!;
      bytes += end - start;
    }
    return rows.slice(from, this.#given);
  }

  /** Of the same rows, which the first one holds. */
  again(): RangeCursor {
    return new SortedRows(this.#result, this.at, null);
  }

  close(): void {
    this.#onClose?.();
    this.#onClose = null;
  }
}

interface Spilled extends Pick<RangeCursor, "revision" | "at" | "more" | "count"> {
  /** So many rows, the first ones. */
  readonly given: number;
}

/** Rows that lie in scratch files until the cursor is closed. */
class SpilledRows implements RangeCursor {
  readonly revision: Revision;
  readonly at: number;
  readonly more: boolean;
  readonly count: number;
  readonly #sorter: RowSorter;
  readonly #spilled: Spilled;
  readonly #merged: MergedRows;
  #left: number;
  #onClose: (() => void) | null;

  constructor(sorter: RowSorter, spilled: Spilled, onClose: (() => void) | null) {
    this.revision = spilled.revision;
    this.at = spilled.at;
    this.more = spilled.more;
    this.count = spilled.count;
    this.#sorter = sorter;
    this.#spilled = spilled;
    this.#merged = sorter.read();
    this.#left = spilled.given;
    this.#onClose = onClose;
  }

  get ended(): boolean {
    return this.#left === 0;
  }

  async next(rowsMax: number, bytesMax: number): Promise<readonly Row[]> {
    const rows = await this.#merged.next(Math.min(rowsMax, this.#left), bytesMax);
    assert(rows.length > 0 || this.#left === 0, "as many rows are read as were written");
    this.#left -= rows.length;
    return rows;
  }

  again(): RangeCursor {
    return new SpilledRows(this.#sorter, this.#spilled, null);
  }

  close(): void {
    this.#onClose?.();
    this.#onClose = null;
  }
}
