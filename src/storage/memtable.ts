import { assert } from "../base/assert.ts";
import { Arena } from "./arena.ts";
import { MemoryKey, MemoryKeys, MemoryVersion, Place } from "./memtable-keys.ts";
import { type Effect, type Entry, KEYS, type KeyRange, type Space, spaces, type Version } from "./storage.ts";

/** About what a key and a version cost in memory beside their bytes (measured). */
const KEY_OVERHEAD_BYTES = 150;
const VERSION_OVERHEAD_BYTES = 112;

const SPACES: readonly Space[] = Object.values(spaces).sort((a, b) => a - b);

/**
 * The newest part of a branch's state, in memory: every version of the user's keys, and of all other spaces the newest alone.
 *
 * Invariants:
 * 1. Entries of space 0 come in the order of (main, sub): the log's order. So `#log` is sorted, and history needs no index.
 * 2. A version that a reader has got hold of never changes; its bytes neither.
 * 3. The sum of a key's effects here is what this memtable changes in the number of live keys, also where only the newest
 *    version is kept: that one then carries the effects of those it replaced.
 */
export class Memtable {
  readonly #keys: MemoryKeys[] = SPACES.map(() => new MemoryKeys());
  /** All versions of space 0 as they came. */
  readonly #log: MemoryVersion[] = [];
  readonly #arena = new Arena();
  #overheadBytes = 0;
  #frozen = false;
  #entries = 0;
  /** Greatest main of the other spaces' entries (record numbers); 0 for none. */
  #recordMax = 0;

  /** Memory taken, about. */
  get bytes(): number {
    return this.#arena.used + this.#overheadBytes;
  }

  /** Versions held. */
  get entries(): number {
    return this.#entries;
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  /** Greatest revision in space 0; 0 for none. */
  get revisionMax(): number {
    const log = this.#log;
    return log.length === 0 ? 0 : log[log.length - 1]!.main;
  }

  /** Least revision in space 0; 0 for none. */
  get revisionMin(): number {
    return this.#log.length === 0 ? 0 : this.#log[0]!.main;
  }

  /** Greatest record number among the other spaces' entries; 0 for none. */
  get recordMax(): number {
    return this.#recordMax;
  }

  /** No entry is added from now on. */
  freeze(): void {
    this.#frozen = true;
  }

  apply(entry: Entry): void {
    assert(!this.#frozen, "a frozen memtable takes no entry");
    assert(entry.effect >= -1 && entry.effect <= 1, "an effect is -1, 0 or 1");
    if (entry.space === KEYS) this.#applyVersion(entry);
    else this.#applyNewest(entry);
  }

  /** The newest version of `key` not newer than `at`, be it a tombstone; null if this memtable has none. */
  find(space: Space, key: string, at: number): MemoryVersion | null {
    const found = this.#keys[space]!.find(key);
    return found === undefined ? null : found.versionAt(at);
  }

  /** Sum of the effects not newer than `at` in `range`. */
  count(space: Space, range: KeyRange, at: number): number {
    return this.#keys[space]!.count(range, at);
  }

  cursor(space: Space, range: KeyRange, at: number, reverse: boolean): MemtableCursor {
    return new MemtableCursor(this.#keys[space]!, range, at, reverse);
  }

  /** All entries in the order of tables. */
  source(): MemtableSource {
    assert(this.#frozen, "only a frozen memtable is written out");
    return new MemtableSource(this.#keys);
  }

  /**
   * Versions of space 0 in `range` with after < main <= upTo, in order, appended to `into`; stops behind a whole main once `into` holds
   * `limit` or more. Returns the main up to which that is complete.
   */
  history(range: KeyRange, after: number, upTo: number, limit: number, into: Version[]): number {
    const log = this.#log;
    let complete = after;
    for (let at = firstAbove(log, after); at < log.length; at++) {
      const version = log[at]!;
      if (version.main > upTo) break;
      if (into.length >= limit && version.main > complete) return complete;
      complete = version.main;
      if (version.key >= range.from && (range.to === null || version.key < range.to)) into.push(version);
    }
    return upTo;
  }

  #applyVersion(entry: Entry): void {
    const log = this.#log;
    const last = log.length === 0 ? null : log[log.length - 1]!;
    assert(
      last === null || entry.main > last.main || (entry.main === last.main && entry.sub > last.sub),
      "versions of keys come in the order of (main, sub)",
    );
    const keys = this.#keys[KEYS]!;
    const found = keys.find(entry.key);
    const version = this.#store(
      entry,
      entry.effect,
      (found === undefined ? 0 : found.newest.sum) + entry.effect,
      found,
    );
    log.push(version);
    this.#entries++;
    if (found === undefined) {
      this.#overheadBytes += KEY_OVERHEAD_BYTES + entry.key.length;
      keys.insert(new MemoryKey(entry.key, version));
      return;
    }
    if (found.older === null) found.older = [found.newest];
    else found.older.push(found.newest);
    found.newest = version;
    if (entry.effect === 0) return;
    found.effectMain = entry.main;
    keys.addEffect(entry.key, entry.effect, entry.main);
  }

  #applyNewest(entry: Entry): void {
    const keys = this.#keys[entry.space];
    assert(keys !== undefined, `space ${entry.space} exists`);
    if (entry.main > this.#recordMax) this.#recordMax = entry.main;
    const found = keys.find(entry.key);
    if (found === undefined) {
      this.#entries++;
      this.#overheadBytes += KEY_OVERHEAD_BYTES + entry.key.length;
      keys.insert(new MemoryKey(entry.key, this.#store(entry, entry.effect, entry.effect, undefined)));
      return;
    }
    const old = found.newest;
    assert(
      entry.main > old.main || (entry.main === old.main && entry.sub > old.sub),
      "an entry is newer than those of its key before it",
    );
    const sum = old.effect + entry.effect;
    assert(sum >= -1 && sum <= 1, "the effects of a key's entries add up to -1, 0 or 1");
    this.#overheadBytes -= VERSION_OVERHEAD_BYTES;
    found.newest = this.#store(entry, sum as Effect, sum, found);
    if (sum !== 0) found.effectMain = entry.main;
    keys.addEffect(entry.key, entry.effect, entry.main);
  }

  #store(entry: Entry, effect: Effect, sum: number, found: MemoryKey | undefined): MemoryVersion {
    const arena = this.#arena;
    assert(!entry.tombstone || entry.start === entry.end, "a tombstone has no value");
    arena.add(entry.bytes, entry.start, entry.end);
    this.#overheadBytes += VERSION_OVERHEAD_BYTES;
    const key = found === undefined ? entry.key : found.key;
    const { main, sub, tombstone } = entry;
    return new MemoryVersion(key, main, sub, tombstone, effect, arena.bytes, arena.start, arena.end, sum);
  }
}

/** Index of the first version with a main above `after`. */
function firstAbove(log: MemoryVersion[], after: number): number {
  let low = 0;
  let high = log.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (log[middle]!.main <= after) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Walks a range key by key, one version each: the newest not newer than `at`, be it a tombstone. Keys that are inserted
 * meanwhile do no harm: the cursor then finds its place again by its key.
 */
export class MemtableCursor {
  /** The present one; null at the end. */
  version: MemoryVersion | null = null;
  readonly #keys: MemoryKeys;
  readonly #range: KeyRange;
  readonly #at: number;
  readonly #reverse: boolean;
  readonly #place = new Place();
  #changes: number;

  constructor(keys: MemoryKeys, range: KeyRange, at: number, reverse: boolean) {
    this.#keys = keys;
    this.#range = range;
    this.#at = at;
    this.#reverse = reverse;
    this.#changes = keys.changes;
    if (reverse) {
      keys.seekBefore(this.#place, range.to);
      this.#settleBackward();
    } else {
      keys.seek(this.#place, range.from);
      this.#settleForward();
    }
  }

  advance(): void {
    const version = this.version;
    assert(version !== null, "a cursor at its end does not advance");
    const moved = this.#changes !== this.#keys.changes;
    this.#changes = this.#keys.changes;
    if (this.#reverse) {
      if (moved) this.#keys.seekBefore(this.#place, version.key);
      else this.#place.backward();
      this.#settleBackward();
    } else {
      if (moved) this.#keys.seek(this.#place, version.key);
      if (!moved || this.#place.entry()?.key === version.key) this.#place.forward();
      this.#settleForward();
    }
  }

  #settleForward(): void {
    const to = this.#range.to;
    for (let entry = this.#place.entry(); entry !== null; entry = this.#place.entry()) {
      if (to !== null && entry.key >= to) break;
      const version = entry.versionAt(this.#at);
      if (version !== null) {
        this.version = version;
        return;
      }
      this.#place.forward();
    }
    this.version = null;
  }

  #settleBackward(): void {
    const from = this.#range.from;
    for (let entry = this.#place.entry(); entry !== null; entry = this.#place.entry()) {
      if (entry.key < from) break;
      const version = entry.versionAt(this.#at);
      if (version !== null) {
        this.version = version;
        return;
      }
      this.#place.backward();
    }
    this.version = null;
  }
}

/** Walks all entries of a frozen memtable in the order of tables: space, key, newest first. */
export class MemtableSource {
  space: Space = KEYS;
  version: Version | null = null;
  readonly #keys: MemoryKeys[];
  readonly #place = new Place();
  /** Older versions of the present key that are still to come. */
  #older = 0;

  constructor(keys: MemoryKeys[]) {
    this.#keys = keys;
    keys[KEYS]!.seek(this.#place, "");
    this.#settle();
  }

  advance(): void {
    const entry = this.#place.entry();
    assert(entry !== null, "a source at its end does not advance");
    if (this.#older > 0) {
      this.version = entry.older![--this.#older]!;
      return;
    }
    this.#place.forward();
    this.#settle();
  }

  #settle(): void {
    let entry = this.#place.entry();
    while (entry === null && this.space < this.#keys.length - 1) {
      this.space = (this.space + 1) as Space;
      this.#keys[this.space]!.seek(this.#place, "");
      entry = this.#place.entry();
    }
    this.version = entry === null ? null : entry.newest;
    this.#older = entry === null || entry.older === null ? 0 : entry.older.length;
  }
}
