import { assert } from "../base/assert.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import { ByteReader } from "../base/varint.ts";
import { ByteWriter } from "./byte-writer.ts";
import type { EncodedBlock } from "./encoded-block.ts";
import type { MemtableSource } from "./memtable-cursor.ts";
import { MAIN_NEWEST, type Position, sharedLength } from "./position.ts";
import type { EntrySource } from "./run-source.ts";
import { KEYS, type Space, type Version } from "./storage.ts";
import { StoredVersion } from "./stored-version.ts";
import { decodeBlock, readEntryHead, type TableBlock, writeEntry } from "./table-block.ts";
import { type FlushEnds, TableCuts } from "./table-cuts.ts";

/** What is handed over at once: a millisecond of the event loop. */
const BATCH_BYTES = 256 << 10;

/** Entries of a memtable, encoded as blocks of tables are, one behind the other in `bytes`. Without blocks: the end. */
export interface RowBatch {
  readonly bytes: Uint8Array;
  readonly blocks: readonly RowBlock[];
}

interface RowBlock {
  readonly count: number;
  readonly end: number;
  readonly last: Position;
  readonly mainMin: number;
  readonly tableAt: string | null;
}

/**
 * Hands a frozen memtable over to who writes it as tables, in another thread: a memtable itself cannot go there. Blocks
 * are of the size that they have in tables, so that they can go there as they are.
 */
export class RowFeed {
  readonly #source: MemtableSource;
  readonly #blockBytes: number;
  readonly #cuts: TableCuts;

  constructor(source: MemtableSource, blockBytes: number, ends: FlushEnds | null = null) {
    this.#source = source;
    this.#blockBytes = blockBytes;
    this.#cuts = new TableCuts(ends);
  }

  /**
   * `spare`: the memory of a batch that was given before and is not looked at any more; null for none. Batches go to
   * and fro in shared memory, without a copy: who gives one does not touch it until it comes back.
   */
  next(spare: Uint8Array | null = null): RowBatch {
    const source = this.#source;
    const writer = new ByteWriter(
      spare === null
        ? Buffer.from(new SharedArrayBuffer(BATCH_BYTES + 2 * this.#blockBytes))
        : Buffer.from(spare.buffer, spare.byteOffset, spare.byteLength),
    );
    const blocks: RowBlock[] = [];
    while (source.version !== null && writer.at < BATCH_BYTES) blocks.push(this.#writeBlock(writer, source.version));
    return { bytes: writer.view(), blocks };
  }

  #writeBlock(writer: ByteWriter, first: Version): RowBlock {
    const source = this.#source;
    const { space } = source;
    const full = writer.at + this.#blockBytes;
    const tableAt = this.#cuts.begin(space, first.key);
    const limit = space === KEYS ? this.#cuts.limit : null;
    let count = 0;
    let mainMin = MAIN_NEWEST;
    let last = first;
    for (
      let version: Version | null = first;
      version !== null && source.space === space && writer.at < full && (limit === null || version.key < limit);
      version = source.version
    ) {
      writeEntry(writer, version, version.effect, count === 0 ? 0 : sharedLength(last.key, version.key));
      if (version.main < mainMin) mainMin = version.main;
      last = version;
      count++;
      source.advance();
    }
    assert(count > 0, "a block has an entry");
    this.#cuts.wrote(count, last.key);
    const { key, main, sub } = last;
    return { count, end: writer.at, last: { space, key, main, sub }, mainMin, tableAt };
  }
}

/** The other end: the entries of one memtable, asked for batch by batch, one ahead. */
export class RowSource implements EntrySource {
  version: Version | null = null;
  space: Space = 0;
  block: EncodedBlock | null = null;
  readonly #ask: (spare: Uint8Array | null) => Promise<RowBatch>;
  #batch: RowBatch | null = null;
  /** Entries of the batch were given one by one: whoever got one may still look at its bytes. */
  #isHeld = false;
  #coming: Promise<RowBatch> | null = null;
  #nextBlock = 0;
  /** What `block` was, once entries of it are read one at a time. */
  #decoded: TableBlock | null = null;
  #i = 0;

  constructor(ask: (spare: Uint8Array | null) => Promise<RowBatch>) {
    this.#ask = ask;
  }

  /** Goes to the first entry. */
  async start(): Promise<void> {
    const moved = this.pass();
    if (isPromise(moved)) await moved;
  }

  advance(): MaybePromise<void> {
    const { block } = this;
    if (block !== null) {
      this.#isHeld = true;
      this.#decoded = decodeBlock(block.bytes, block.count);
      this.#i = 0;
      this.block = null;
    }
    const decoded = this.#decoded;
    assert(decoded !== null, "a source at its end does not advance");
    if (++this.#i < decoded.count) {
      this.version = decoded.version(this.#i);
      return;
    }
    return this.pass();
  }

  /** To the next block. */
  pass(): MaybePromise<void> {
    this.version = null;
    this.block = null;
    this.#decoded = null;
    const batch = this.#batch;
    if (batch === null || this.#nextBlock === batch.blocks.length) return this.#toNextBatch();
    const { count, end, last, mainMin, tableAt } = batch.blocks[this.#nextBlock]!;
    const start = this.#nextBlock === 0 ? 0 : batch.blocks[this.#nextBlock - 1]!.end;
    this.#nextBlock++;
    const { buffer, byteOffset } = batch.bytes;
    const bytes = Buffer.from(buffer, byteOffset + start, end - start);
    const { space } = last;
    const version = firstEntry(bytes, space);
    this.space = space as Space;
    this.version = version;
    const { key, main, sub } = version;
    this.block = { space: this.space, count, bytes, first: { space, key, main, sub }, last, mainMin, tableAt };
  }

  async #toNextBatch(): Promise<void> {
    const done = this.#batch;
    const batch = await (this.#coming ?? this.#ask(null));
    const spare = done === null || this.#isHeld ? null : new Uint8Array(done.bytes.buffer);
    this.#coming = null;
    this.#batch = batch;
    this.#isHeld = false;
    this.#nextBlock = 0;
    if (batch.blocks.length === 0) return;
    // Its memory goes back for the batch after the next: fresh memory costs a fault a page, and prods the collector.
    this.#coming = this.#ask(spare);
    // Whoever awaits it gets the failure; nobody may, if the merge ends early.
    this.#coming.catch(() => {});
    const moved = this.pass();
    if (isPromise(moved)) await moved;
  }
}

function firstEntry(bytes: Buffer, space: number): Version {
  const reader = new ByteReader(bytes);
  const shared = reader.varint();
  assert(shared === 0, "the first key of a block shares with none");
  const keyBytes = reader.varint();
  const keyStart = reader.skip(keyBytes);
  const key = bytes.latin1Slice(keyStart, keyStart + keyBytes);
  const head = { space, keyBytes, tombstone: false, main: 0, sub: 0, start: 0, end: 0 };
  const effect = readEntryHead(reader, head);
  const { main, sub, tombstone, start, end } = head;
  return new StoredVersion(key, main, sub, tombstone, effect, bytes, start, end);
}
