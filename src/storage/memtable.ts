import { assert } from "../base/assert.ts";
import { Arena } from "./arena.ts";
import { MemtableCursor, MemtableSource } from "./memtable-cursor.ts";
import { MemtableKeys } from "./memtable-keys.ts";
import { type MemtableVersions, NO_ROW, ROW_BYTES } from "./memtable-versions.ts";
import { type Effect, type Entry, KEYS, type KeyRange, type Space, spaces, type Version } from "./storage.ts";
import type { StoredVersion } from "./stored-version.ts";

/**
 * About what a key costs in memory beside its bytes and its versions: the string, its hash and slots, its place in a
 * leaf.
 */
const KEY_OVERHEAD_BYTES = 100;
const HASH_SEED = 0x811c9dc5;
/** Fewer entries are applied one by one. */
const RUN_KEYS_MIN = 8;
const SPACES = Math.max(...Object.values(spaces)) + 1;

/**
 * The newest part of a branch's state, in memory: every version of the user's keys, and of all other spaces the newest
 * alone.
 *
 * Invariants:
 * 1. Entries of space 0 come in the order of (main, sub): the log's order. So rows are sorted by it, and history needs
 *    no index.
 * 2. A version that a reader has got hold of never changes; its bytes neither.
 * 3. The sum of a key's effects here is what this memtable changes in the number of live keys, also where only the
 *    newest version is kept: that one then carries the effects of those it replaced.
 */
export class Memtable {
  /** By space; made with its first entry. */
  readonly #spaces: (MemtableKeys | null)[] = new Array<MemtableKeys | null>(SPACES).fill(null);
  readonly #arena = new Arena();
  readonly #hashSeed: number;
  #overheadBytes = 0;
  #frozen = false;
  #entries = 0;
  #recordMax = 0;

  constructor(hashSeed = HASH_SEED) {
    this.#hashSeed = hashSeed;
  }

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

  /** The least key of space 0. */
  get leastKey(): string | null {
    return this.#spaces[KEYS]?.least ?? null;
  }

  /** Greatest revision in space 0; 0 for none. */
  get revisionMax(): number {
    const versions = this.#spaces[KEYS]?.versions;
    return versions === undefined ? 0 : versions.main(versions.count - 1);
  }

  /** Least revision in space 0; 0 for none. */
  get revisionMin(): number {
    return this.#spaces[KEYS]?.versions.main(0) ?? 0;
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
    this.#arena.add(entry.bytes, entry.start, entry.end);
    this.#apply(entry);
  }

  /** The same for an entry whose bytes never change: they may be kept instead of a copy. */
  applyKept(entry: Entry): void {
    this.#arena.keep(entry.bytes, entry.start, entry.end);
    this.#apply(entry);
  }

  /**
   * The same for the entries of one record. New keys in order, as loaders send them, mostly come where no other one
   * lies between them: then their place is looked for once.
   */
  applyAllKept(entries: readonly Entry[]): void {
    if (entries.length >= RUN_KEYS_MIN && areNewInOrder(entries)) {
      const keys = (this.#spaces[KEYS] ??= this.#makeSpace(KEYS));
      if (keys.isEmptyBetween(entries[0]!.key, entries.at(-1)!.key)) {
        this.#applyRun(keys, entries);
        return;
      }
    }
    for (const entry of entries) this.applyKept(entry);
  }

  #applyRun(keys: MemtableKeys, entries: readonly Entry[]): void {
    assert(!this.#frozen, "a frozen memtable takes no entry");
    const { versions } = keys;
    const { main, sub } = entries[0]!;
    this.#assertNext(versions, main, sub);
    keys.beginRun(entries[0]!.key);
    let nextSub = sub;
    for (const entry of entries) {
      const { key, bytes, start, end } = entry;
      assert(entry.main === main && entry.sub >= nextSub, "versions of keys come in the order of (main, sub)");
      nextSub = entry.sub + 1;
      this.#arena.keep(bytes, start, end);
      this.#overheadBytes += ROW_BYTES + KEY_OVERHEAD_BYTES + key.length;
      const first = { main, sub: entry.sub, tombstone: false, effect: 1 as const, sum: 1, older: NO_ROW };
      keys.insertNext(key, versions.add(keys.size, first, this.#arena));
    }
    this.#entries += entries.length;
  }

  /** Its value was added to the arena last. */
  #apply(entry: Entry): void {
    assert(!this.#frozen, "a frozen memtable takes no entry");
    assert(entry.effect >= -1 && entry.effect <= 1, "an effect is -1, 0 or 1");
    assert(!entry.tombstone || entry.start === entry.end, "a tombstone has no value");
    const keys = (this.#spaces[entry.space] ??= this.#makeSpace(entry.space));
    if (entry.space === KEYS) this.#applyVersion(keys, entry);
    else this.#applyNewest(keys, entry);
  }

  /** The newest version of `key` not newer than `at`, be it a tombstone; null if this memtable has none. */
  find(space: Space, key: string, at: number): StoredVersion | null {
    const keys = this.#spaces[space];
    if (keys === null || keys === undefined) return null;
    const id = keys.find(key);
    if (id < 0) return null;
    const row = keys.rowAt(id, at);
    return row === NO_ROW ? null : keys.versions.version(row, keys.key(id), this.#arena);
  }

  /** None of the user's keys from `first` to `last` is here. */
  isEmptyBetween(first: string, last: string): boolean {
    return this.#spaces[KEYS]?.isEmptyBetween(first, last) ?? true;
  }

  /** Sum of the effects not newer than `at` in `range`. */
  count(space: Space, range: KeyRange, at: number): number {
    return this.#spaces[space]?.count(range, at) ?? 0;
  }

  cursor(space: Space, range: KeyRange, at: number, reverse: boolean): MemtableCursor {
    return new MemtableCursor(this.#spaces[space] ?? null, this.#arena, { range, at, reverse });
  }

  /** All entries in the order of tables. */
  source(): MemtableSource {
    assert(this.#frozen, "only a frozen memtable is written out");
    return new MemtableSource(this.#spaces, this.#arena);
  }

  /**
   * Versions of space 0 in `range` with after < main <= upTo, in order, appended to `into`; stops behind a whole main
   * once it has added so many or more, or values of so many bytes. Returns the main up to which that is complete.
   */
  history(
    range: KeyRange,
    { after, upTo }: { after: number; upTo: number },
    most: { versions: number; bytes: number },
    into: Version[],
  ): number {
    const keys = this.#spaces[KEYS];
    if (keys === null || keys === undefined) return upTo;
    const { versions } = keys;
    let complete = after;
    const fullAt = into.length + most.versions;
    let bytes = 0;
    for (let row = versions.firstAbove(after); row < versions.count; row++) {
      const main = versions.main(row);
      if (main > upTo) break;
      if ((into.length >= fullAt || bytes >= most.bytes) && main > complete) return complete;
      complete = main;
      const key = keys.key(versions.key(row));
      if (key >= range.from && (range.to === null || key < range.to)) {
        const version = versions.version(row, key, this.#arena);
        into.push(version);
        bytes += version.end - version.start;
      }
    }
    return upTo;
  }

  #makeSpace(space: Space): MemtableKeys {
    assert(space >= 0 && space < SPACES, `space ${space} exists`);
    return new MemtableKeys(this.#hashSeed);
  }

  #applyVersion(keys: MemtableKeys, entry: Entry): void {
    const { versions } = keys;
    const { key, main, sub, tombstone, effect } = entry;
    this.#assertNext(versions, main, sub);
    this.#entries++;
    this.#overheadBytes += ROW_BYTES;
    const id = keys.find(key);
    if (id < 0) {
      this.#insert(keys, entry);
      return;
    }
    const older = keys.newest(id);
    const sum = versions.sum(older) + effect;
    assert(sum >= -1 && sum <= 1, "the effects of a key's entries add up to -1, 0 or 1");
    const row = versions.add(id, { main, sub, tombstone, effect, sum, older }, this.#arena);
    keys.setNewest(id, row, effect);
  }

  #assertNext(versions: MemtableVersions, main: number, sub: number): void {
    const last = versions.count - 1;
    const isNext = last < 0 || main > versions.main(last) || (main === versions.main(last) && sub > versions.sub(last));
    assert(isNext, "versions of keys come in the order of (main, sub)");
  }

  #applyNewest(keys: MemtableKeys, entry: Entry): void {
    const { versions } = keys;
    const { key, main, sub, tombstone, effect } = entry;
    if (main > this.#recordMax) this.#recordMax = main;
    this.#overheadBytes += ROW_BYTES;
    const id = keys.find(key);
    if (id < 0) {
      this.#entries++;
      this.#insert(keys, entry);
      return;
    }
    const replaced = keys.newest(id);
    const replacedMain = versions.main(replaced);
    const isNewer = main > replacedMain || (main === replacedMain && sub > versions.sub(replaced));
    assert(isNewer, "an entry is newer than those of its key before it");
    const sum = versions.sum(replaced) + effect;
    assert(sum >= -1 && sum <= 1, "the effects of a key's entries add up to -1, 0 or 1");
    const carried = { main, sub, tombstone, effect: sum as Effect, sum, older: NO_ROW };
    keys.setNewest(id, versions.add(id, carried, this.#arena), effect);
  }

  #insert(keys: MemtableKeys, entry: Entry): void {
    const { key, main, sub, tombstone, effect } = entry;
    this.#overheadBytes += KEY_OVERHEAD_BYTES + key.length;
    const first = { main, sub, tombstone, effect, sum: effect, older: NO_ROW };
    keys.insert(key, keys.versions.add(keys.size, first, this.#arena));
  }
}

/** First versions of the user's keys, in the order of these. */
function areNewInOrder(entries: readonly Entry[]): boolean {
  let last = "";
  for (const { space, key, effect, tombstone } of entries) {
    if (space !== KEYS || effect !== 1 || tombstone || key <= last) return false;
    last = key;
  }
  return true;
}
