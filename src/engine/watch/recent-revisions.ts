import { assert } from "../../base/assert.ts";
import type { WatchEvent } from "./watch-event.ts";

export interface RecentBounds {
  readonly revisionsMax: number;
  readonly bytesMax: number;
}

/**
 * The newest revisions' events, bounded by number and bytes, so that a watcher that is a little behind needs no read of
 * the tree. What has been pushed out is read from the tree.
 */
export class RecentRevisions {
  readonly #bounds: RecentBounds;
  /** A ring: the revision r is at r % length. */
  readonly #ring: (readonly WatchEvent[] | undefined)[];
  #first: number;
  #next: number;
  #bytes = 0;

  /** `next`: the first revision that will be pushed. */
  constructor(next: number, bounds: RecentBounds) {
    this.#bounds = bounds;
    this.#ring = new Array<readonly WatchEvent[] | undefined>(bounds.revisionsMax).fill(undefined);
    this.#first = next;
    this.#next = next;
  }

  push(revision: number, events: readonly WatchEvent[]): void {
    assert(revision === this.#next, `revision ${this.#next} comes next, not ${revision}`);
    if (this.#next - this.#first === this.#ring.length) this.#dropFirst();
    this.#ring[revision % this.#ring.length] = events;
    this.#next = revision + 1;
    for (const event of events) this.#bytes += event.bytes;
    while (this.#bytes > this.#bounds.bytesMax) this.#dropFirst();
  }

  /** Forgets everything up to `revision`, which comes next and is not kept. */
  skip(revision: number): void {
    assert(revision === this.#next, `revision ${this.#next} comes next, not ${revision}`);
    while (this.#first < this.#next) this.#dropFirst();
    this.#first = this.#next = revision + 1;
  }

  #dropFirst(): void {
    const place = this.#first % this.#ring.length;
    for (const event of this.#ring[place]!) this.#bytes -= event.bytes;
    this.#ring[place] = undefined;
    this.#first++;
  }

  /** Whether every revision from `revision` on is here. */
  covers(revision: number): boolean {
    return revision >= this.#first;
  }

  /** Events of a revision that it covers. */
  at(revision: number): readonly WatchEvent[] {
    return this.#ring[revision % this.#ring.length]!;
  }
}
