import { assert } from "../../base/assert.ts";

/** What a heap holds: when it is due, and where in the heap it is (−1: nowhere). */
export interface Expiring {
  expiresMs: number;
  heapIndex: number;
}

/**
 * A binary heap by due time. An item knows its place, so that it can leave from anywhere. An item whose time has moved
 * on later than where it sits need not be told: it is put right when it comes up (a keep-alive costs nothing here).
 */
export class ExpiryHeap<T extends Expiring> {
  readonly #items: T[] = [];
  /** The time by which an item was placed; its own may be later by now. */
  readonly #placedMs: number[] = [];

  get size(): number {
    return this.#items.length;
  }

  add(item: T): void {
    assert(item.heapIndex === -1, "an item is in one heap once");
    this.#items.push(item);
    this.#placedMs.push(item.expiresMs);
    item.heapIndex = this.#items.length - 1;
    this.#up(item.heapIndex);
  }

  remove(item: T): void {
    const at = item.heapIndex;
    assert(this.#items[at] === item, "an item is where it thinks it is");
    item.heapIndex = -1;
    const last = this.#items.pop()!;
    const lastMs = this.#placedMs.pop()!;
    if (last === item) return;
    this.#items[at] = last;
    this.#placedMs[at] = lastMs;
    last.heapIndex = at;
    this.#up(at);
    this.#down(last.heapIndex);
  }

  /** The item due first, or null. */
  first(): T | null {
    while (this.#items.length > 0) {
      const item = this.#items[0]!;
      if (item.expiresMs <= this.#placedMs[0]!) return item;
      this.#placedMs[0] = item.expiresMs;
      this.#down(0);
    }
    return null;
  }

  /** For an item whose time has come nearer. */
  hasten(item: T): void {
    const at = item.heapIndex;
    if (at === -1 || item.expiresMs >= this.#placedMs[at]!) return;
    this.#placedMs[at] = item.expiresMs;
    this.#up(at);
  }

  #up(at: number): void {
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.#placedMs[parent]! <= this.#placedMs[at]!) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #down(at: number): void {
    for (;;) {
      let least = at;
      for (let child = 2 * at + 1; child <= 2 * at + 2 && child < this.#items.length; child++)
        if (this.#placedMs[child]! < this.#placedMs[least]!) least = child;
      if (least === at) return;
      this.#swap(at, least);
      at = least;
    }
  }

  #swap(a: number, b: number): void {
    const item = this.#items[a]!;
    const ms = this.#placedMs[a]!;
    this.#items[a] = this.#items[b]!;
    this.#placedMs[a] = this.#placedMs[b]!;
    this.#items[b] = item;
    this.#placedMs[b] = ms;
    this.#items[a]!.heapIndex = a;
    item.heapIndex = b;
  }
}
