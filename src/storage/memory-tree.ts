import { Memtable } from "./memtable.ts";
import type { Entry, KeyRange, ScanOptions, Space, Tree, Version } from "./storage.ts";

/** A tree that lives in memory alone, without a bound: one memtable that is never written out. */
export function createMemoryTree(): Tree {
  return new MemoryTree();
}

class MemoryTree implements Tree {
  readonly #memtable = new Memtable();

  get(space: Space, key: string, at: number): Version | null {
    const version = this.#memtable.find(space, key, at);
    return version === null || version.tombstone ? null : version;
  }

  scan(space: Space, range: KeyRange, at: number, options: ScanOptions): Version[] {
    return scanMemtable(this.#memtable, space, range, at, options);
  }

  count(space: Space, range: KeyRange, at: number): number {
    return this.#memtable.count(space, range, at);
  }

  history(range: KeyRange, after: number, upTo: number, limit: number): ReturnType<Tree["history"]> {
    const versions: Version[] = [];
    const through = this.#memtable.history(range, after, upTo, limit, versions);
    return Promise.resolve({ versions, through });
  }

  apply(entry: Entry): void {
    this.#memtable.apply(entry);
  }
}

/** The live versions of a range where one memtable is all that there is. */
export function scanMemtable(
  memtable: Memtable,
  space: Space,
  range: KeyRange,
  at: number,
  options: ScanOptions,
): Version[] {
  const rows: Version[] = [];
  const limit = options.limit === 0 ? Number.POSITIVE_INFINITY : options.limit;
  const cursor = memtable.cursor(space, range, at, options.reverse === true);
  for (let version = cursor.version; version !== null && rows.length < limit; version = cursor.version) {
    if (!version.tombstone) rows.push(version);
    cursor.advance();
  }
  return rows;
}
