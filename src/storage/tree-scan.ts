import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import type { Version } from "./storage.ts";

/** One layer's keys in a range, in order, each with the version that is seen there. */
export interface LayerCursor {
  readonly version: Version | null;
  advance(): MaybePromise<void>;
  /**
   * Where many can be had at once: those behind the present one that are at hand, without tombstones, until there are
   * `rowsMax` rows or they have `bytesLeft` bytes. The present one is then the last of them. Returns the bytes left.
   */
  takeFromBlock?(rows: Version[], rowsMax: number, bytesLeft: number): number;
}

/**
 * Merges the layers of a tree: of each key the youngest layer that sees a version of it decides. Runs as far as it can
 * without waiting; a promise is made only where a block has to be fetched.
 */
export class TreeScan {
  #rows: Version[] = [];
  /** Rows and bytes at which the page at hand ends. */
  #rowsMax = 0;
  #bytesLeft = 0;
  /** The first layer stands at a row that was given out. */
  #given = false;
  readonly #reverse: boolean;
  /** In the order of their keys, the younger first where keys are equal; none is at its end. */
  readonly #layers: { readonly cursor: LayerCursor; readonly age: number }[] = [];
  /** The layer that was moved and has to find its place among the others. */
  #moved = 0;
  #waiting = false;

  /** `cursors` have been started; the youngest first. */
  constructor(cursors: readonly LayerCursor[], reverse: boolean) {
    this.#reverse = reverse;
    for (let age = cursors.length - 1; age >= 0; age--) {
      this.#layers.unshift({ cursor: cursors[age]!, age });
      this.#place(0);
    }
  }

  /** Nothing is left. May be false when that is not known yet. */
  get ended(): boolean {
    return this.#layers.length === 0;
  }

  /** The next rows: until so many are there, or their values have so many bytes. None: the end. */
  page(rowsMax: number, bytesMax: number): MaybePromise<Version[]> {
    this.#rows = [];
    this.#rowsMax = rowsMax;
    this.#bytesLeft = bytesMax;
    let wait: Promise<void> | null = null;
    if (this.#given) {
      this.#given = false;
      wait = this.#advance(0);
    }
    wait ??= this.#step();
    return wait === null ? this.#rows : this.#pageLater(wait);
  }

  async #pageLater(wait: Promise<void>): Promise<Version[]> {
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
    const rows = this.#rows;
    while (layers.length > 0) {
      if (layers.length === 1) return this.#stepAlone(layers[0]!.cursor);
      const version = layers[0]!.cursor.version!;
      while (layers.length > 1 && layers[1]!.cursor.version!.key === version.key) {
        const wait = this.#advance(1);
        if (wait !== null) return wait;
      }
      if (!version.tombstone) {
        rows.push(version);
        this.#bytesLeft -= version.end - version.start;
        if (rows.length >= this.#rowsMax || this.#bytesLeft <= 0) {
          this.#given = true;
          break;
        }
      }
      const wait = this.#advance(0);
      if (wait !== null) return wait;
    }
    return null;
  }

  /** Where one layer is left there is nothing to compare. */
  #stepAlone(cursor: LayerCursor): Promise<void> | null {
    const rows = this.#rows;
    for (let version = cursor.version; version !== null; version = cursor.version) {
      if (!version.tombstone) {
        rows.push(version);
        this.#bytesLeft -= version.end - version.start;
        if (rows.length >= this.#rowsMax || this.#bytesLeft <= 0) {
          this.#given = true;
          return null;
        }
      }
      if (cursor.takeFromBlock !== undefined) {
        this.#bytesLeft = cursor.takeFromBlock(rows, this.#rowsMax, this.#bytesLeft);
        if (rows.length >= this.#rowsMax || this.#bytesLeft <= 0) {
          this.#given = true;
          return null;
        }
      }
      const wait = cursor.advance();
      if (isPromise(wait)) {
        this.#moved = 0;
        this.#waiting = true;
        return wait;
      }
    }
    this.#layers.length = 0;
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
