import { assert } from "../../base/assert.ts";
import { type Deferring, nextTurn } from "../../base/event-loop.ts";
import type { Revision } from "../../base/ids.ts";
import type { Walk } from "../../storage/storage.ts";
import type { RangeCursor, RangeResult, Row } from "../engine.ts";
import { GatherBudget } from "./gathered.ts";
import { rangeResult, scanLimit } from "./range.ts";
import type { Opened } from "./range-cursor.ts";
import { filterRows, hasFilters, sortRows } from "./range-order.ts";

/** What is sorted by something else than the key is held in memory: so much of it in a whole process. */
const SORTED_BYTES_MAX = 128 << 20;
/** What a row costs in memory beside its bytes. */
const ROW_OVERHEAD_BYTES = 100;
const GATHER_ROWS = 4096;
const GATHER_BYTES = 1 << 20;
/** So many beyond twice what a limit keeps are worth sorting in between. */
const CUT_ROWS = 1024;

const ofProcess = new GatherBudget(SORTED_BYTES_MAX, "too much to be sorted: ask for less, with a limit, or by key");

export interface SortingOptions {
  readonly budget?: GatherBudget;
}

/**
 * A range by another target than the key: all rows take part in the order, but of those that a limit will cut off
 * anyway few are held. What is held is so until the cursor is closed.
 */
export async function sortedRange(
  walk: Walk,
  { request, revision, at, count }: Opened,
  { timers, budget = ofProcess }: SortingOptions & { readonly timers: Deferring },
): Promise<RangeCursor> {
  // What fails while pages are read is met when it is awaited.
  if (count instanceof Promise) count.catch(() => {});
  // Of a range that is cut before it is sorted (quirk Q1) no row is cut off behind.
  const scanned = scanLimit(request, 0);
  const keep = scanned === 0 && request.limit > 0 ? request.limit + 1 : Number.POSITIVE_INFINITY;
  let rows: Row[] = [];
  const filtered = hasFilters(request);
  let seen = 0;
  let held = 0;
  try {
    // Each page gets further, to the end of the range, or of the budget.
    for (;;) {
      const page = await walk.next(scanned === 0 ? GATHER_ROWS : Math.min(GATHER_ROWS, scanned - seen), GATHER_BYTES);
      seen += page.length;
      const passing = filtered ? filterRows(page, request) : page;
      for (const row of passing) rows.push(row);
      const more = bytesOf(passing);
      budget.take(more);
      held += more;
      if (rows.length > 2 * keep + CUT_ROWS) {
        // Rows that tie stay in their order: those that were there come first.
        rows = sortRows(rows, request).slice(0, keep);
        const left = bytesOf(rows);
        budget.giveBack(held - left);
        held = left;
      }
      if (page.length === 0 || seen === scanned) break;
      await nextTurn(timers);
    }
    const result = rangeResult(revision, { rows, count: (await count) ?? seen }, request);
    const left = bytesOf(result.rows);
    budget.giveBack(held - left);
    held = left;
    return new SortedRows(result, at, () => budget.giveBack(held));
  } catch (error) {
    budget.giveBack(held);
    throw error;
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
