import { KEYS, type Space } from "./storage.ts";

/**
 * Where a flush begins a table before the one at hand is full, so that keys that come almost in order are hardly ever
 * rewritten: there the memtables before and after this one share keys with it at its ends alone.
 *
 *   before   [──────────────][tail]
 *   this                  [head][──────────────][tail]
 *   after                                    [head][────────
 *
 * A tail and the head above it are merged (merge-policy.ts), and what lies between them is moved as it is. Where the
 * ends are no small part of it (keys come in any order) nothing is cut.
 */
export interface FlushEnds {
  /** How many entries the memtable has. */
  readonly entries: number;
  /** Where the youngest run ends, if amid the user's keys. */
  readonly below: string | null;
  /** The least key that has come since: more of them come while the memtable is written. */
  above(): string | null;
}

/** A head, or a tail, has at most one in so many entries. */
const END_SHARE = 4;

export class TableCuts {
  readonly #ends: FlushEnds | null;
  #written = 0;
  #below: string | null;
  /** The tail has begun, or there is none. */
  #tailBegun = false;
  #nearEnd = false;
  #last = "";

  constructor(ends: FlushEnds | null) {
    this.#ends = ends;
    this.#below = ends?.below ?? null;
  }

  /** Entries of a block that begins with this key are next: the bound, not above it, where a table begins with it. */
  begin(space: Space, key: string): string | null {
    const ends = this.#ends;
    if (ends === null || space !== KEYS) return null;
    const below = this.#below;
    if (below !== null) {
      const isTooMuch = this.#written * END_SHARE > ends.entries;
      if (isTooMuch || key >= below) this.#below = null;
      if (!isTooMuch && key >= below) return this.#written > 0 ? below : null;
    }
    const above = this.#above(ends);
    const wasNearEnd = this.#nearEnd;
    this.#nearEnd = above !== null;
    if (above === null || key < above) return null;
    this.#tailBegun = true;
    // What has begun before the end is near is too much for a tail; and versions of a key stay together.
    const isTail = this.#written > 0 && (wasNearEnd || key === above) && this.#last !== key;
    return isTail ? this.#boundBefore(key, above) : null;
  }

  /** The block that was begun ends before this key; null: wherever it is full. */
  get limit(): string | null {
    return this.#below ?? (this.#ends === null ? null : this.#above(this.#ends));
  }

  /** So many, and this is the key of the last. */
  wrote(entries: number, last: string): void {
    this.#written += entries;
    this.#last = last;
  }

  /** A key that has come since the block before was begun may be less than the last one of that. */
  #boundBefore(key: string, above: string): string {
    return this.#last < above ? above : key;
  }

  #above(ends: FlushEnds): string | null {
    const isNearEnd = (ends.entries - this.#written) * END_SHARE <= ends.entries;
    return isNearEnd && !this.#tailBegun ? ends.above() : null;
  }
}
