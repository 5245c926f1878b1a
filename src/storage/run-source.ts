import { AssertionError, assert } from "../base/assert.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import type { EncodedBlock } from "./encoded-block.ts";
import type { Run } from "./run.ts";
import { chain } from "./run.ts";
import type { Space, Version } from "./storage.ts";
import type { OpenTable, Table } from "./table.ts";
import type { TableBlock } from "./table-block.ts";
import type { BlockHandle, IndexBlock } from "./table-index.ts";

/** What is fetched at once, as stored. */
const WINDOW_BYTES = 512 << 10;

/** Entries in the order of tables, one at a time. */
export interface EntrySource {
  /** The present one; null at the end. */
  readonly version: Version | null;
  readonly space: Space;
  advance(): MaybePromise<void>;
  /** The block that the present entry begins, where that may be taken as it is; `pass` then goes behind it. */
  readonly block: EncodedBlock | null;
  pass(): MaybePromise<void>;
}

interface Window {
  readonly table: Table;
  readonly open: OpenTable;
  readonly handles: readonly BlockHandle[];
  readonly bytes: Buffer;
  readonly offset: number;
}

/**
 * Reads a run from end to end, past the block cache, for merging. Two windows at most are in memory: the one being read
 * and the one being fetched.
 */
export class RunSource implements EntrySource {
  version: Version | null = null;
  space: Space = 0;
  readonly block = null;
  readonly #run: Run;
  #block: TableBlock | null = null;
  #i = 0;
  #window: Window | null = null;
  #nextInWindow = 0;
  #coming: Promise<Window | null> | null = null;
  /** Where the next window begins. */
  #t = 0;
  #p = 0;
  #b = 0;

  constructor(run: Run) {
    this.#run = run;
  }

  /** Goes to the first entry. */
  async start(): Promise<void> {
    await this.#toNextBlock();
  }

  pass(): never {
    throw new AssertionError("entries of tables are read one at a time");
  }

  advance(): MaybePromise<void> {
    const block = this.#block;
    assert(block !== null, "a source at its end does not advance");
    if (++this.#i < block.count) {
      this.version = block.version(this.#i);
      return;
    }
    return this.#toNextBlock();
  }

  #toNextBlock(): MaybePromise<void> {
    this.version = null;
    this.#block = null;
    const window = this.#window;
    if (window === null || this.#nextInWindow === window.handles.length) return this.#toNextWindow();
    const handle = window.handles[this.#nextInWindow++]!;
    const block = window.table.unpackBlock(window.open, handle, window.bytes, window.offset);
    return chain(block, (decoded) => {
      this.#block = decoded;
      this.#i = 0;
      this.space = handle.start.space as Space;
      this.version = decoded.version(0);
    });
  }

  async #toNextWindow(): Promise<void> {
    const coming = this.#coming ?? this.#fetchWindow();
    this.#coming = null;
    this.#window = await coming;
    this.#nextInWindow = 0;
    if (this.#window === null) return;
    this.#coming = this.#fetchWindow();
    // Whoever awaits it gets the failure; nobody may, if the merge ends early.
    this.#coming.catch(() => {});
    const moved = this.#toNextBlock();
    if (isPromise(moved)) await moved;
  }

  async #fetchWindow(): Promise<Window | null> {
    const table = this.#run.tables[this.#t];
    if (table === undefined) return null;
    const open = await table.open();
    const partition = await table.partition(open, this.#p);
    const first = this.#b;
    let last = first;
    let bytes = partition.storedBytes(first);
    while (last + 1 < partition.count && (bytes += partition.storedBytes(last + 1)) <= WINDOW_BYTES) last++;
    this.#moveTo(open, partition, last + 1);
    const fetched = await table.fetchBlocks(partition, first, last);
    return { table, open, handles: partition.handles(first, last + 1), ...fetched };
  }

  #moveTo(open: OpenTable, partition: IndexBlock, b: number): void {
    this.#b = b;
    if (b < partition.count) return;
    this.#b = 0;
    this.#p++;
    if (this.#p < open.top.count) return;
    this.#p = 0;
    this.#t++;
  }
}
