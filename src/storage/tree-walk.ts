import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import type { Memtable } from "./memtable.ts";
import type { Run } from "./run.ts";
import { RunCursor } from "./run-cursor.ts";
import { KEYS, type KeyRange, type Version, type Walk } from "./storage.ts";
import { type LayerCursor, TreeScan } from "./tree-scan.ts";

interface WalkOptions {
  readonly range: KeyRange;
  readonly at: number;
  readonly reverse: boolean;
}

/** A scan over layers, once the first key of each run is there. The youngest layers first. */
export function beginScan(
  memory: readonly LayerCursor[],
  runs: readonly RunCursor[],
  reverse: boolean,
): MaybePromise<TreeScan> {
  let waits: Promise<void>[] | null = null;
  for (const cursor of runs) {
    const wait = cursor.start();
    if (isPromise(wait)) (waits ??= []).push(wait);
  }
  const begin = (): TreeScan => new TreeScan([...memory, ...runs].filter(hasKeys), reverse);
  return waits === null ? begin() : Promise.all(waits).then(begin);
}

const hasKeys = (cursor: LayerCursor): boolean => cursor.version !== null;

/** Keeps the layers that it began with. The cursors find their places again when the memtable grows. */
export class TreeWalk implements Walk {
  readonly #memtables: readonly Memtable[];
  readonly #runs: readonly Run[];
  readonly #options: WalkOptions;
  #scan: MaybePromise<TreeScan> | null = null;

  constructor(memtables: readonly Memtable[], runs: readonly Run[], options: WalkOptions) {
    this.#memtables = memtables;
    this.#runs = runs;
    this.#options = options;
  }

  get ended(): boolean {
    const scan = this.#scan;
    return scan !== null && !isPromise(scan) && scan.ended;
  }

  next(rowsMax: number, bytesMax: number): MaybePromise<Version[]> {
    const scan = (this.#scan ??= this.#begin());
    if (!isPromise(scan)) return scan.page(rowsMax, bytesMax);
    return scan.then((begun) => {
      this.#scan = begun;
      return begun.page(rowsMax, bytesMax);
    });
  }

  again(): Walk {
    return new TreeWalk(this.#memtables, this.#runs, this.#options);
  }

  #begin(): MaybePromise<TreeScan> {
    const { range, at, reverse } = this.#options;
    const memory = this.#memtables.map((memtable) => memtable.cursor(KEYS, range, at, reverse));
    const runs = this.#runs.map((run) => new RunCursor(run, KEYS, range, at, reverse));
    return beginScan(memory, runs, reverse);
  }
}
