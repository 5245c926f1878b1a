import { DbError } from "../../base/errors.ts";
import type { Revision } from "../../base/ids.ts";
import type { MaybePromise } from "../../base/maybe-promise.ts";
import { KEYS, type KeyRange, type Tree, type Version } from "../../storage/storage.ts";
import { type RangeRequest, type RangeResult, type Row, sortOrders, sortTargets } from "../engine.ts";
import { keyRange } from "./key-range.ts";
import { filterRows, hasFilters, sortRows } from "./range-order.ts";

/** What a range is evaluated against. */
export interface RangePoint {
  /** The newest revision that may be seen; reported in the header (R13). */
  readonly revision: Revision;
  readonly compactRevision: number;
}

export interface KeyedRow extends Row {
  readonly key: string;
}

/** What the tree has for a range: in key order (or backwards), cut where a limit may cut; `count` is of all (R7). */
export interface Found {
  readonly rows: readonly KeyedRow[];
  readonly count: number;
}

const NO_ROWS: readonly KeyedRow[] = [];
const NOTHING: Found = { rows: NO_ROWS, count: 0 };

/** Answers at once where the tree does. Throws futureRevision (R3) or compacted (R4). */
export function range(tree: Tree, point: RangePoint, request: RangeRequest): MaybePromise<RangeResult> {
  const at = effectiveRevision(point, request);
  // The point may move on while the tree reads: the header tells the revision that was read.
  const { revision } = point;
  if (request.rangeEnd === "") {
    const version = tree.get(KEYS, request.key, at);
    if (version instanceof Promise) return version.then((found) => pointResult(revision, found, request));
    return pointResult(revision, version, request);
  }
  const found = findRange(tree, request, at, 0);
  if (found instanceof Promise) return found.then((rows) => rangeResult(revision, rows, request));
  return rangeResult(revision, found, request);
}

/** R5: 0 and below is the newest. */
export function effectiveRevision(point: RangePoint, request: RangeRequest): number {
  if (request.revision <= 0) return point.revision;
  if (request.revision > point.revision) throw new DbError("futureRevision");
  if (request.revision < point.compactRevision) throw new DbError("compacted");
  return request.revision;
}

function pointResult(revision: Revision, version: Version | null, request: RangeRequest): RangeResult {
  if (version === null) return { kind: "range", revision, rows: NO_ROWS, more: false, count: 0 };
  if (request.countOnly) return { kind: "range", revision, rows: NO_ROWS, more: false, count: 1 };
  const rows = hasFilters(request) ? filterRows([version], request) : [version];
  return { kind: "range", revision, rows, more: false, count: 1 };
}

/**
 * Any range as found by the tree. `extra`: how many rows beyond the limit are wanted besides the one that tells of
 * more.
 */
export function find(tree: Tree, request: RangeRequest, at: number, extra: number): MaybePromise<Found> {
  if (request.rangeEnd !== "") return findRange(tree, request, at, extra);
  const version = tree.get(KEYS, request.key, at);
  return version instanceof Promise ? version.then(pointFound) : pointFound(version);
}

const pointFound = (version: Version | null): Found => (version === null ? NOTHING : { rows: [version], count: 1 });

function findRange(tree: Tree, request: RangeRequest, at: number, extra: number): MaybePromise<Found> {
  const range = keyRange(request.key, request.rangeEnd);
  if (request.countOnly) {
    const count = tree.count(KEYS, range, at);
    return count instanceof Promise ? count.then(counted) : counted(count);
  }
  const limit = scanLimit(request, extra);
  const rows = tree.scan(KEYS, range, at, { limit, reverse: isBackwards(request) });
  // Both are asked in one turn: until the rows are there a compaction may pass, and take what the count is made of.
  if (rows instanceof Promise && limit > 0)
    return Promise.all([rows, tree.count(KEYS, range, at)]).then(([found, count]) => ({ rows: found, count }));
  if (rows instanceof Promise) return rows.then((found) => ({ rows: found, count: found.length }));
  return withCount(tree, range, at, rows, limit);
}

const counted = (count: number): Found => ({ rows: NO_ROWS, count });

/** Counts only where the scan was cut: else what was found is all. */
function withCount(tree: Tree, range: KeyRange, at: number, rows: Version[], limit: number): MaybePromise<Found> {
  if (limit === 0 || rows.length < limit) return { rows, count: rows.length };
  const count = tree.count(KEYS, range, at);
  return count instanceof Promise ? count.then((all) => ({ rows, count: all })) : { rows, count };
}

/**
 * How many rows to read: one more than the limit, to tell of more; all (0) where filters or an order other than by key
 * come before the limit (R8). Quirk Q1: with no order given, another target than the key still cuts first and sorts
 * what is left.
 */
export function scanLimit(request: RangeRequest, extra: number): number {
  if (request.limit <= 0 || extra === Number.POSITIVE_INFINITY || hasFilters(request)) return 0;
  if (request.sortOrder !== sortOrders.none && request.sortTarget !== sortTargets.key) return 0;
  return request.limit + 1 + extra;
}

/** By key and descending: the tree reads backwards. */
export const isBackwards = (request: RangeRequest): boolean =>
  request.sortOrder === sortOrders.descend && request.sortTarget === sortTargets.key;

/** Filters, order and limit, in this order. */
export function rangeResult(
  revision: Revision,
  found: { readonly rows: readonly Row[]; readonly count: number },
  request: RangeRequest,
): RangeResult {
  const { count } = found;
  if (request.countOnly) return { kind: "range", revision, rows: NO_ROWS, more: false, count };
  let rows: readonly Row[] = found.rows;
  if (hasFilters(request)) rows = filterRows(rows, request);
  // Q1 once more: the row beyond the limit takes part in the order.
  if (request.sortTarget !== sortTargets.key) rows = sortRows(rows, request);
  const more = request.limit > 0 && rows.length > request.limit;
  return { kind: "range", revision, rows: more ? rows.slice(0, request.limit) : rows, more, count };
}
