import { type Permission, permissionTypes } from "../engine.ts";

/**
 * What a user may read and write: the union of the ranges that all its roles permit, as disjoint intervals in order.
 *
 *   granted   [a, c)  [b, f)  [m, m\0)  [n, ∞)
 *   union     [a, f)  [m, m\0)  [n, ∞)
 *
 * A range is permitted if one interval holds all of it (A12): touching ones are one.
 */
export class Permissions {
  readonly read: Intervals;
  readonly write: Intervals;

  constructor(granted: Iterable<Permission>) {
    const read: Interval[] = [];
    const write: Interval[] = [];
    for (const { type, key, rangeEnd } of granted) {
      const interval = intervalOf(key, rangeEnd);
      if (type === permissionTypes.read || type === permissionTypes.readWrite) read.push(interval);
      if (type === permissionTypes.write || type === permissionTypes.readWrite) write.push(interval);
    }
    this.read = new Intervals(read);
    this.write = new Intervals(write);
  }
}

/** Keys in [from, to); null: to the end. */
interface Interval {
  readonly from: string;
  readonly to: string | null;
}

const OPEN_END = "\0";

function intervalOf(key: string, rangeEnd: string): Interval {
  if (rangeEnd === "") return { from: key, to: `${key}\0` };
  return { from: key, to: rangeEnd === OPEN_END ? null : rangeEnd };
}

export class Intervals {
  readonly #from: string[] = [];
  readonly #to: (string | null)[] = [];

  constructor(intervals: readonly Interval[]) {
    const inOrder = intervals.filter(isNotEmpty).sort((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : 0));
    for (const { from, to } of inOrder) {
      const last = this.#to.length - 1;
      const lastTo = this.#to[last];
      if (lastTo === null) return;
      if (lastTo !== undefined && from <= lastTo) {
        if (to === null || to > lastTo) this.#to[last] = to;
      } else {
        this.#from.push(from);
        this.#to.push(to);
      }
    }
  }

  /** A key ("" as its range's end) or a range: all of it is within. An empty or backward range holds nothing. */
  holds(key: string, rangeEnd: string): boolean {
    const at = this.#startingBefore(key);
    if (at === -1) return false;
    const to = this.#to[at]!;
    if (to === null) return true;
    if (rangeEnd === "") return key < to;
    return rangeEnd !== OPEN_END && key < to && rangeEnd <= to;
  }

  /** The last interval that begins at or before `key`; −1: none. */
  #startingBefore(key: string): number {
    let low = 0;
    let high = this.#from.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#from[middle]! <= key) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  get size(): number {
    return this.#from.length;
  }
}

const isNotEmpty = ({ from, to }: Interval): boolean => to === null || from < to;
