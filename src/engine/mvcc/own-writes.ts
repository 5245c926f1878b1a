import type { RangeRequest, Row } from "../engine.ts";
import { type Found, isBackwards, type KeyedRow, scanLimit } from "./range.ts";

interface OwnWrite {
  /** The pair now; null once deleted. */
  readonly current: KeyedRow | null;
  /** The pair before the transaction. */
  readonly before: Row | null;
}

/**
 * What a transaction has done to keys so far, laid over the state before it: its later operations see its earlier ones
 * (T11), while everything that is read was read before the first write.
 */
export class OwnWrites {
  readonly #writes = new Map<string, OwnWrite>();
  /** Ascending: a transaction may hold very many writes and very many ranges. */
  readonly #keys: string[] = [];

  /** `row` is what the key has without this transaction. */
  current(key: string, row: KeyedRow | null): KeyedRow | null {
    const own = this.#writes.get(key);
    return own === undefined ? row : own.current;
  }

  before(key: string, row: Row | null): Row | null {
    const own = this.#writes.get(key);
    return own === undefined ? row : own.before;
  }

  set(key: string, write: OwnWrite): void {
    if (!this.#writes.has(key)) this.#keys.splice(this.#firstFrom(key), 0, key);
    this.#writes.set(key, write);
  }

  /** `rows`: the pairs of a range before the transaction, in key order (or backwards); gives those of now. */
  merge(rows: readonly KeyedRow[], range: { key: string; rangeEnd: string }, backwards = false): readonly KeyedRow[] {
    const keys = this.#keysIn(range);
    if (keys.length === 0) return rows;
    if (backwards) keys.reverse();
    const merged: KeyedRow[] = [];
    let next = 0;
    const addOwn = (): void => {
      const { current } = this.#writes.get(keys[next++]!)!;
      if (current !== null) merged.push(current);
    };
    for (const row of rows) {
      while (next < keys.length && (backwards ? keys[next]! > row.key : keys[next]! < row.key)) addOwn();
      if (next < keys.length && keys[next] === row.key) addOwn();
      else merged.push(row);
    }
    while (next < keys.length) addOwn();
    return merged;
  }

  /** A range as of now, from what was found before the transaction with enough rows to spare. */
  found(found: Found, request: RangeRequest): Found {
    let count = found.count;
    for (const key of this.#keysIn(request)) {
      const { current, before } = this.#writes.get(key)!;
      count += (current === null ? 0 : 1) - (before === null ? 0 : 1);
    }
    if (request.countOnly) return { rows: [], count };
    const rows = this.merge(found.rows, request, isBackwards(request));
    const limit = scanLimit(request, 0);
    // What lies beyond may have gaps: the tree was asked for no more.
    return { rows: limit === 0 ? rows : rows.slice(0, limit), count };
  }

  #keysIn({ key, rangeEnd }: { key: string; rangeEnd: string }): string[] {
    if (rangeEnd === "") return this.#writes.has(key) ? [key] : [];
    const from = this.#firstFrom(key);
    return this.#keys.slice(from, rangeEnd === "\0" ? this.#keys.length : Math.max(from, this.#firstFrom(rangeEnd)));
  }

  #firstFrom(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#keys[middle]! < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
