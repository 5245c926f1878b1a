import { comparePositions, isBetweenKeys, type Position, startOf } from "./position.ts";
import type { TableRef } from "./table.ts";

/** A table, or whatever stands for one where it is only weighed. */
export interface Weighed {
  readonly ref: TableRef;
}

/** A table's bounds, rounded outward to whole keys: entries of a key may go on in the next table of its run. */
export const lowOf = ({ first }: TableRef): Position =>
  isBetweenKeys(first) ? first : startOf(first.space, first.key);
export const highOf = ({ end }: TableRef): Position => (isBetweenKeys(end) ? end : startOf(end.space, `${end.key}\0`));

/** Tables [from, to) of a run. */
export interface Slice {
  readonly from: number;
  readonly to: number;
}

/**
 * The tables of a run that share keys with [low, high), and those that go on with a key of theirs: what is left out
 * has no key of what is taken.
 */
export function overlapOf(tables: readonly Weighed[], low: Position, high: Position): Slice {
  let from = firstWhere(tables, ({ ref }) => comparePositions(highOf(ref), low) > 0);
  let to = firstWhere(tables, ({ ref }) => comparePositions(lowOf(ref), high) >= 0);
  if (from >= to) return { from, to: from };
  while (from > 0 && isGlued(tables, from)) from--;
  while (to < tables.length && isGlued(tables, to)) to++;
  return { from, to };
}

/** Whether table `t` goes on with the last key of the one before it. */
export const isGlued = (tables: readonly Weighed[], t: number): boolean => !isBetweenKeys(tables[t]!.ref.first);

export const bytesOf = (tables: readonly Weighed[], { from, to }: Slice = { from: 0, to: tables.length }): number => {
  let bytes = 0;
  for (let t = from; t < to; t++) bytes += tables[t]!.ref.bytes;
  return bytes;
};

/** A table that shares no key with what it is merged with is moved as it is from one of these sizes on. */
export interface MoveSizes {
  /** As stored. */
  readonly bytesMin: number;
  /** Of keys and values as they were before packing: rewriting a table takes as long as there is of these. */
  readonly unpackedMin: number;
}

/** Whether the group is one table that is moved as it is. */
export const isMoved = ({ tables, bytes, unpackedBytes }: TableGroup<Weighed>, sizes: MoveSizes): boolean =>
  tables === 1 && (bytes >= sizes.bytesMin || unpackedBytes >= sizes.unpackedMin);

/** Tables that have to be merged together: each shares keys with another of them, or goes on with its key. */
export interface TableGroup<T extends Weighed> {
  /** The tables of each input, the youngest input first; each in order. */
  readonly inputs: T[][];
  readonly bytes: number;
  readonly unpackedBytes: number;
  readonly tables: number;
}

/** Groups the tables of adjacent runs, the youngest first. Groups come in the order of keys and share none. */
export function groupTables<T extends Weighed>(inputs: readonly (readonly T[])[]): TableGroup<T>[] {
  const all = inputs.flatMap((tables, input) => tables.map((table) => ({ table, input, low: lowOf(table.ref) })));
  all.sort((a, b) => comparePositions(a.low, b.low));
  const groups: { inputs: T[][]; bytes: number; unpackedBytes: number; tables: number }[] = [];
  let high: Position | null = null;
  for (const { table, input, low } of all) {
    if (high === null || comparePositions(low, high) >= 0) {
      groups.push({ inputs: inputs.map(() => []), bytes: 0, unpackedBytes: 0, tables: 0 });
    }
    const group = groups.at(-1)!;
    group.inputs[input]!.push(table);
    group.bytes += table.ref.bytes;
    for (const { valueBytes } of table.ref.spaces) group.unpackedBytes += valueBytes;
    group.tables++;
    const own = highOf(table.ref);
    if (high === null || comparePositions(own, high) > 0) high = own;
  }
  return groups;
}

/** Index of the first for which `is` holds, where it holds from some table on. */
function firstWhere(tables: readonly Weighed[], is: (table: Weighed) => boolean): number {
  let low = 0;
  let high = tables.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (is(tables[middle]!)) high = middle;
    else low = middle + 1;
  }
  return low;
}
