import type { Arena } from "./arena.ts";
import type { Effect } from "./storage.ts";
import { StoredVersion } from "./stored-version.ts";

const TOMBSTONE = 1;
/** Two bits each: the effect, and the sum of the key's effects up to and with this version, both plus one. */
const EFFECT_SHIFT = 1;
const SUM_SHIFT = 3;
const ROWS_MIN = 16;

/** A row's bytes in all columns. */
export const ROW_BYTES = 8 + 4 * 8 + 1;
export const NO_ROW = -1;

/**
 * The versions of one space of a memtable, as rows of columns: no object each, so that the collector of garbage has
 * nothing to walk through, and a version costs a third of the memory. An object is made when one is read.
 *
 * The rows of a key are linked from the newest back. `jumps` skips further back, such that the way to any older version
 * takes a number of steps that grows with the logarithm of their number (a skew-binary list).
 */
export class MemtableVersions {
  count = 0;
  #capacity = ROWS_MIN;
  #mains = new Float64Array(ROWS_MIN);
  #subs = new Uint32Array(ROWS_MIN);
  #keys = new Int32Array(ROWS_MIN);
  #chunks = new Int32Array(ROWS_MIN);
  #starts = new Uint32Array(ROWS_MIN);
  #ends = new Uint32Array(ROWS_MIN);
  #older = new Int32Array(ROWS_MIN);
  #jumps = new Int32Array(ROWS_MIN);
  #depths = new Int32Array(ROWS_MIN);
  #flags = new Uint8Array(ROWS_MIN);

  /** Adds a row, whose value was added to `arena` last; returns its number. `older`: the key's newest one so far. */
  add(
    key: number,
    version: { main: number; sub: number; tombstone: boolean; effect: Effect; sum: number; older: number },
    arena: Arena,
  ): number {
    const row = this.count++;
    if (row === this.#capacity) this.#grow();
    this.#mains[row] = version.main;
    this.#subs[row] = version.sub;
    this.#keys[row] = key;
    this.#chunks[row] = arena.chunk;
    this.#starts[row] = arena.start;
    this.#ends[row] = arena.end;
    this.#flags[row] =
      (version.tombstone ? TOMBSTONE : 0) | ((version.effect + 1) << EFFECT_SHIFT) | ((version.sum + 1) << SUM_SHIFT);
    this.#link(row, version.older);
    return row;
  }

  main(row: number): number {
    return this.#mains[row]!;
  }

  sub(row: number): number {
    return this.#subs[row]!;
  }

  /** The key's number. */
  key(row: number): number {
    return this.#keys[row]!;
  }

  effect(row: number): number {
    return ((this.#flags[row]! >>> EFFECT_SHIFT) & 3) - 1;
  }

  /** Sum of the key's effects in this memtable up to and with this row. */
  sum(row: number): number {
    return ((this.#flags[row]! >>> SUM_SHIFT) & 3) - 1;
  }

  isTombstone(row: number): boolean {
    return (this.#flags[row]! & TOMBSTONE) !== 0;
  }

  /** The next older row of the same key. */
  older(row: number): number {
    return this.#older[row]!;
  }

  /** The newest of `row` and those older than it that is not newer than `at`; NO_ROW for none. */
  rowAt(row: number, at: number): number {
    const mains = this.#mains;
    while (row !== NO_ROW && mains[row]! > at) {
      const jump = this.#jumps[row]!;
      row = jump !== NO_ROW && mains[jump]! > at ? jump : this.#older[row]!;
    }
    return row;
  }

  /** First row with a main above `after`, where rows were added in the order of main. */
  firstAbove(after: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#mains[middle]! <= after) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  version(row: number, key: string, arena: Arena): StoredVersion {
    const flags = this.#flags[row]!;
    return new StoredVersion(
      key,
      this.#mains[row]!,
      this.#subs[row]!,
      (flags & TOMBSTONE) !== 0,
      (((flags >>> EFFECT_SHIFT) & 3) - 1) as Effect,
      arena.chunks[this.#chunks[row]!] ?? EMPTY,
      this.#starts[row]!,
      this.#ends[row]!,
    );
  }

  #link(row: number, older: number): void {
    this.#older[row] = older;
    if (older === NO_ROW) {
      this.#jumps[row] = NO_ROW;
      this.#depths[row] = 0;
      return;
    }
    const depths = this.#depths;
    const jump = this.#jumps[older]!;
    const far = jump === NO_ROW ? NO_ROW : this.#jumps[jump]!;
    const equalSteps = far !== NO_ROW && depths[older]! - depths[jump]! === depths[jump]! - depths[far]!;
    this.#jumps[row] = equalSteps ? far : older;
    depths[row] = depths[older]! + 1;
  }

  #grow(): void {
    this.#capacity *= 2;
    this.#mains = grown(this.#mains, new Float64Array(this.#capacity));
    this.#subs = grown(this.#subs, new Uint32Array(this.#capacity));
    this.#keys = grown(this.#keys, new Int32Array(this.#capacity));
    this.#chunks = grown(this.#chunks, new Int32Array(this.#capacity));
    this.#starts = grown(this.#starts, new Uint32Array(this.#capacity));
    this.#ends = grown(this.#ends, new Uint32Array(this.#capacity));
    this.#older = grown(this.#older, new Int32Array(this.#capacity));
    this.#jumps = grown(this.#jumps, new Int32Array(this.#capacity));
    this.#depths = grown(this.#depths, new Int32Array(this.#capacity));
    this.#flags = grown(this.#flags, new Uint8Array(this.#capacity));
  }
}

const EMPTY = new Uint8Array(0);

/** `larger`, begun with what is in `column`. */
export function grown<T extends Float64Array | Uint32Array | Int32Array | Uint8Array>(column: T, larger: T): T {
  larger.set(column);
  return larger;
}
