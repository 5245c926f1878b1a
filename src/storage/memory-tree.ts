import { AssertionError } from "../base/assert.ts";
import { Memtable } from "./memtable.ts";
import type {
  Entry,
  KeyRange,
  OrderedVersions,
  ScanOptions,
  Space,
  Tree,
  Version,
  VersionsRequest,
  Walk,
} from "./storage.ts";
import { TreeWalk } from "./tree-walk.ts";
import { VersionReader } from "./version-reader.ts";

/** A tree that lives in memory alone, without a bound: one memtable that is never written out. */
export function createMemoryTree(): Tree {
  return new MemoryTree();
}

/** No tables, so nothing that takes long or has to be sorted. */
const nothingBesides = {
  runtime: { clock: { monotonicMs: () => 0, wallMs: () => 0 }, timers: { set: unused, defer: unused } },
  runs: [],
  scratch: null,
  windowBytes: 0,
  onBlock: () => {},
  takeTurn: unused,
};

function unused(): never {
  throw new AssertionError("a tree in memory waits for nothing");
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

  isEmptyBetween(first: string, last: string): boolean {
    return this.#memtable.isEmptyBetween(first, last);
  }

  count(space: Space, range: KeyRange, at: number): number {
    return this.#memtable.count(space, range, at);
  }

  walk(range: KeyRange, at: number, reverse: boolean): Walk {
    const present = {
      layers: () => ({ memtables: [this.#memtable], runs: [] }),
      lists: () => true,
      droppedThrough: -1,
    };
    return new TreeWalk(present, { range, at: Math.min(at, this.#memtable.revisionMax), reverse });
  }

  versions(request: VersionsRequest): OrderedVersions {
    const memtable = this.#memtable;
    return new VersionReader({ ...nothingBesides, memtables: [memtable], head: memtable.revisionMax }, request);
  }

  apply(entry: Entry): void {
    this.#memtable.apply(entry);
  }

  applyKept(entry: Entry): void {
    this.#memtable.applyKept(entry);
  }

  applyAllKept(entries: readonly Entry[]): void {
    this.#memtable.applyAllKept(entries);
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
