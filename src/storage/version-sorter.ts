import { assert } from "../base/assert.ts";
import type { Scratch } from "./scratch.ts";
import { type Spill, SpillMerge, SpillWriter } from "./spill.ts";
import type { Version } from "./storage.ts";
import { mainAt, readRecord, recordBytes, recordEnd, subAt, writeRecord } from "./version-record.ts";

const WINDOW_BYTES_MIN = 64 << 10;
/** So many spills are merged into one: bounds the files, and the pieces in memory, of a merge. */
const FAN_IN = 64;

/**
 * Sorts any number of versions by (main, sub) in bounded memory: windows of them are sorted and written to scratch
 * files, which are merged. What fits one window never touches the disk. Add all, `finish`, take all with `next`;
 * `discard` at any time, once.
 */
export class VersionSorter {
  readonly #scratch: Scratch;
  readonly #windowBytes: number;
  #window: Buffer = Buffer.alloc(0);
  #filled = 0;
  #records = 0;
  /** By level: spills of level n + 1 are each merged of FAN_IN spills of level n. */
  readonly #levels: Spill[][] = [];
  #order: Uint32Array | null = null;
  #next = 0;
  #merge: SpillMerge | null = null;
  #discarded = false;

  /** `windowBytes`: so much is gathered and sorted at a time. */
  constructor(scratch: Scratch, windowBytes: number) {
    this.#scratch = scratch;
    this.#windowBytes = windowBytes;
  }

  /** A promise: wait for it before anything else is asked. */
  add(version: Version): Promise<void> | undefined {
    const bytes = recordBytes(version);
    if (this.#filled + bytes > this.#window.length && !this.#grow(bytes)) {
      return this.#spill().then(() => {
        if (bytes > this.#window.length) this.#grow(bytes);
        this.#take(version);
      });
    }
    this.#take(version);
    return undefined;
  }

  #take(version: Version): void {
    this.#filled = writeRecord(this.#window, this.#filled, version);
    this.#records++;
  }

  /** False when the window has its full size and something in it. */
  #grow(bytes: number): boolean {
    const wanted = this.#filled + bytes;
    if (wanted > this.#windowBytes && this.#filled > 0) return false;
    const larger = Buffer.allocUnsafeSlow(
      Math.max(wanted, Math.min(this.#windowBytes, Math.max(WINDOW_BYTES_MIN, 2 * this.#window.length))),
    );
    this.#window.copy(larger, 0, 0, this.#filled);
    this.#window = larger;
    return true;
  }

  async finish(): Promise<void> {
    if (this.#levels.length === 0) {
      this.#order = sorted(this.#window, this.#filled, this.#records);
      return;
    }
    if (this.#filled > 0) await this.#spill();
    this.#window = Buffer.alloc(0);
    const spills = this.#levels.flat();
    this.#levels.length = 0;
    this.#merge = new SpillMerge(spills);
    await this.#merge.start();
  }

  /** The main of the next version; null at the end. */
  get nextMain(): number | null {
    if (this.#order !== null) {
      return this.#next === this.#order.length ? null : mainAt(this.#window, this.#order[this.#next]!);
    }
    return this.#merge?.first?.main ?? null;
  }

  /** Takes the next version, of which there is one. `advance` before the next. */
  take(): Version {
    if (this.#order !== null) return readRecord(this.#window, this.#order[this.#next]!);
    const reader = this.#merge!.first!;
    return readRecord(reader.buffer, reader.at);
  }

  advance(): Promise<void> | undefined {
    if (this.#order === null) return this.#merge!.advance();
    this.#next++;
    return undefined;
  }

  /** Removes the files. Versions taken stay as they are. */
  async discard(): Promise<void> {
    assert(!this.#discarded, "a sorter is discarded once");
    this.#discarded = true;
    await this.#merge?.discard();
    for (const spill of this.#levels.flat()) await spill.file.discard();
  }

  async #spill(): Promise<void> {
    const window = this.#window;
    const order = sorted(window, this.#filled, this.#records);
    const spill = await this.#write(async (writer) => {
      for (const at of order) {
        const written = writer.add(window, at, recordEnd(window, at));
        if (written !== undefined) await written;
      }
    });
    this.#filled = 0;
    this.#records = 0;
    if (window.length > this.#windowBytes) this.#window = Buffer.allocUnsafeSlow(this.#windowBytes);
    await this.#addSpill(spill, 0);
  }

  async #addSpill(spill: Spill, level: number): Promise<void> {
    const spills = (this.#levels[level] ??= []);
    spills.push(spill);
    if (spills.length < FAN_IN) return;
    const merge = new SpillMerge(spills);
    await merge.start();
    const merged = await this.#write(async (writer) => {
      for (let first = merge.first; first !== null; first = merge.first) {
        const written = writer.add(first.buffer, first.at, recordEnd(first.buffer, first.at));
        if (written !== undefined) await written;
        const moved = merge.advance();
        if (moved !== undefined) await moved;
      }
    });
    this.#levels[level] = [];
    await merge.discard();
    await this.#addSpill(merged, level + 1);
  }

  async #write(fill: (writer: SpillWriter) => Promise<void>): Promise<Spill> {
    const writer = await SpillWriter.create(this.#scratch);
    try {
      await fill(writer);
      return await writer.finish();
    } catch (error) {
      await writer.discard();
      throw error;
    }
  }
}

/** Where the records in window[0, filled) begin, in the order of (main, sub). */
function sorted(window: Buffer, filled: number, records: number): Uint32Array {
  const places = new Uint32Array(records);
  let mainMin = Number.MAX_SAFE_INTEGER;
  let mainMax = 0;
  for (let at = 0, i = 0; at < filled; at = recordEnd(window, at), i++) {
    places[i] = at;
    const main = mainAt(window, at);
    if (main < mainMin) mainMin = main;
    if (main > mainMax) mainMax = main;
  }
  const compare = (a: number, b: number): number =>
    mainAt(window, a) - mainAt(window, b) || subAt(window, a) - subAt(window, b);
  // Main and number in one sort key: sorted natively, without a callback for each comparison.
  if ((mainMax - mainMin + 1) * records > Number.MAX_SAFE_INTEGER) return places.sort(compare);
  const sortKeys = new Float64Array(records);
  for (let i = 0; i < records; i++) sortKeys[i] = (mainAt(window, places[i]!) - mainMin) * records + i;
  sortKeys.sort();
  const order = new Uint32Array(records);
  for (let i = 0; i < records; i++) order[i] = places[sortKeys[i]! % records]!;
  sortWithinMains(window, order);
  return order;
}

/** Records of one main lie together already: they are put in the order of sub. */
function sortWithinMains(window: Buffer, order: Uint32Array): void {
  for (let from = 0; from < order.length; ) {
    const main = mainAt(window, order[from]!);
    let to = from + 1;
    while (to < order.length && mainAt(window, order[to]!) === main) to++;
    if (to - from > 1) order.subarray(from, to).sort((a, b) => subAt(window, a) - subAt(window, b));
    from = to;
  }
}
