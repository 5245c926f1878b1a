import type { Change } from "../changes.ts";
import type { Row } from "../engine.ts";

/** What the layers of a tree say of the user's keys. */
export interface VersionSums {
  readonly keys: number;
  /** Versions and tombstones, and of these the tombstones. */
  readonly entries: number;
  readonly tombstones: number;
  /** Of the versions in tables, unpacked. */
  readonly valueBytes: number;
  /** Of what is not in tables yet; 0 only when that is nothing. */
  readonly memtableBytes: number;
}

/**
 * Bytes of the pairs that are there now, older versions of them left out, before packing.
 *
 * What a leadership writes is counted exactly; what it found is reckoned from the tables' sums (as if versions that
 * newer ones hide were as large as others) until there is nothing but live pairs in tables, after a compaction and a
 * merge of everything: from then on all is exact.
 */
export class LiveBytes {
  #base: number;

  constructor(found: VersionSums) {
    const versions = Math.max(1, found.keys, found.entries - found.tombstones);
    this.#base = (wholeOf(found) * found.keys) / versions;
  }

  /** `change`: what this leadership has added since it began, taken away what it removed. */
  after(change: number, sums: VersionSums): number {
    const isExact = sums.entries === sums.keys && sums.memtableBytes === 0;
    if (isExact || sums.keys === 0) this.#base = (sums.keys === 0 ? 0 : sums.valueBytes) - change;
    return Math.min(wholeOf(sums), Math.max(0, this.#base + change));
  }

  /** Of so many bytes that a branch takes, those that its live pairs do: their share of all versions. */
  shareOf(bytes: number, change: number, sums: VersionSums): number {
    const whole = wholeOf(sums);
    return whole === 0 ? 0 : Math.round((bytes * this.after(change, sums)) / whole);
  }
}

const wholeOf = ({ valueBytes, memtableBytes }: VersionSums): number => valueBytes + memtableBytes;

/** What one revision adds to the bytes of live pairs, less what it takes away. */
export function liveChange(changes: readonly Change[]): number {
  let sum = 0;
  let deletes = 0;
  for (const { kv, deleted, prev } of changes) {
    if (deleted) deletes++;
    else sum += sizeOf(kv);
    if (prev !== null) sum -= sizeOf(prev);
  }
  return deletes === 0 || deletes === changes.length ? sum : mixedChange(changes);
}

/** One transaction may put a key and delete it again: a deletion tells what was there before both (W10). */
function mixedChange(changes: readonly Change[]): number {
  const now = new Map<string, number>();
  let sum = 0;
  for (const { key, kv, deleted, prev } of changes) {
    const before = now.get(key) ?? (prev === null ? 0 : sizeOf(prev));
    const after = deleted ? 0 : sizeOf(kv);
    sum += after - before;
    now.set(key, after);
  }
  return sum;
}

const sizeOf = ({ start, end }: Row): number => end - start;
