import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import type { Version } from "./storage.ts";

/** One layer's keys in a range, in order, each with the version that is seen there. */
export interface LayerCursor {
  readonly version: Version | null;
  advance(): MaybePromise<void>;
}

/**
 * Merges the layers of a tree: of each key the youngest layer that sees a version of it decides. Runs as far as it can
 * without waiting; a promise is made only where a block has to be fetched.
 */
export class TreeScan {
  readonly #rows: Version[] = [];
  readonly #limit: number;
  readonly #reverse: boolean;
  /** In the order of their keys, the younger first where keys are equal; none is at its end. */
  readonly #layers: { readonly cursor: LayerCursor; readonly age: number }[] = [];
  /** The layer that was moved and has to find its place among the others. */
  #moved = 0;
  #waiting = false;

  /** `cursors` have been started; the youngest first. */
  constructor(cursors: readonly LayerCursor[], limit: number, reverse: boolean) {
    this.#limit = limit === 0 ? Number.POSITIVE_INFINITY : limit;
    this.#reverse = reverse;
    for (let age = cursors.length - 1; age >= 0; age--) {
      this.#layers.unshift({ cursor: cursors[age]!, age });
      this.#place(0);
    }
  }

  run(): MaybePromise<Version[]> {
    const wait = this.#step();
    return wait === null ? this.#rows : this.#runLater(wait);
  }

  async #runLater(wait: Promise<void>): Promise<Version[]> {
    for (let next: Promise<void> | null = wait; next !== null; next = this.#step()) await next;
    return this.#rows;
  }

  /** Null when done; else what to wait for before the next call. */
  #step(): Promise<void> | null {
    if (this.#waiting) {
      this.#waiting = false;
      this.#place(this.#moved);
    }
    const layers = this.#layers;
    while (layers.length > 0 && this.#rows.length < this.#limit) {
      const version = layers[0]!.cursor.version!;
      while (layers.length > 1 && layers[1]!.cursor.version!.key === version.key) {
        const wait = this.#advance(1);
        if (wait !== null) return wait;
      }
      if (!version.tombstone) {
        this.#rows.push(version);
        if (this.#rows.length === this.#limit) break;
      }
      const wait = this.#advance(0);
      if (wait !== null) return wait;
    }
    return null;
  }

  #advance(i: number): Promise<void> | null {
    const wait = this.#layers[i]!.cursor.advance();
    if (isPromise(wait)) {
      this.#moved = i;
      this.#waiting = true;
      return wait;
    }
    this.#place(i);
    return null;
  }

  /** Puts layer `i`, whose key has moved on, where it belongs among those behind it. */
  #place(i: number): void {
    const layers = this.#layers;
    const layer = layers[i]!;
    const { version } = layer.cursor;
    if (version === null) {
      layers.splice(i, 1);
      return;
    }
    let at = i;
    for (; at + 1 < layers.length; at++) {
      const next = layers[at + 1]!;
      const nextKey = next.cursor.version!.key;
      if (version.key === nextKey ? layer.age < next.age : version.key < nextKey !== this.#reverse) break;
      layers[at] = next;
    }
    layers[at] = layer;
  }
}
