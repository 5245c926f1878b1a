import { unreachable } from "../../base/assert.ts";
import { type RangeRequest, type Row, sortOrders, sortTargets } from "../engine.ts";
import { KeyValueReader } from "./key-value.ts";

export const hasFilters = (request: RangeRequest): boolean =>
  request.minModRevision !== 0 ||
  request.maxModRevision !== 0 ||
  request.minCreateRevision !== 0 ||
  request.maxCreateRevision !== 0;

const pair = new KeyValueReader();

/** R9: a bound of 0 is off; a negative one is a bound. */
export function filterRows(rows: readonly Row[], request: RangeRequest): Row[] {
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  return rows.filter((row) => {
    const { modRevision, createRevision } = pair.read(row);
    return (
      (maxModRevision === 0 || modRevision <= maxModRevision) &&
      (minModRevision === 0 || modRevision >= minModRevision) &&
      (maxCreateRevision === 0 || createRevision <= maxCreateRevision) &&
      (minCreateRevision === 0 || createRevision >= minCreateRevision)
    );
  });
}

/**
 * By a target other than the key; NONE counts as ascending (R8). Ties keep their order, of which nothing is promised
 * (Q2).
 */
export function sortRows(rows: readonly Row[], request: RangeRequest): Row[] {
  const sign = request.sortOrder === sortOrders.descend ? -1 : 1;
  if (request.sortTarget === sortTargets.value) {
    const values = rows.map((row) => ({ row, value: pair.read(row).value }));
    values.sort((a, b) => sign * Buffer.compare(a.value, b.value));
    return values.map(({ row }) => row);
  }
  const numbers = rows.map((row) => ({ row, number: numberOf(row, request.sortTarget) }));
  numbers.sort((a, b) => sign * (a.number - b.number));
  return numbers.map(({ row }) => row);
}

const other = new KeyValueReader();

/** The same order, row by row. */
export function compareRows(request: RangeRequest): (a: Row, b: Row) => number {
  const { sortTarget, sortOrder } = request;
  const sign = sortOrder === sortOrders.descend ? -1 : 1;
  if (sortTarget !== sortTargets.value) return (a, b) => sign * (numberOf(a, sortTarget) - numberOf(b, sortTarget));
  return (a, b) => sign * Buffer.compare(pair.read(a).value, other.read(b).value);
}

function numberOf(row: Row, target: number): number {
  pair.read(row);
  switch (target) {
    case sortTargets.version:
      return pair.version;
    case sortTargets.create:
      return pair.createRevision;
    case sortTargets.mod:
      return pair.modRevision;
    default:
      return unreachable(target as never, "sort target");
  }
}
