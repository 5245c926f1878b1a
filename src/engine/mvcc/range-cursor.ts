import type { Deferring } from "../../base/event-loop.ts";
import type { Revision } from "../../base/ids.ts";
import { isPromise, type MaybePromise } from "../../base/maybe-promise.ts";
import { KEYS, type Tree, type Version, type Walk } from "../../storage/storage.ts";
import { type RangeCursor, type RangeRequest, type RangeResult, type Row, sortTargets } from "../engine.ts";
import { keyRange } from "./key-range.ts";
import { effectiveRevision, isBackwards, type RangePoint, range } from "./range.ts";
import { filterRows, hasFilters } from "./range-order.ts";
import { type SortingOptions, sortedRange } from "./sorted-range.ts";

export interface OpenRangeOptions {
  /** What is sorted is gathered first, which may take long: others have their turns meanwhile. */
  readonly timers: Deferring;
  readonly sorting?: SortingOptions;
}

/**
 * Any range, to be read page by page. All of it is as of the moment of the call, also the count: what it is made of may
 * be compacted while pages are read. Throws what `range` throws.
 */
export function openRange(
  tree: Tree,
  point: RangePoint,
  request: RangeRequest,
  { timers, sorting }: OpenRangeOptions,
): MaybePromise<RangeCursor> {
  const at = effectiveRevision(point, request);
  if (request.rangeEnd === "" || request.countOnly) {
    const result = range(tree, point, request);
    return isPromise(result) ? result.then((found) => new ReadyRows(found, at)) : new ReadyRows(result, at);
  }
  const keys = keyRange(request.key, request.rangeEnd);
  const walk = tree.walk(keys, at, isBackwards(request));
  // Where nothing is cut the count is that of the rows.
  const count = request.limit > 0 ? tree.count(KEYS, keys, at) : null;
  if (request.sortTarget !== sortTargets.key)
    return sortedRange(
      walk,
      { count, at, revision: point.revision, request },
      { timers, scratch: tree.scratch ?? null, ...sorting },
    );
  return new WalkedRows(walk, { count, at, revision: point.revision, request });
}

export interface Opened {
  readonly request: RangeRequest;
  readonly revision: Revision;
  /** What is read. */
  readonly at: number;
  /** Of all keys; null where it is found by reading them. */
  readonly count: MaybePromise<number> | null;
}

/** Rows that are all at hand: one page. */
class ReadyRows implements RangeCursor {
  readonly revision: Revision;
  readonly at: number;
  readonly more: boolean;
  readonly count: number;
  ended = false;
  readonly #result: RangeResult;

  constructor(result: RangeResult, at: number) {
    this.revision = result.revision;
    this.at = at;
    this.more = result.more;
    this.count = result.count;
    this.#result = result;
  }

  next(): readonly Row[] {
    if (this.ended) return [];
    this.ended = true;
    return this.#result.rows;
  }

  again(): RangeCursor {
    return new ReadyRows(this.#result, this.at);
  }
}

/** In the order of keys, either way, as the tree gives them. */
class WalkedRows implements RangeCursor {
  readonly revision: Revision;
  readonly at: number;
  more = false;
  count = 0;
  ended = false;
  readonly #opened: Opened;
  readonly #walk: Walk;
  readonly #limit: number;
  readonly #filters: boolean;
  #given = 0;
  #seen = 0;

  constructor(walk: Walk, opened: Opened) {
    const { request, revision, at } = opened;
    this.revision = revision;
    this.at = at;
    this.#opened = opened;
    this.#walk = walk;
    this.#limit = request.limit > 0 ? request.limit : Number.POSITIVE_INFINITY;
    this.#filters = hasFilters(request);
  }

  next(rowsMax: number, bytesMax: number): MaybePromise<readonly Row[]> {
    if (this.ended) return NO_ROWS;
    const page = this.#walk.next(this.#filters ? rowsMax : Math.min(rowsMax, this.#limit - this.#given), bytesMax);
    return isPromise(page) ? page.then((rows) => this.#take(rows)) : this.#take(page);
  }

  again(): RangeCursor {
    return new WalkedRows(this.#walk.again(), this.#opened);
  }

  #take(page: Version[]): MaybePromise<readonly Row[]> {
    this.#seen += page.length;
    let rows: readonly Row[] = page;
    if (this.#filters) {
      rows = filterRows(page, this.#opened.request);
      if (this.#given + rows.length > this.#limit) {
        rows = rows.slice(0, this.#limit - this.#given);
        this.more = true;
      }
    }
    this.#given += rows.length;
    const isOver = page.length === 0 || this.#walk.ended;
    // With filters it takes one more row that passes them to tell of more.
    const isFull = this.#filters ? this.more : this.#given === this.#limit;
    if (!isOver && !isFull) return rows;
    const { count } = this.#opened;
    if (isPromise(count)) return count.then((all) => this.#end(rows, all));
    return this.#end(rows, count ?? this.#seen);
  }

  #end(rows: readonly Row[], count: number): readonly Row[] {
    this.ended = true;
    this.count = count;
    if (!this.#filters) this.more = count > this.#given;
    return rows;
  }
}

const NO_ROWS: readonly Row[] = [];
