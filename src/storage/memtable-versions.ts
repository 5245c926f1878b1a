import type { Arena } from "./arena.ts";
import type { Effect } from "./storage.ts";
import { StoredVersion } from "./stored-version.ts";

const TOMBSTONE = 1;
/** Two bits each: the effect, and the sum of the key's effects up to and with this version, both plus one. */
const EFFECT_SHIFT = 1;
const SUM_SHIFT = 3;
const ROWS_MIN = 16;

/** Words of a row: main (low, high with flags in the top byte), sub, key, chunk, start, end, older, jump, depth. */
const WORDS = 10;
const MAIN_LOW = 0;
const MAIN_HIGH = 1;
const SUB = 2;
const KEY = 3;
const CHUNK = 4;
const START = 5;
const END = 6;
const OLDER = 7;
const JUMP = 8;
const DEPTH = 9;
const HIGH_MASK = 0xff_ffff;
const FLAGS_AT = 24;
const TWO_TO_32 = 0x1_0000_0000;

export const ROW_BYTES = WORDS * 4;
export const NO_ROW = -1;

/**
 * The versions of one space of a memtable, as rows of numbers: no object each, so that the collector of garbage has
 * nothing to walk through, and a version costs a third of the memory. An object is made when one is read. A row lies
 * together, because rows are read one at a time and in no order.
 *
 * The rows of a key are linked from the newest back. `JUMP` skips further back, such that the way to any older version
 * takes a number of steps that grows with the logarithm of their number (a skew-binary list).
 */
export class MemtableVersions {
  count = 0;
  #words = new Int32Array(ROWS_MIN * WORDS);

  /** Adds a row, whose value was added to `arena` last; returns its number. `older`: the key's newest one so far. */
  add(
    key: number,
    version: { main: number; sub: number; tombstone: boolean; effect: Effect; sum: number; older: number },
    arena: Arena,
  ): number {
    const row = this.count++;
    const at = row * WORDS;
    if (at === this.#words.length) this.#words = grown(this.#words, new Int32Array(2 * at));
    const words = this.#words;
    const { main } = version;
    const flags =
      (version.tombstone ? TOMBSTONE : 0) | ((version.effect + 1) << EFFECT_SHIFT) | ((version.sum + 1) << SUM_SHIFT);
    words[at + MAIN_LOW] = main % TWO_TO_32;
    words[at + MAIN_HIGH] = Math.floor(main / TWO_TO_32) | (flags << FLAGS_AT);
    words[at + SUB] = version.sub;
    words[at + KEY] = key;
    words[at + CHUNK] = arena.chunk;
    words[at + START] = arena.start;
    words[at + END] = arena.end;
    this.#link(at, version.older);
    return row;
  }

  main(row: number): number {
    const at = row * WORDS;
    return (this.#words[at + MAIN_HIGH]! & HIGH_MASK) * TWO_TO_32 + (this.#words[at + MAIN_LOW]! >>> 0);
  }

  sub(row: number): number {
    return this.#words[row * WORDS + SUB]! >>> 0;
  }

  /** The key's number. */
  key(row: number): number {
    return this.#words[row * WORDS + KEY]!;
  }

  effect(row: number): number {
    return ((this.#flags(row) >>> EFFECT_SHIFT) & 3) - 1;
  }

  /** Sum of the key's effects in this memtable up to and with this row. */
  sum(row: number): number {
    return ((this.#flags(row) >>> SUM_SHIFT) & 3) - 1;
  }

  /** The next older row of the same key. */
  older(row: number): number {
    return this.#words[row * WORDS + OLDER]!;
  }

  /** The newest of `row` and those older than it that is not newer than `at`; NO_ROW for none. */
  rowAt(row: number, at: number): number {
    while (row !== NO_ROW && this.main(row) > at) {
      const jump = this.#words[row * WORDS + JUMP]!;
      row = jump !== NO_ROW && this.main(jump) > at ? jump : this.#words[row * WORDS + OLDER]!;
    }
    return row;
  }

  /** First row with a main above `after`, where rows were added in the order of main. */
  firstAbove(after: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.main(middle) <= after) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  version(row: number, key: string, arena: Arena): StoredVersion {
    const at = row * WORDS;
    const words = this.#words;
    const high = words[at + MAIN_HIGH]!;
    const flags = high >>> FLAGS_AT;
    return new StoredVersion(
      key,
      (high & HIGH_MASK) * TWO_TO_32 + (words[at + MAIN_LOW]! >>> 0),
      words[at + SUB]! >>> 0,
      (flags & TOMBSTONE) !== 0,
      (((flags >>> EFFECT_SHIFT) & 3) - 1) as Effect,
      arena.chunks[words[at + CHUNK]!] ?? EMPTY,
      words[at + START]!,
      words[at + END]!,
    );
  }

  #flags(row: number): number {
    return this.#words[row * WORDS + MAIN_HIGH]! >>> FLAGS_AT;
  }

  #link(at: number, older: number): void {
    const words = this.#words;
    words[at + OLDER] = older;
    if (older === NO_ROW) {
      words[at + JUMP] = NO_ROW;
      words[at + DEPTH] = 0;
      return;
    }
    const olderAt = older * WORDS;
    const depth = words[olderAt + DEPTH]!;
    const jump = words[olderAt + JUMP]!;
    const far = jump === NO_ROW ? NO_ROW : words[jump * WORDS + JUMP]!;
    const jumpDepth = jump === NO_ROW ? 0 : words[jump * WORDS + DEPTH]!;
    const equalSteps = far !== NO_ROW && depth - jumpDepth === jumpDepth - words[far * WORDS + DEPTH]!;
    words[at + JUMP] = equalSteps ? far : older;
    words[at + DEPTH] = depth + 1;
  }
}

const EMPTY = new Uint8Array(0);

/** `larger`, begun with what is in `column`. */
export function grown<T extends Float64Array | Uint32Array | Int32Array | Uint8Array>(column: T, larger: T): T {
  larger.set(column);
  return larger;
}
