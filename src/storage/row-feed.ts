import { assert } from "../base/assert.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import { ByteWriter } from "./byte-writer.ts";
import type { MemtableSource } from "./memtable-cursor.ts";
import { sharedLength } from "./position.ts";
import type { EntrySource } from "./run-source.ts";
import type { Space, Version } from "./storage.ts";
import { decodeBlock, type TableBlock, writeEntry } from "./table-block.ts";

/** What is handed over at once: a millisecond of the event loop. */
const BATCH_BYTES = 256 << 10;
const BLOCK_BYTES = 64 << 10;

/** Entries of a memtable, encoded as blocks of tables are, one behind the other in `bytes`. Without blocks: the end. */
export interface RowBatch {
  readonly bytes: Uint8Array;
  readonly blocks: readonly { readonly space: Space; readonly count: number; readonly end: number }[];
}

/** Hands a frozen memtable over to who writes it as tables, in another thread: a memtable itself cannot go there. */
export class RowFeed {
  readonly #source: MemtableSource;

  constructor(source: MemtableSource) {
    this.#source = source;
  }

  next(): RowBatch {
    const source = this.#source;
    const writer = new ByteWriter(BATCH_BYTES + BLOCK_BYTES);
    const blocks: { space: Space; count: number; end: number }[] = [];
    while (source.version !== null && writer.at < BATCH_BYTES) {
      const { space } = source;
      const start = writer.at;
      let count = 0;
      let last = "";
      for (
        let version: Version | null = source.version;
        version !== null && source.space === space && writer.at - start < BLOCK_BYTES;
        version = source.version
      ) {
        const { key } = version;
        writeEntry(writer, version, version.effect, count === 0 ? 0 : sharedLength(last, key));
        last = key;
        count++;
        source.advance();
      }
      blocks.push({ space, count, end: writer.at });
    }
    return { bytes: writer.view(), blocks };
  }
}

/** The other end: the entries of one memtable, asked for batch by batch, one ahead. */
export class RowSource implements EntrySource {
  version: Version | null = null;
  space: Space = 0;
  readonly #ask: () => Promise<RowBatch>;
  #batch: RowBatch | null = null;
  #coming: Promise<RowBatch> | null = null;
  #nextBlock = 0;
  #block: TableBlock | null = null;
  #i = 0;

  constructor(ask: () => Promise<RowBatch>) {
    this.#ask = ask;
  }

  /** Goes to the first entry. */
  async start(): Promise<void> {
    const moved = this.#toNextBlock();
    if (isPromise(moved)) await moved;
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
    const batch = this.#batch;
    if (batch === null || this.#nextBlock === batch.blocks.length) return this.#toNextBatch();
    const { space, count, end } = batch.blocks[this.#nextBlock]!;
    const start = this.#nextBlock === 0 ? 0 : batch.blocks[this.#nextBlock - 1]!.end;
    this.#nextBlock++;
    const { buffer, byteOffset } = batch.bytes;
    const block = decodeBlock(Buffer.from(buffer, byteOffset + start, end - start), count);
    this.#block = block;
    this.#i = 0;
    this.space = space;
    this.version = block.version(0);
  }

  async #toNextBatch(): Promise<void> {
    const batch = await (this.#coming ?? this.#ask());
    this.#coming = null;
    this.#batch = batch;
    this.#nextBlock = 0;
    if (batch.blocks.length === 0) return;
    this.#coming = this.#ask();
    // Whoever awaits it gets the failure; nobody may, if the merge ends early.
    this.#coming.catch(() => {});
    const moved = this.#toNextBlock();
    if (isPromise(moved)) await moved;
  }
}
