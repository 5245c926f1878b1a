import { isPromise, type MaybePromise } from "../../base/maybe-promise.ts";
import type { Memtable } from "../../storage/memtable.ts";
import type { MemtableCursor } from "../../storage/memtable-cursor.ts";
import type { Run } from "../../storage/run.ts";
import { RunVersions } from "../../storage/run-versions.ts";
import { KEYS, type KeyRange, type Version } from "../../storage/storage.ts";

interface Layer {
  /** Of the present key the newest version of the window; null at the end. */
  readonly version: Version | null;
  advance(): MaybePromise<void>;
}

export interface LayerWindow {
  readonly range: KeyRange;
  /** Versions with after < main <= upTo; blocks that have none are not read. */
  readonly after: number;
  readonly upTo: number;
}

/**
 * The keys of some layers in order, each with the newest version of a window of revisions that any of them has, be it a
 * tombstone. In memory are two windows of blocks for each run.
 */
export class NewestInLayers {
  readonly #layers: readonly Layer[];
  /** Blocks that were read. */
  blocks = 0;

  constructor(memtables: readonly Memtable[], runs: readonly Run[], window: LayerWindow) {
    const onBlock = (): void => {
      this.blocks++;
    };
    this.#layers = [
      ...memtables.map((memtable) => new MemoryLayer(memtable, window)),
      ...runs.map((run) => new RunLayer(new RunVersions(run, window, onBlock))),
    ];
  }

  /** Goes to the first keys; before anything else. */
  async start(): Promise<void> {
    for (const layer of this.#layers) await layer.advance();
  }

  /** Null at the end. */
  next(): MaybePromise<Version | null> {
    let least: Version | null = null;
    for (const { version } of this.#layers) {
      if (version !== null && (least === null || comesFirst(version, least))) least = version;
    }
    if (least === null) return null;
    let waits: Promise<void>[] | null = null;
    for (const layer of this.#layers) {
      if (layer.version?.key !== least.key) continue;
      const wait = layer.advance();
      if (isPromise(wait)) (waits ??= []).push(wait);
    }
    return waits === null ? least : Promise.all(waits).then(() => least);
  }
}

const comesFirst = (a: Version, b: Version): boolean =>
  a.key === b.key ? a.main > b.main || (a.main === b.main && a.sub > b.sub) : a.key < b.key;

class MemoryLayer implements Layer {
  readonly #cursor: MemtableCursor;
  readonly #after: number;
  #began = false;

  constructor(memtable: Memtable, { range, after, upTo }: LayerWindow) {
    this.#cursor = memtable.cursor(KEYS, range, upTo, false);
    this.#after = after;
  }

  get version(): Version | null {
    return this.#began ? this.#cursor.version : null;
  }

  advance(): void {
    const cursor = this.#cursor;
    if (this.#began) cursor.advance();
    this.#began = true;
    while (cursor.version !== null && cursor.version.main <= this.#after) cursor.advance();
  }
}

class RunLayer implements Layer {
  version: Version | null = null;
  readonly #walk: RunVersions;

  constructor(walk: RunVersions) {
    this.#walk = walk;
  }

  /** Past the older versions of the present key. */
  advance(): MaybePromise<void> {
    for (;;) {
      const wait = this.#walk.advance();
      if (isPromise(wait)) return this.#advanceLater(wait);
      if (this.#take()) return;
    }
  }

  async #advanceLater(wait: Promise<void>): Promise<void> {
    await wait;
    while (!this.#take()) await this.#walk.advance();
  }

  #take(): boolean {
    const { block, i } = this.#walk;
    if (block !== null && this.version !== null && block.hasKey(i, this.version.key)) return false;
    this.version = block === null ? null : block.version(i);
    return true;
  }
}
