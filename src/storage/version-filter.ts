import type { Memtable } from "./memtable.ts";
import { type Compacted, KEYS, type Version } from "./storage.ts";

/**
 * Tells which versions a compaction keeps. A run's are asked for key by key, the newest first, over all runs; a
 * memtable's in any order.
 *
 *   key    k      k        k      k
 *   main   9   at 7  through 5    2
 *          kept   kept     gone   gone     through < main: kept. Else: the newest one not above `at` alone
 */
export class VersionFilter {
  readonly #compacted: Compacted;
  /** The youngest first: all that is in them is newer than any run. */
  readonly #memtables: readonly Memtable[];
  #key: string | null = null;

  constructor(compacted: Compacted, memtables: readonly Memtable[]) {
    this.#compacted = compacted;
    this.#memtables = memtables.filter(({ revisionMin }) => revisionMin !== 0 && revisionMin <= compacted.at);
  }

  /** The runs are walked through anew. */
  restart(): void {
    this.#key = null;
  }

  /** Whether a run's version is kept. */
  keepsNext(key: string, main: number, tombstone: boolean): boolean {
    const { through, at } = this.#compacted;
    const isFirst = main <= at && key !== this.#key;
    if (isFirst) this.#key = key;
    if (main > through) return true;
    return isFirst && (!tombstone || main === through) && this.#newestInMemory(key) === null;
  }

  /** Whether a memtable's version is kept. */
  keepsInMemory({ key, main, sub, tombstone }: Version): boolean {
    if (main > this.#compacted.through) return true;
    if (tombstone && main !== this.#compacted.through) return false;
    const newest = this.#newestInMemory(key);
    return newest !== null && newest.main === main && newest.sub === sub;
  }

  #newestInMemory(key: string): Version | null {
    for (const memtable of this.#memtables) {
      const version = memtable.find(KEYS, key, this.#compacted.at);
      if (version !== null) return version;
    }
    return null;
  }
}
