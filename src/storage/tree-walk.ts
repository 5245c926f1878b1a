import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import { checkKept, type PresentLayers, resumes } from "./lasting-reads.ts";
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

/** Keeps the layers that it began with, as long as they last. The cursors find their places again as memtables grow. */
export class TreeWalk implements Walk {
  readonly #present: PresentLayers;
  readonly #options: WalkOptions;
  #layers: Layers;
  /** What is left of the options' range. */
  #range: KeyRange;
  #scan: MaybePromise<TreeScan> | null = null;

  constructor(present: PresentLayers, options: WalkOptions, layers: Layers = present.layers()) {
    this.#present = present;
    this.#options = options;
    this.#layers = layers;
    this.#range = options.range;
  }

  get ended(): boolean {
    const scan = this.#scan;
    return scan !== null && !isPromise(scan) && scan.ended;
  }

  next(rowsMax: number, bytesMax: number): MaybePromise<Version[]> {
    const page = this.#page(rowsMax, bytesMax);
    if (!isPromise(page)) return this.#given(page);
    return page.then(
      (rows) => this.#given(rows),
      (error: unknown) => this.#goOn(error, { rowsMax, bytesMax }),
    );
  }

  again(): Walk {
    return new TreeWalk(this.#present, this.#options, this.#layers);
  }

  #page(rowsMax: number, bytesMax: number): MaybePromise<Version[]> {
    const scan = (this.#scan ??= this.#begin());
    if (!isPromise(scan)) return scan.page(rowsMax, bytesMax);
    return scan.then((begun) => {
      this.#scan = begun;
      return begun.page(rowsMax, bytesMax);
    });
  }

  #given(rows: Version[]): Version[] {
    const last = rows.at(-1);
    if (last === undefined) return rows;
    const { from, to } = this.#range;
    this.#range = this.#options.reverse ? { from, to: last.key } : { from: `${last.key}\0`, to };
    return rows;
  }

  /** Once more behind the last row that was given. */
  async #goOn(error: unknown, { rowsMax, bytesMax }: { rowsMax: number; bytesMax: number }): Promise<Version[]> {
    let failure = error;
    for (let attempt = 0; resumes(failure, this.#present, attempt); attempt++) {
      checkKept(this.#options.at, this.#present);
      this.#layers = this.#present.layers();
      this.#scan = null;
      try {
        return this.#given(await this.#page(rowsMax, bytesMax));
      } catch (next) {
        failure = next;
      }
    }
    throw failure;
  }

  #begin(): MaybePromise<TreeScan> {
    const { at, reverse } = this.#options;
    const { memtables, runs } = this.#layers;
    const memory = memtables.map((memtable) => memtable.cursor(KEYS, this.#range, at, reverse));
    const cursors = runs.map((run) => new RunCursor(run, KEYS, this.#range, at, reverse));
    return beginScan(memory, cursors, reverse);
  }
}

type Layers = ReturnType<PresentLayers["layers"]>;
