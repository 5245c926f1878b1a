import { constants, zstdDecompressSync } from "node:zlib";
import { assert } from "../base/assert.ts";
import { DbError, messageOf } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import type { ObjectStore } from "../objects/objects.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { BlockCache, Cacheable, CachedBlocks } from "./block-cache.ts";
import { type KeyHash, mayHold, partitionOf } from "./bloom.ts";
import { decodeBlock, type TableBlock } from "./table-block.ts";
import {
  BLOCK_RAW,
  BLOCK_TRAILER_BYTES,
  BLOCK_ZSTD,
  blockChecksum,
  corrupt,
  decodeFooter,
  footerBytes,
  hex,
  TABLE_HEADER_BYTES,
  TABLE_TRAILER_BYTES,
  type TableFacts,
  type TableFooter,
} from "./table-format.ts";
import { decodeIndexBlock, type IndexBlock } from "./table-index.ts";

/** Opening a table fetches this much of its end, or all behind the data where that is less. */
const TAIL_BYTES_MAX = 512 << 10;
/** From this size on unpacking a block would hold up the event loop. */
const OFFLOAD_BYTES_MIN = 256 << 10;

/** A table as a checkpoint lists it. */
export interface TableRef extends TableFacts {
  readonly key: ObjectKey;
  readonly bytes: number;
}

export interface TableContext {
  readonly store: ObjectStore;
  readonly runtime: { readonly offload: Pick<Runtime["offload"], "zstdDecompress"> };
  readonly cache: BlockCache;
  readonly requestTimeoutMs: number;
  /** Fired: nothing more is asked of the store, which may be closed itself. */
  readonly closing?: AbortSignal;
}

/** What is known of a table once it has been touched. */
export class OpenTable implements Cacheable {
  readonly footer: TableFooter;
  readonly top: IndexBlock;
  readonly memoryBytes: number;

  constructor(footer: TableFooter, top: IndexBlock) {
    this.footer = footer;
    this.top = top;
    this.memoryBytes = 1500 + top.memoryBytes;
  }
}

class BloomPartition implements Cacheable {
  readonly bits: Buffer;
  readonly memoryBytes: number;

  constructor(bits: Buffer) {
    this.bits = bits;
    this.memoryBytes = bits.length + 200;
  }
}

/** Under which `OpenTable` is cached. */
const OPEN = -1;

/** Where a block is. */
interface Place {
  readonly offset: number;
  readonly storedBytes: number;
  readonly rawBytes: number;
  readonly count: number;
}

export interface ReadAhead {
  /** Blocks that follow are fetched with the one asked for, up to this many bytes unpacked. */
  readonly bytes: number;
  readonly reverse: boolean;
}

/**
 * Reads a table, part by part, each through the cache. Nothing is fetched before it is needed. All methods answer at
 * once when what they need is cached. Every part's checksum is checked when it comes from the store.
 */
export class Table {
  readonly ref: TableRef;
  readonly #context: TableContext;
  readonly #blocks: CachedBlocks;

  constructor(ref: TableRef, context: TableContext) {
    this.ref = ref;
    this.#context = context;
    this.#blocks = context.cache.acquire(ref.key);
  }

  /** Gives the cached blocks up. Reads under way go on. */
  release(): void {
    this.#context.cache.release(this.ref.key);
  }

  open(): MaybePromise<OpenTable> {
    const found = this.#blocks.get(OPEN) as OpenTable | undefined;
    return found ?? (this.#blocks.pending(OPEN) as Promise<OpenTable>) ?? this.#blocks.expect(OPEN, this.#open());
  }

  /** Index partition `p` of the top index. */
  partition(open: OpenTable, p: number): MaybePromise<IndexBlock> {
    const place = open.top.handles[p]!;
    const found = this.#blocks.get(place.offset) as IndexBlock | undefined;
    if (found !== undefined) return found;
    const pending = this.#blocks.pending(place.offset) as Promise<IndexBlock> | undefined;
    return pending ?? this.#blocks.expect(place.offset, this.#loadPartition(open, place));
  }

  /** Data block `b` of a partition. */
  block(open: OpenTable, partition: IndexBlock, b: number, ahead?: ReadAhead): MaybePromise<TableBlock> {
    const place = partition.handles[b]!;
    const found = this.#blocks.get(place.offset) as TableBlock | undefined;
    if (found !== undefined) return found;
    return (this.#blocks.pending(place.offset) as Promise<TableBlock>) ?? this.#loadBlocks(open, partition, b, ahead);
  }

  /** Whether a block is cached or on its way. */
  hasBlock(partition: IndexBlock, b: number): boolean {
    return this.#blocks.has(partition.handles[b]!.offset);
  }

  /** False: the table has no version of the key. */
  mayHold(open: OpenTable, hash: KeyHash): MaybePromise<boolean> {
    const { bloomStart, bloom } = open.footer;
    const offset = bloomStart + partitionOf(hash, bloom) * (bloom.partitionBytes + BLOCK_TRAILER_BYTES);
    const found = this.#blocks.get(offset) as BloomPartition | undefined;
    if (found !== undefined) return mayHold(found.bits, hash);
    const pending = this.#blocks.pending(offset) as Promise<BloomPartition> | undefined;
    const partition = pending ?? this.#blocks.expect(offset, this.#loadBloom(open, offset));
    return partition.then(({ bits }) => mayHold(bits, hash));
  }

  /**
   * The bytes of data blocks `first` to `last` of a partition, past the cache: for merging. `unpackBlock` takes them
   * apart.
   */
  async fetchBlocks(partition: IndexBlock, first: number, last: number): Promise<{ bytes: Buffer; offset: number }> {
    const offset = partition.handles[first]!.offset;
    const end = partition.handles[last]!;
    return { bytes: await this.#fetch(offset, end.offset + end.storedBytes + BLOCK_TRAILER_BYTES), offset };
  }

  /** Checks, unpacks and decodes a data block out of `bytes`, which begin at `offset` of the table. */
  unpackBlock(open: OpenTable, place: Place, bytes: Buffer, offset: number): MaybePromise<TableBlock> {
    const raw = this.#unpack(open.footer, place, bytes, offset);
    return isPromise(raw) ? raw.then((unpacked) => this.#decode(place, unpacked)) : this.#decode(place, raw);
  }

  async #open(): Promise<OpenTable> {
    const { key, bytes, indexStart } = this.ref;
    try {
      if (bytes < TABLE_HEADER_BYTES + TABLE_TRAILER_BYTES) throw new RangeError(`${bytes} bytes are too few`);
      if (indexStart < TABLE_HEADER_BYTES || indexStart > bytes - TABLE_TRAILER_BYTES) {
        throw new RangeError(`an index at ${indexStart} of ${bytes} bytes`);
      }
      const tailStart = Math.max(indexStart, bytes - TAIL_BYTES_MAX);
      let tail = await this.#fetch(tailStart, bytes);
      const footerStart = bytes - footerBytes(tail, bytes);
      if (footerStart < tailStart) tail = await this.#fetch(footerStart, bytes);
      const footer = decodeFooter(key, tail.subarray(footerStart - bytes), bytes);
      this.#checkFacts(footer);
      const place = this.#topPlace(footer);
      let from = tailStart;
      if (footer.topStart < tailStart) {
        tail = await this.#fetch(footer.topStart, footerStart);
        from = footer.topStart;
      }
      const top = decodeIndexBlock(await this.#unpack(footer, place, tail, from), {
        count: footer.partitions,
        offsetMin: footer.indexStart,
        offsetMax: footer.bloomStart,
        trailerBytes: BLOCK_TRAILER_BYTES,
        rawBytesMax: footer.rawBytesMax,
      });
      const open = new OpenTable(footer, top);
      await this.#keepTail(open, tail, from);
      return open;
    } catch (error) {
      throw corrupt(key, "", error);
    }
  }

  #topPlace(footer: TableFooter): Place {
    const { topStart, topStoredBytes, topRawBytes, partitions } = footer;
    return { offset: topStart, storedBytes: topStoredBytes, rawBytes: topRawBytes, count: partitions };
  }

  /** A table that is not the one that the checkpoint means has another name; this finds a checkpoint that is wrong. */
  #checkFacts(footer: TableFooter): void {
    const { contentHash, indexStart } = this.ref;
    if (footer.contentHash !== contentHash || footer.indexStart !== indexStart) {
      const found = `content hash ${footer.contentHash}, index at ${footer.indexStart}`;
      throw new RangeError(`${found}; the checkpoint expects ${contentHash}, ${indexStart}`);
    }
  }

  /** Caches the index partitions and the bloom filter as far as they came with the tail. */
  async #keepTail(open: OpenTable, tail: Buffer, from: number): Promise<void> {
    for (const place of open.top.handles) {
      if (place.offset < from) continue;
      this.#blocks.put(
        place.offset,
        this.#decodePartition(open, await this.#unpack(open.footer, place, tail, from), place),
      );
    }
    const { bloomStart, bloom } = open.footer;
    for (let i = 0; i < bloom.partitions; i++) {
      const offset = bloomStart + i * (bloom.partitionBytes + BLOCK_TRAILER_BYTES);
      if (offset < from) continue;
      this.#blocks.put(
        offset,
        new BloomPartition(await this.#unpack(open.footer, this.#bloomPlace(open, offset), tail, from)),
      );
    }
  }

  #bloomPlace(open: OpenTable, offset: number): Place {
    const { partitionBytes } = open.footer.bloom;
    return { offset, storedBytes: partitionBytes, rawBytes: partitionBytes, count: 0 };
  }

  async #loadPartition(open: OpenTable, place: Place): Promise<IndexBlock> {
    return this.#decodePartition(open, await this.#load(open, place), place);
  }

  async #loadBloom(open: OpenTable, offset: number): Promise<BloomPartition> {
    return new BloomPartition(await this.#load(open, this.#bloomPlace(open, offset)));
  }

  /** Fetches block `b` and, in the same request, blocks beside it that are not cached. */
  #loadBlocks(open: OpenTable, partition: IndexBlock, b: number, ahead?: ReadAhead): Promise<TableBlock> {
    const { handles } = partition;
    let first = b;
    let last = b;
    let bytes = handles[b]!.rawBytes;
    const takes = (i: number): boolean => {
      const handle = handles[i];
      if (ahead === undefined || handle === undefined || this.#blocks.has(handle.offset)) return false;
      bytes += handle.rawBytes;
      return bytes <= ahead.bytes;
    };
    if (ahead?.reverse) while (takes(first - 1)) first--;
    else while (takes(last + 1)) last++;
    const fetched = this.fetchBlocks(partition, first, last);
    for (let i = first; i <= last; i++) {
      const place = handles[i]!;
      const block = fetched.then((window) => this.unpackBlock(open, place, window.bytes, window.offset));
      void this.#blocks.expect(place.offset, block);
    }
    return this.#blocks.pending(handles[b]!.offset) as Promise<TableBlock>;
  }

  async #load(open: OpenTable, place: Place): Promise<Buffer> {
    const bytes = await this.#fetch(place.offset, place.offset + place.storedBytes + BLOCK_TRAILER_BYTES);
    return this.#unpack(open.footer, place, bytes, place.offset);
  }

  #decodePartition(open: OpenTable, raw: Buffer, place: Place): IndexBlock {
    try {
      return decodeIndexBlock(raw, {
        count: place.count,
        offsetMin: TABLE_HEADER_BYTES,
        offsetMax: open.footer.indexStart,
        trailerBytes: BLOCK_TRAILER_BYTES,
        rawBytesMax: open.footer.rawBytesMax,
      });
    } catch (error) {
      throw corrupt(this.ref.key, `index block at ${place.offset}: `, error);
    }
  }

  #decode(place: Place, raw: Buffer): TableBlock {
    try {
      return decodeBlock(raw, place.count);
    } catch (error) {
      throw corrupt(this.ref.key, `block at ${place.offset}: `, error);
    }
  }

  /**
   * Checks a block's checksum and unpacks it. The result is a buffer of its own, so that it alone is kept in memory.
   */
  #unpack(footer: TableFooter, place: Place, bytes: Buffer, offset: number): MaybePromise<Buffer> {
    const fail = (what: string): DbError =>
      new DbError("corrupt", `object ${this.ref.key}: block at ${place.offset}: ${what}`);
    const start = place.offset - offset;
    const end = start + place.storedBytes;
    assert(start >= 0 && end + BLOCK_TRAILER_BYTES <= bytes.length, "a block lies in the bytes that were fetched");
    const found = bytes.readUInt32LE(end + 1);
    const expected = blockChecksum(footer.salt, place.offset, bytes, start, end + 1);
    if (found !== expected) throw fail(`checksum ${hex(found)}, expected ${hex(expected)}`);
    const codec = bytes[end]!;
    const { rawBytes } = place;
    if (codec === BLOCK_RAW) {
      if (rawBytes !== place.storedBytes) throw fail(`${place.storedBytes} bytes, expected ${rawBytes}`);
      return Buffer.from(bytes.subarray(start, end));
    }
    if (codec !== BLOCK_ZSTD) throw fail(`codec ${codec} is unknown to this version of t4`);
    const packed = bytes.subarray(start, end);
    const check = (raw: Buffer): Buffer => {
      if (raw.length !== rawBytes) throw fail(`unpacks to ${raw.length} bytes, expected ${rawBytes}`);
      return raw;
    };
    const broken = (error: unknown): never => {
      throw fail(`does not unpack: ${messageOf(error)}`);
    };
    if (rawBytes >= OFFLOAD_BYTES_MIN) {
      return this.#context.runtime.offload.zstdDecompress(packed, rawBytes).then(check, broken);
    }
    let raw: Buffer;
    try {
      raw = zstdDecompressSync(packed, {
        maxOutputLength: rawBytes + 1,
        chunkSize: Math.max(64, rawBytes + 1),
        params: windowLimit,
      });
    } catch (error) {
      return broken(error);
    }
    return check(raw);
  }

  async #fetch(start: number, end: number): Promise<Buffer> {
    const { key, bytes } = this.ref;
    const timeoutMs = this.#context.requestTimeoutMs;
    if (this.#context.closing?.aborted) throw new DbError("noLeader", "the branch is being closed");
    // Nothing has changed if the process dies here: reading has no effect.
    const object = await this.#context.store.get(key, { range: { start, end }, timeoutMs });
    if (object === null) throw new DbError("corrupt", `object ${key}: is missing, though a checkpoint lists it`);
    if (object.bytes !== bytes || object.body.length !== end - start) {
      const found = `${object.body.length} of ${object.bytes} bytes`;
      throw new DbError("corrupt", `object ${key}: ${found} for [${start}, ${end}) of ${bytes}`);
    }
    return object.body;
  }
}

/** No more memory for a block's history than its size can justify. */
const windowLimit = { [constants.ZSTD_d_windowLogMax]: 20 };
