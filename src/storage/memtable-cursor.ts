import { assert } from "../base/assert.ts";
import type { Arena } from "./arena.ts";
import { type MemtableKeys, Place } from "./memtable-keys.ts";
import { NO_ROW } from "./memtable-versions.ts";
import type { KeyRange, Space, Version } from "./storage.ts";
import type { StoredVersion } from "./stored-version.ts";

export interface CursorOptions {
  readonly range: KeyRange;
  readonly at: number;
  readonly reverse: boolean;
}

/**
 * Walks a range key by key, one version each: the newest not newer than `at`, be it a tombstone. Keys that are inserted
 * meanwhile do no harm: the cursor then finds its place again by its key.
 */
export class MemtableCursor {
  /** The present one; null at the end. */
  version: StoredVersion | null = null;
  readonly #keys: MemtableKeys | null;
  readonly #arena: Arena;
  readonly #range: KeyRange;
  readonly #at: number;
  readonly #reverse: boolean;
  readonly #place = new Place();
  /** Number of keys when the place was found. */
  #size = 0;

  constructor(keys: MemtableKeys | null, arena: Arena, options: CursorOptions) {
    this.#keys = keys;
    this.#arena = arena;
    this.#range = options.range;
    this.#at = options.at;
    this.#reverse = options.reverse;
    if (keys === null) return;
    this.#size = keys.size;
    if (options.reverse) {
      keys.seekBefore(this.#place, options.range.to);
      this.#settleBackward(keys);
    } else {
      keys.seek(this.#place, options.range.from);
      this.#settleForward(keys);
    }
  }

  advance(): void {
    const version = this.version;
    const keys = this.#keys;
    assert(version !== null && keys !== null, "a cursor at its end does not advance");
    const moved = this.#size !== keys.size;
    this.#size = keys.size;
    if (this.#reverse) {
      if (moved) keys.seekBefore(this.#place, version.key);
      else this.#place.backward();
      this.#settleBackward(keys);
    } else {
      if (moved) keys.seek(this.#place, version.key);
      // Keys are never removed: the place found again is that of the present key.
      this.#place.forward();
      this.#settleForward(keys);
    }
  }

  #settleForward(keys: MemtableKeys): void {
    const { to } = this.#range;
    const place = this.#place;
    for (let id = place.id(); id >= 0; id = place.id()) {
      if (to !== null && place.key() >= to) break;
      if (this.#take(keys, id)) return;
      place.forward();
    }
    this.version = null;
  }

  #settleBackward(keys: MemtableKeys): void {
    const { from } = this.#range;
    const place = this.#place;
    for (let id = place.id(); id >= 0; id = place.id()) {
      if (from !== "" && place.key() < from) break;
      if (this.#take(keys, id)) return;
      place.backward();
    }
    this.version = null;
  }

  #take(keys: MemtableKeys, id: number): boolean {
    const row = keys.rowAt(id, this.#at);
    if (row === NO_ROW) return false;
    this.version = keys.versions.version(row, keys.key(id), this.#arena);
    return true;
  }
}

/** Walks all entries of a frozen memtable in the order of tables: space, key, newest first. */
export class MemtableSource {
  space: Space = 0;
  version: Version | null = null;
  readonly #spaces: readonly (MemtableKeys | null)[];
  readonly #arena: Arena;
  readonly #place = new Place();
  #row = NO_ROW;

  constructor(spaces: readonly (MemtableKeys | null)[], arena: Arena) {
    this.#spaces = spaces;
    this.#arena = arena;
    this.#spaces[0]?.seek(this.#place, "");
    this.#settle();
  }

  advance(): void {
    assert(this.version !== null, "a source at its end does not advance");
    const keys = this.#spaces[this.space]!;
    const older = keys.versions.older(this.#row);
    if (older !== NO_ROW) {
      this.#take(keys, older);
      return;
    }
    this.#place.forward();
    this.#settle();
  }

  #settle(): void {
    let id = this.#place.id();
    while (id < 0 && this.space < this.#spaces.length - 1) {
      this.space = (this.space + 1) as Space;
      this.#spaces[this.space]?.seek(this.#place, "");
      id = this.#place.id();
    }
    const keys = this.#spaces[this.space] ?? null;
    if (id < 0 || keys === null) this.version = null;
    else this.#take(keys, keys.newest(id));
  }

  #take(keys: MemtableKeys, row: number): void {
    this.#row = row;
    this.version = keys.versions.version(row, keys.key(keys.versions.key(row)), this.#arena);
  }
}
