import { assert } from "../base/assert.ts";
import { DbError, isDbError } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import type { ObjectStore } from "../objects/objects.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { BlockCache, Cacheable, CachedBlocks } from "./block-cache.ts";
import { unpackBlockInto } from "./block-packing.ts";
import { type KeyHash, mayHold, partitionOf } from "./bloom.ts";
import { CachedStore } from "./cached-store.ts";
import { TableMissing } from "./lasting-reads.ts";
import type { PointLookup } from "./point-lookup.ts";
import { findInRaw } from "./raw-block.ts";
import type { Version } from "./storage.ts";
import { decodeBlock, TableBlock } from "./table-block.ts";
import {
  BLOCK_TRAILER_BYTES,
  BLOCK_ZSTD,
  corrupt,
  decodeFooter,
  footerBytes,
  TABLE_HEADER_BYTES,
  TABLE_TRAILER_BYTES,
  type TableFacts,
  type TableFooter,
} from "./table-format.ts";
import { decodeIndexBlock, type IndexBlock } from "./table-index.ts";
import { checkBlock, isWhole, ownCopy, type Place, type TableBytes, unpackChecked } from "./table-unpack.ts";

/** Opening a table fetches this much of its end, or all behind the data where that is less. */
const TAIL_BYTES_MAX = 512 << 10;
/**
 * And so much of the data before it: there lie the last entries, of the spaces beside the keys, which are read first
 * when a branch is opened.
 */
const BEFORE_TAIL_BYTES = 32 << 10;

/** With an answer after 20 ms this is 100 MB a second. */
const AHEAD_BYTES_MAX = 2 << 20;
const AHEAD_SHARE = 1 / 64;
/** Of the cache, what a long scan leaves in it. */
const SCAN_KEPT_SHARE = 1 / 16;

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
  /**
   * What to answer where a table is missing that may have been let go of, and collected: as others lead by now, or as
   * the state is no longer retained. Null: it must be there.
   */
  readonly whyMissing?: () => MaybePromise<DbError | null>;
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

/** Bytes that came in. `isChecked`: all blocks in them are what was written, else some are not. */
interface Fetched extends TableBytes {
  readonly isChecked: boolean;
}

/** A part of a table as it is stored: a data block that was fetched ahead, and checked, or the table's tail. */
class Stored implements Cacheable, TableBytes {
  readonly bytes: Buffer;
  readonly offset: number;
  readonly memoryBytes: number;

  constructor(bytes: Buffer, offset: number) {
    this.bytes = bytes;
    this.offset = offset;
    this.memoryBytes = bytes.length + 200;
  }
}

/** Under which the `OpenTable` is cached, and the tail that came with it. */
const OPEN = -1;
const TAIL = -2;

/** Parts below this many bytes, packed and unpacked, are read from a quick disk at once. */
const NEAR_BYTES_MAX = 128 << 10;
/** Only ever used within one call: what is unpacked from it is memory of its own. */
const nearBytes = Buffer.allocUnsafeSlow(NEAR_BYTES_MAX);
const nearRaw = Buffer.allocUnsafeSlow(NEAR_BYTES_MAX);

export interface ReadAhead {
  /** Blocks that follow are fetched with the one asked for, up to this many bytes unpacked. */
  readonly bytes: number;
  readonly reverse: boolean;
}

/**
 * Reads a table, part by part, each through the cache. Nothing is fetched before it is needed, and nothing is unpacked
 * before it is used. All methods answer at once when what they need is cached. Every part's checksum is checked when it
 * comes from the store; what fails is read once more, past any cache in front of the store.
 */
export class Table {
  readonly ref: TableRef;
  readonly #context: TableContext;
  readonly #blocks: CachedBlocks;
  /** What may have a part at hand, on the node's own disk. */
  readonly #near: CachedStore | null;
  /** Known once the table was opened. */
  #salt: Buffer | null = null;

  constructor(ref: TableRef, context: TableContext) {
    this.ref = ref;
    this.#context = context;
    this.#near = context.store instanceof CachedStore ? context.store : null;
    this.#blocks = context.cache.acquire(ref.key);
  }

  /** What a scan may fetch ahead at once, unpacked: all that is ahead of some scans must fit into the cache. */
  get aheadBytesMax(): number {
    return Math.min(AHEAD_BYTES_MAX, this.#context.cache.bytesMax * AHEAD_SHARE);
  }

  /**
   * Behind so much of a scan the blocks and parts of the index that it alone has used leave the cache with it: it would
   * fill all of it with what is not read again, and memory with it.
   */
  get scanBytesKept(): number {
    return this.#context.cache.bytesMax * SCAN_KEPT_SHARE;
  }

  /** Gives the cached blocks up. Reads under way go on. */
  release(): void {
    this.#context.cache.release(this.ref.key);
  }

  open(): MaybePromise<OpenTable> {
    const found = this.#blocks.get(OPEN) as OpenTable | undefined;
    if (found !== undefined) return found;
    const pending = this.#blocks.pending(OPEN) as Promise<OpenTable> | undefined;
    return (
      pending ??
      this.#blocks.expect(
        OPEN,
        this.#twice((fresh) => this.#open(fresh)),
      )
    );
  }

  /** Index partition `p` of the top index. */
  partition(open: OpenTable, p: number, inScan = false): MaybePromise<IndexBlock> {
    const offset = open.top.offset(p);
    const found = this.#blocks.get(offset, inScan) as IndexBlock | undefined;
    if (found !== undefined) return found;
    const pending = this.#blocks.pending(offset) as Promise<IndexBlock> | undefined;
    if (pending !== undefined) return pending;
    const place = open.top.handle(p);
    return this.#loadPart(open, place, (raw) => this.#decodePartition(open, raw, place));
  }

  /** The same, if it is in memory. */
  cachedPartition(open: OpenTable, p: number): IndexBlock | undefined {
    return this.#blocks.get(open.top.offset(p)) as IndexBlock | undefined;
  }

  /** Data block `b` of a partition, if it is in memory, unpacked. */
  cachedBlock(partition: IndexBlock, b: number): TableBlock | undefined {
    const found = this.#blocks.get(partition.offset(b));
    return found instanceof TableBlock ? found : undefined;
  }

  /** A long scan has left the data block, or the index partition, at `offset`. */
  passed(offset: number): void {
    this.#blocks.passed(offset);
  }

  /** Data block `b` of a partition. With `ahead`, a scan reads it. */
  block(open: OpenTable, partition: IndexBlock, b: number, ahead?: ReadAhead): MaybePromise<TableBlock> {
    const offset = partition.offset(b);
    const found = this.#blocks.get(offset, ahead !== undefined && ahead.bytes > 0);
    if (found instanceof TableBlock) return found;
    const place = partition.handle(b);
    if (found !== undefined) return this.#unpackAhead(place, found);
    const pending = this.#blocks.pending(offset) as Promise<TableBlock | Stored> | undefined;
    if (pending === undefined) return this.#loadBlocks(open, partition, b, ahead);
    return pending.then((block) => (block instanceof TableBlock ? block : this.#unpackAhead(place, block)));
  }

  /** Whether a block is cached or on its way. */
  hasBlock(partition: IndexBlock, b: number): boolean {
    return this.#blocks.has(partition.offset(b));
  }

  /** False: the table has no version of the key. */
  mayHold(open: OpenTable, hash: KeyHash): MaybePromise<boolean> {
    const { bloomStart, bloom } = open.footer;
    const offset = bloomStart + partitionOf(hash, bloom) * (bloom.partitionBytes + BLOCK_TRAILER_BYTES);
    const found = this.#blocks.get(offset) as BloomPartition | undefined;
    if (found !== undefined) return mayHold(found.bits, hash);
    const pending = this.#blocks.pending(offset) as Promise<BloomPartition> | undefined;
    const loaded = pending ?? this.#loadPart(open, this.#bloomPlace(open, offset), (raw) => new BloomPartition(raw));
    return isPromise(loaded) ? loaded.then(({ bits }) => mayHold(bits, hash)) : mayHold(loaded.bits, hash);
  }

  /**
   * The bytes of data blocks `first` to `last` of a partition of this table, which was opened, past the cache.
   * `unpackBlock` takes them apart. `once`: they will not be read again, as by a merge.
   */
  fetchBlocks(partition: IndexBlock, first: number, last: number, options?: { once: boolean }): Promise<TableBytes> {
    return this.#fetchChecked(partition.handles(first, last + 1), options?.once === true);
  }

  /** Checks, unpacks and decodes a data block out of `bytes`, which begin at `offset` of the table. */
  unpackBlock(open: OpenTable, place: Place, bytes: Buffer, offset: number): MaybePromise<TableBlock> {
    return this.#unpackBlock(open, place, { bytes, offset, isChecked: false });
  }

  #unpackBlock(open: OpenTable, place: Place, fetched: Fetched): MaybePromise<TableBlock> {
    const raw = this.#unpack(open.footer.salt, place, fetched);
    return isPromise(raw) ? raw.then((unpacked) => this.#decode(place, unpacked)) : this.#decode(place, raw);
  }

  async #open(fresh: boolean): Promise<OpenTable> {
    const { key, bytes, indexStart } = this.ref;
    try {
      if (bytes < TABLE_HEADER_BYTES + TABLE_TRAILER_BYTES) throw new RangeError(`${bytes} bytes are too few`);
      if (indexStart < TABLE_HEADER_BYTES || indexStart > bytes - TABLE_TRAILER_BYTES) {
        throw new RangeError(`an index at ${indexStart} of ${bytes} bytes`);
      }
      let from = Math.max(TABLE_HEADER_BYTES, indexStart - BEFORE_TAIL_BYTES, bytes - TAIL_BYTES_MAX);
      let tail = await this.#fetch(from, bytes, { fresh });
      const footerStart = bytes - footerBytes(tail, bytes);
      if (footerStart < from) {
        from = footerStart;
        tail = await this.#fetch(from, bytes, { fresh });
      }
      const footer = decodeFooter(key, tail.subarray(footerStart - bytes), bytes);
      this.#checkFacts(footer);
      if (footer.topStart < from) {
        from = footer.topStart;
        tail = await this.#fetch(from, bytes, { fresh });
      }
      const { topStart: offset, topStoredBytes: storedBytes, topRawBytes: rawBytes, partitions: count } = footer;
      const place = { offset, storedBytes, rawBytes, count };
      const fetched = { bytes: tail, offset: from, isChecked: false };
      const top = decodeIndexBlock(await this.#unpack(footer.salt, place, fetched), {
        count,
        offsetMin: footer.indexStart,
        offsetMax: footer.bloomStart,
        trailerBytes: BLOCK_TRAILER_BYTES,
        rawBytesMax: footer.rawBytesMax,
      });
      this.#salt = footer.salt;
      if (from < footer.topStart) this.#blocks.put(TAIL, new Stored(tail, from));
      return new OpenTable(footer, top);
    } catch (error) {
      throw corrupt(key, "", error);
    }
  }

  /** A table that is not the one that the checkpoint means has another name; this finds a checkpoint that is wrong. */
  #checkFacts(footer: TableFooter): void {
    const { contentHash, indexStart } = this.ref;
    if (footer.contentHash !== contentHash || footer.indexStart !== indexStart) {
      const found = `content hash ${footer.contentHash}, index at ${footer.indexStart}`;
      throw new RangeError(`${found}; the checkpoint expects ${contentHash}, ${indexStart}`);
    }
  }

  #bloomPlace(open: OpenTable, offset: number): Place {
    const { partitionBytes } = open.footer.bloom;
    return { offset, storedBytes: partitionBytes, rawBytes: partitionBytes, count: 0 };
  }

  /** A part of the index or the filter: out of the tail that came with the opening, or fetched. */
  #loadPart<T extends Cacheable>(open: OpenTable, place: Place, decode: (raw: Buffer) => T): MaybePromise<T> {
    const tail = this.#tailWith(place);
    if (tail !== null && isWhole(open.footer.salt, place, tail)) {
      const raw = unpackChecked(this.ref.key, place, tail, this.#context.runtime.offload);
      if (isPromise(raw)) return this.#blocks.expect(place.offset, raw.then(decode));
      const part = decode(raw);
      this.#blocks.put(place.offset, part);
      return part;
    }
    const raw = this.#readNear(open, place);
    if (raw !== null) return this.#cameAtOnce(place, decode(raw));
    return this.#blocks.expect(place.offset, this.#load(open, place).then(decode));
  }

  #cameAtOnce<T extends Cacheable>(place: Place, part: T): T {
    this.#context.cache.misses++;
    this.#blocks.put(place.offset, part);
    return part;
  }

  /**
   * A part of the table, unpacked, if the node's own disk has it and is quick: then it is read, checked and unpacked
   * here and now, which takes less than waiting for it does. Null: it has to be waited for; also where what the disk
   * has is wrong, which is told there.
   */
  #readNear(open: OpenTable, place: Place): Buffer | null {
    const part = this.#storedNear(open, place);
    if (part === null) return null;
    const raw = unpackChecked(this.ref.key, place, part, this.#context.runtime.offload);
    assert(!isPromise(raw), "a small block is unpacked at once");
    return raw;
  }

  /** The same as it is stored, checked, in memory that the next call uses again. */
  #storedNear(open: OpenTable, place: Place): TableBytes | null {
    const bytes = place.storedBytes + BLOCK_TRAILER_BYTES;
    if (this.#near === null || bytes >= NEAR_BYTES_MAX || place.rawBytes >= NEAR_BYTES_MAX) return null;
    if (this.#context.closing?.aborted === true) return null;
    const part = { bytes: nearBytes.subarray(0, bytes), offset: place.offset };
    if (this.#near.readAtOnce(this.ref.key, place.offset, part.bytes) !== this.ref.bytes) return null;
    return isWhole(open.footer.salt, place, part) ? part : null;
  }

  /**
   * Looks into data block `b` without keeping it, if the node's own quick disk has it, memory has not, and it was not
   * asked for lately: most blocks of a large database are not read again soon, and keeping them for it costs more than
   * the read. Answers as `findInRaw`; undefined also where it does not apply.
   */
  findNear(open: OpenTable, partition: IndexBlock, b: number, lookup: PointLookup): Version | null | undefined {
    const offset = partition.offset(b);
    if (this.#near === null || this.#blocks.has(offset) || this.#blocks.meet(offset)) return undefined;
    const place = partition.place(b);
    const part = this.#storedNear(open, place);
    const { storedBytes, rawBytes, count } = place;
    if (part?.bytes[storedBytes] !== BLOCK_ZSTD) return undefined;
    // What is wrong is told by who takes it apart.
    if (unpackBlockInto(part.bytes.subarray(0, storedBytes), nearRaw) !== rawBytes) return undefined;
    this.#context.cache.misses++;
    try {
      return findInRaw({ bytes: nearRaw, rawBytes, count }, lookup);
    } catch (error) {
      if (error instanceof RangeError) return undefined;
      throw error;
    }
  }

  async #load(open: OpenTable, place: Place): Promise<Buffer> {
    return this.#unpack(open.footer.salt, place, await this.#fetchChecked([place], false));
  }

  #tailWith(place: Place): Stored | null {
    const tail = this.#blocks.peek(TAIL) as Stored | undefined;
    return tail === undefined || place.offset < tail.offset ? null : tail;
  }

  /** Fetches block `b` and, in the same request, blocks beside it that are not cached: these are unpacked when used. */
  #loadBlocks(
    open: OpenTable,
    partition: IndexBlock,
    b: number,
    ahead: ReadAhead | undefined,
  ): MaybePromise<TableBlock> {
    const place = partition.handle(b);
    const tail = this.#tailWith(place);
    if (tail !== null && isWhole(open.footer.salt, place, tail)) return this.#unpackAhead(place, tail);
    let first = b;
    let last = b;
    let bytes = place.rawBytes;
    const takes = (i: number): boolean => {
      if (ahead === undefined || i < 0 || i >= partition.count || this.hasBlock(partition, i)) return false;
      bytes += partition.rawBytes(i);
      return bytes <= ahead.bytes;
    };
    if (ahead?.reverse) while (takes(first - 1)) first--;
    else while (takes(last + 1)) last++;
    if (first === last) {
      const raw = this.#readNear(open, place);
      if (raw !== null) return this.#cameAtOnce(place, this.#decode(place, raw));
    }
    const places = partition.handles(first, last + 1);
    const fetched = this.#fetchChecked(places, false);
    for (const each of places) if (each.offset !== place.offset) this.#expectAhead(open, each, fetched);
    const block = fetched.then((window) => this.#unpackBlock(open, place, window));
    return this.#blocks.expect(place.offset, block);
  }

  #expectAhead(open: OpenTable, place: Place, fetched: Promise<Fetched>): void {
    const stored = fetched.then((window) => {
      if (!window.isChecked) checkBlock(this.ref.key, open.footer.salt, place, window);
      const start = place.offset - window.offset;
      return new Stored(ownCopy(window.bytes, start, start + place.storedBytes + BLOCK_TRAILER_BYTES), place.offset);
    });
    void this.#blocks.expectAhead(place.offset, stored);
  }

  /** A data block out of bytes that were checked. Cached in their place. */
  #unpackAhead(place: Place, stored: Cacheable): MaybePromise<TableBlock> {
    const present = this.#blocks.peek(place.offset);
    if (present instanceof TableBlock) return present;
    const raw = unpackChecked(this.ref.key, place, stored as Stored, this.#context.runtime.offload);
    if (isPromise(raw)) {
      const block = raw.then((unpacked) => this.#decode(place, unpacked));
      return this.#blocks.expectAhead(place.offset, block);
    }
    const block = this.#decode(place, raw);
    this.#blocks.put(place.offset, block);
    return block;
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

  #unpack(salt: Buffer, place: Place, part: Fetched): MaybePromise<Buffer> {
    if (!part.isChecked) checkBlock(this.ref.key, salt, place, part);
    return unpackChecked(this.ref.key, place, part, this.#context.runtime.offload);
  }

  /** The bytes of places that lie one behind the other, asked for a second time where a checksum fails. */
  async #fetchChecked(places: readonly Place[], once: boolean): Promise<Fetched> {
    const salt = this.#salt ?? (await this.open()).footer.salt;
    const offset = places[0]!.offset;
    const last = places[places.length - 1]!;
    const end = last.offset + last.storedBytes + BLOCK_TRAILER_BYTES;
    const part = { bytes: await this.#fetch(offset, end, { once }), offset, isChecked: true };
    if (places.every((place) => isWhole(salt, place, part))) return part;
    // Whose block is wrong again is told so when it is unpacked; its neighbours are not.
    return { bytes: await this.#fetch(offset, end, { once, fresh: true }), offset, isChecked: false };
  }

  /** A cache in front of the store, or what lies between, may give wrong bytes once. */
  async #twice<T>(read: (fresh: boolean) => Promise<T>): Promise<T> {
    try {
      return await read(false);
    } catch (error) {
      if (!isDbError(error, "corrupt")) throw error;
      return read(true);
    }
  }

  async #fetch(start: number, end: number, hints: { once?: boolean; fresh?: boolean }): Promise<Buffer> {
    const { key, bytes } = this.ref;
    const { requestTimeoutMs: timeoutMs, store, cache, closing, whyMissing } = this.#context;
    const entering = cache.gate.enter(end - start);
    // Bounded by the time limits of those before. Nothing has changed if the process dies here: reading has no effect.
    if (isPromise(entering)) await entering;
    try {
      if (closing?.aborted) throw new DbError("noLeader", "the branch is being closed");
      const object = await store.get(key, { range: { start, end }, timeoutMs, ...hints });
      // Whoever was stalled until others led, merged and collected must not call their work corruption.
      if (object === null) throw (await whyMissing?.()) ?? new TableMissing(key);
      if (object.bytes !== bytes || object.body.length !== end - start) {
        const found = `${object.body.length} of ${object.bytes} bytes`;
        throw new DbError("corrupt", `object ${key}: ${found} for [${start}, ${end}) of ${bytes}`);
      }
      return object.body;
    } finally {
      cache.gate.leave(end - start);
    }
  }
}
