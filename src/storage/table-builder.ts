import { assert } from "../base/assert.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { packBlock } from "./block-packing.ts";
import { addToBloom, bloomShape, KeyHash } from "./bloom.ts";
import { ByteWriter } from "./byte-writer.ts";
import { ContentHash } from "./content-hash.ts";
import { type EncodedBlock, passThrough } from "./encoded-block.ts";
import { comparePositions, type Position, separate, sharedLength, shortEnd, shortStart } from "./position.ts";
import type { Effect, Version } from "./storage.ts";
import { writeEntry } from "./table-block.ts";
import {
  BLOCK_RAW,
  BLOCK_RAW_BYTES_MAX,
  BLOCK_TRAILER_BYTES,
  BLOCK_ZSTD,
  blockChecksum,
  encodeFooter,
  SALT_BYTES,
  type SpaceSums,
  type TableFacts,
  tableHeader,
} from "./table-format.ts";
import { addSums, type BlockHandle, noSums, type Sums, writeHandle } from "./table-index.ts";

/** From this size on packing a block would hold up the event loop. */
const OFFLOAD_BYTES_MIN = 128 << 10;
/** Keys put into the bloom filter between two pauses: about 3 ms. */
const BLOOM_KEYS_PER_SLICE = 32_768;
const ZSTD_LEVEL = 1;

type BuilderRuntime = { readonly offload: Pick<Runtime["offload"], "zstdCompress"> };

export interface BuiltTable {
  readonly body: Buffer;
  readonly facts: TableFacts;
}

export interface TableBuilderOptions {
  readonly runtime: BuilderRuntime;
  /** Random; it makes the table's name unlike that of any other with the same entries. */
  readonly salt: Buffer;
  /** Memory to begin with: about what will be added. It is not touched before it is needed. */
  readonly bytesHint: number;
  /** A block, of data or index, is closed when it has this many bytes. */
  readonly blockBytes: number;
  /** The last entry of the table before this one in its run; null for the first table. */
  readonly previous: Position | null;
}

/** A block's entries so far. */
interface OpenBlock {
  start: Position;
  space: number;
  count: number;
  mainMin: number;
  mainMax: number;
  effectSum: number;
  effectMain: number;
}

/**
 * Makes one table of entries given in order. The whole table is in memory until it is written: who calls ends it at a
 * size.
 */
export class TableBuilder {
  readonly contentHash = new ContentHash();
  readonly #runtime: BuilderRuntime;
  readonly #salt: Buffer;
  readonly #previous: Position | null;
  readonly #out: ByteWriter;
  readonly #blockBytes: number;
  readonly #block: ByteWriter;
  #open: OpenBlock | null = null;
  #first: Position | null = null;
  #last: Position | null = null;
  readonly #spaces: SpaceSums[] = [];
  #keyHashes = new Uint32Array(4096);
  #keys = 0;
  /**
   * Handles of the partition being filled, and of the partitions filled, whose offsets count from the index's start.
   */
  #partition: BlockHandle[] = [];
  #partitionBytes = 0;
  readonly #partitions: { handles: BlockHandle[]; sums: Sums }[] = [];
  #rawBytesMax = 0;
  readonly #hash = new KeyHash();
  readonly #passing = { lanes: this.contentHash.lanes, onKey: (hash: KeyHash) => this.#addKey(hash) };

  constructor(options: TableBuilderOptions) {
    assert(options.salt.length === SALT_BYTES, "a salt has 16 bytes");
    this.#runtime = options.runtime;
    this.#salt = options.salt;
    this.#previous = options.previous;
    this.#blockBytes = options.blockBytes;
    this.#block = new ByteWriter(2 * options.blockBytes);
    this.#out = new ByteWriter(options.bytesHint + (64 << 10));
    this.#out.raw(tableHeader());
  }

  /** Bytes of the table so far, without the block being filled. */
  get bytes(): number {
    return this.#out.at;
  }

  get empty(): boolean {
    return this.#last === null;
  }

  /** The last entry added. */
  get last(): Position | null {
    return this.#last;
  }

  /** Adds the next entry, with this effect in place of its own. A promise: wait for it before the next one. */
  add(space: number, version: Version, effect: Effect): MaybePromise<void> {
    const open = this.#open;
    if (open !== null && (this.#block.at >= this.#blockBytes || open.space !== space)) {
      const closing = this.#closeBlock(open);
      if (isPromise(closing)) return closing.then(() => this.#append(space, version, effect));
    }
    this.#append(space, version, effect);
  }

  /** Adds a block of entries as it is; gives the sum of their effects. A promise: wait for it before the next one. */
  addBlock(block: EncodedBlock): MaybePromise<number> {
    const closing = this.#open === null ? undefined : this.#closeBlock(this.#open);
    return isPromise(closing) ? closing.then(() => this.#appendBlock(block)) : this.#appendBlock(block);
  }

  /**
   * Ends the table. `next` is the entry that the next table of the run begins with. Pauses now and then, so that the
   * event loop gets its turn.
   */
  async finish(options: {
    next: Position | null;
    compactRevision: number;
    pause: () => Promise<void>;
  }): Promise<BuiltTable> {
    const last = this.#last;
    assert(this.#open !== null && last !== null && this.#first !== null, "a table has an entry");
    await this.#closeBlock(this.#open);
    this.#closePartition();
    const indexStart = this.#out.at;
    const tops = await this.#writePartitions();
    const bloomStart = this.#out.at;
    const bloom = await this.#writeBloom(options.pause);
    const topStart = this.#out.at;
    const top = new ByteWriter();
    writeHandles(top, tops);
    const topStoredBytes = await this.#writeBlock(top);
    const facts: TableFacts = {
      first: this.#first,
      end: options.next === null ? shortEnd(last) : separate(last, options.next),
      spaces: this.#spaces,
      contentHash: this.contentHash.hex(),
      compactRevision: options.compactRevision,
      indexStart,
    };
    assert(comparePositions(facts.first, facts.end) < 0, "a table's bounds are in order");
    const footer = encodeFooter({
      ...facts,
      salt: this.#salt,
      partitions: tops.length,
      bloomStart,
      bloom,
      topStart,
      topStoredBytes,
      topRawBytes: top.at,
      rawBytesMax: this.#rawBytesMax,
    });
    this.#out.raw(footer);
    return { body: this.#out.view(), facts };
  }

  #append(space: number, version: Version, effect: Effect): void {
    const { key, main, sub } = version;
    const position = { space, key, main, sub };
    const last = this.#last;
    const sameKey = last !== null && last.space === space && last.key === key;
    if (this.#open === null) this.#openBlock(position);
    const open = this.#open!;
    assert(open.space === space, "a block has entries of one space");
    assert(last === null || comparePositions(last, position) < 0, "entries come in order");
    const shared = open.count === 0 ? 0 : sameKey ? key.length : sharedLength(last!.key, key);
    writeEntry(this.#block, version, effect, shared);
    open.count++;
    if (main < open.mainMin) open.mainMin = main;
    if (main > open.mainMax) open.mainMax = main;
    open.effectSum += effect;
    if (effect !== 0 && main > open.effectMain) open.effectMain = main;
    this.contentHash.add(space, version);
    this.#last = position;
    this.#addToSpace(space, version, sameKey, effect);
    if (!sameKey) this.#addKey(this.#hash.of(space, key));
  }

  #appendBlock(block: EncodedBlock): number {
    const { space, count, bytes, first } = block;
    const last = this.last;
    assert(last === null || comparePositions(last, first) < 0, "entries come in order");
    this.#openBlock(first);
    const open = this.#open!;
    this.#block.raw(bytes);
    const totals = passThrough(block, last !== null && last.space === space ? last.key : null, this.#passing);
    const { mainMin, mainMax, effectSum, effectMain, keys, tombstones, valueBytes } = totals;
    Object.assign(open, { count, mainMin, mainMax, effectSum, effectMain });
    this.#last = block.last;
    const sums = this.#sumsOf(space, mainMin);
    sums.entries += count;
    sums.mainMin = Math.min(sums.mainMin, mainMin);
    sums.mainMax = Math.max(sums.mainMax, mainMax);
    sums.effectSum += effectSum;
    sums.effectMain = Math.max(sums.effectMain, effectMain);
    sums.keys += keys;
    sums.tombstones += tombstones;
    sums.valueBytes += valueBytes;
    return effectSum;
  }

  #openBlock(first: Position): void {
    const { space, main } = first;
    const last = this.#last ?? this.#previous;
    const start = last === null ? shortStart(first) : separate(last, first);
    this.#first ??= start;
    this.#open = { start, space, count: 0, mainMin: main, mainMax: main, effectSum: 0, effectMain: 0 };
  }

  #addToSpace(space: number, version: Version, sameKey: boolean, effect: Effect): void {
    const sums = this.#sumsOf(space, version.main);
    sums.entries++;
    sums.mainMin = Math.min(sums.mainMin, version.main);
    sums.mainMax = Math.max(sums.mainMax, version.main);
    sums.effectSum += effect;
    if (effect !== 0) sums.effectMain = Math.max(sums.effectMain, version.main);
    if (!sameKey) sums.keys++;
    if (version.tombstone) sums.tombstones++;
    sums.valueBytes += version.end - version.start;
  }

  /** Of the space that entries are added of. */
  #sumsOf(space: number, mainMin: number): Mutable<SpaceSums> {
    const spaces = this.#spaces;
    let sums = spaces[spaces.length - 1] as Mutable<SpaceSums> | undefined;
    if (sums === undefined || sums.space !== space) {
      sums = { space, ...noSums, mainMin, keys: 0, tombstones: 0, valueBytes: 0 };
      spaces.push(sums);
    }
    return sums;
  }

  #addKey(hash: KeyHash): void {
    if (2 * this.#keys === this.#keyHashes.length) {
      const larger = new Uint32Array(this.#keyHashes.length * 2);
      larger.set(this.#keyHashes);
      this.#keyHashes = larger;
    }
    this.#keyHashes[2 * this.#keys] = hash.first;
    this.#keyHashes[2 * this.#keys + 1] = hash.second;
    this.#keys++;
  }

  #closeBlock(open: OpenBlock): MaybePromise<void> {
    this.#open = null;
    const offset = this.#out.at;
    const rawBytes = this.#block.at;
    if (rawBytes > this.#rawBytesMax) this.#rawBytesMax = rawBytes;
    const done = (storedBytes: number): void => {
      this.#block.at = 0;
      const { start, space, count, mainMin, mainMax, effectSum, effectMain } = open;
      const sums = { entries: count, mainMin, mainMax, effectSum, effectMain };
      const lastHandle = this.#partition.at(-1);
      if (this.#partitionBytes >= this.#blockBytes || (lastHandle && lastHandle.start.space !== space)) {
        this.#closePartition();
      }
      this.#partition.push({ start, offset, storedBytes, rawBytes, count, sums });
      this.#partitionBytes += 40 + start.key.length;
    };
    const stored = this.#writeBlock(this.#block);
    return isPromise(stored) ? stored.then(done) : done(stored);
  }

  #closePartition(): void {
    const handles = this.#partition;
    if (handles.length === 0) return;
    const sums = handles.reduce((all, handle) => addSums(all, handle.sums), noSums);
    this.#partitions.push({ handles, sums });
    this.#partition = [];
    this.#partitionBytes = 0;
  }

  async #writePartitions(): Promise<BlockHandle[]> {
    const tops: BlockHandle[] = [];
    const writer = new ByteWriter(2 * this.#blockBytes);
    for (const { handles, sums } of this.#partitions) {
      writer.at = 0;
      writeHandles(writer, handles);
      const offset = this.#out.at;
      if (writer.at > this.#rawBytesMax) this.#rawBytesMax = writer.at;
      const storedBytes = await this.#writeBlock(writer);
      const { start } = handles[0]!;
      tops.push({ start, offset, storedBytes, rawBytes: writer.at, count: handles.length, sums });
    }
    return tops;
  }

  async #writeBloom(pause: () => Promise<void>): Promise<ReturnType<typeof bloomShape>> {
    const shape = bloomShape(this.#keys);
    const bits = new Uint8Array(shape.partitions * shape.partitionBytes);
    for (let i = 0; i < this.#keys; i++) {
      if (i % BLOOM_KEYS_PER_SLICE === BLOOM_KEYS_PER_SLICE - 1) await pause();
      this.#hash.first = this.#keyHashes[2 * i]!;
      this.#hash.second = this.#keyHashes[2 * i + 1]!;
      addToBloom(bits, shape, this.#hash);
    }
    for (let i = 0; i < shape.partitions; i++) {
      this.#writeStored(bits.subarray(i * shape.partitionBytes, (i + 1) * shape.partitionBytes), BLOCK_RAW);
    }
    return shape;
  }

  /** Writes a block, packed if that makes it smaller; returns the bytes stored, without the trailer. */
  #writeBlock(block: ByteWriter): MaybePromise<number> {
    const raw = block.view();
    assert(raw.length <= BLOCK_RAW_BYTES_MAX, `a block is at most ${BLOCK_RAW_BYTES_MAX} bytes, not ${raw.length}`);
    const take = (packed: Buffer): number =>
      packed.length < raw.length ? this.#writeStored(packed, BLOCK_ZSTD) : this.#writeStored(raw, BLOCK_RAW);
    if (raw.length < OFFLOAD_BYTES_MIN) return take(packBlock(raw));
    return this.#runtime.offload.zstdCompress(raw, ZSTD_LEVEL).then(take);
  }

  #writeStored(bytes: Uint8Array, codec: number): number {
    const out = this.#out;
    const offset = out.at;
    out.raw(bytes);
    out.u8(codec);
    out.u32(blockChecksum(this.#salt, offset, out.bytes, offset, out.at));
    assert(out.at === offset + bytes.length + BLOCK_TRAILER_BYTES, "a block is followed by its trailer");
    return bytes.length;
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function writeHandles(writer: ByteWriter, handles: readonly BlockHandle[]): void {
  let previous = "";
  for (const handle of handles) {
    writeHandle(writer, handle, previous);
    previous = handle.start.key;
  }
}
