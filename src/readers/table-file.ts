import { constants, zstdDecompressSync } from "node:zlib";
import { DbError, messageOf } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import { ByteReader } from "../base/varint.ts";
import type { ObjectStore, RequestOptions } from "../objects/objects.ts";
import type { Position } from "../storage/position.ts";
import { decodeBlock, type TableBlock } from "../storage/table-block.ts";
import {
  BLOCK_RAW,
  BLOCK_TRAILER_BYTES,
  BLOCK_ZSTD,
  blockChecksum,
  checkTableHeader,
  corrupt,
  decodeFooter,
  footerBytes,
  hex,
  TABLE_HEADER_BYTES,
  TABLE_TRAILER_BYTES,
  type TableFooter,
} from "../storage/table-format.ts";
import { type BlockHandle, decodeIndexBlock } from "../storage/table-index.ts";

/**
 * A table read for tools: from its first byte to its last, once, past every cache, with a window in memory. It shares
 * the codec with the database's own reader and nothing else, so that what one of the two takes for granted the other
 * does not.
 */
export interface TableFile {
  readonly key: ObjectKey;
  readonly bytes: number;
  readonly footer: TableFooter;
  readonly top: readonly BlockHandle[];
  /** Of each partition of the top index. */
  readonly partitions: readonly (readonly BlockHandle[])[];
  readonly bloom: readonly Buffer[];
  /** Everything from the first index partition on, as stored. */
  readonly tail: Buffer;
}

export interface TableSource {
  readonly store: ObjectStore;
  readonly request: RequestOptions;
}

/** A table is not there, or no more: a fault as long as something names it. */
export class TableMissing extends DbError {
  readonly key: ObjectKey;

  constructor(key: ObjectKey, detail: string) {
    super("corrupt", `object ${key}: ${detail}`);
    this.key = key;
  }
}

/** Fetched at once. */
const WINDOW_BYTES = 4 << 20;
/** Index, bloom filter and footer are fetched whole; a table of 64 MiB has about one. */
const TAIL_BYTES_FIRST = 256 << 10;

/**
 * Null where there is no such object. Throws `corrupt` naming the object, and the place where that is known;
 * TableMissing where it goes meanwhile.
 */
export async function openTableFile(source: TableSource, key: ObjectKey): Promise<TableFile | null> {
  const { store, request } = source;
  const last = await store.get(key, { ...request, range: { suffix: TAIL_BYTES_FIRST } });
  if (last === null) return null;
  const { bytes } = last;
  try {
    const least = TABLE_HEADER_BYTES + TABLE_TRAILER_BYTES;
    if (bytes < least) throw new RangeError(`${bytes} bytes, expected at least ${least}`);
    let tail = last.body;
    const footerStart = bytes - footerBytes(tail, bytes);
    if (footerStart < bytes - tail.length) tail = await fetchRange(source, key, footerStart, bytes, bytes);
    const footer = decodeFooter(key, tail.subarray(footerStart - bytes), bytes);
    if (footer.indexStart < bytes - tail.length) tail = await fetchRange(source, key, footer.indexStart, bytes, bytes);
    tail = tail.subarray(footer.indexStart - bytes);
    return { key, bytes, footer, tail, ...decodeIndex(key, footer, tail) };
  } catch (error) {
    throw corrupt(key, "", error);
  }
}

async function fetchRange(
  { store, request }: TableSource,
  key: ObjectKey,
  start: number,
  end: number,
  bytes: number,
): Promise<Buffer> {
  const object = await store.get(key, { ...request, range: { start, end } });
  if (object === null) throw new TableMissing(key, "has gone while it was read");
  if (object.bytes !== bytes || object.body.length !== end - start) {
    throw new RangeError(`${object.body.length} of ${object.bytes} bytes for [${start}, ${end}) of ${bytes}`);
  }
  return object.body;
}

function decodeIndex(key: ObjectKey, footer: TableFooter, tail: Buffer) {
  const { indexStart, bloomStart, bloom: shape, topStart, topStoredBytes, topRawBytes, rawBytesMax } = footer;
  const bounds = { trailerBytes: BLOCK_TRAILER_BYTES, rawBytesMax };
  const topPlace = { offset: topStart, storedBytes: topStoredBytes, rawBytes: topRawBytes };
  const part = { key, salt: footer.salt, bytes: tail, from: indexStart };
  const read = (place: BlockPlace, count: number, offsetMin: number, offsetMax: number) => {
    try {
      const raw = unpackBlock(part, place);
      return decodeIndexBlock(raw, { ...bounds, count, offsetMin, offsetMax }).handles();
    } catch (error) {
      throw corrupt(key, `index block at ${place.offset}: `, error);
    }
  };
  const top = read(topPlace, footer.partitions, indexStart, bloomStart);
  const partitions = top.map((place) => read(place, place.count, TABLE_HEADER_BYTES, indexStart));
  const bloom = Array.from({ length: shape.partitions }, (_, i) => {
    const offset = bloomStart + i * (shape.partitionBytes + BLOCK_TRAILER_BYTES);
    return unpackBlock(part, { offset, storedBytes: shape.partitionBytes, rawBytes: shape.partitionBytes });
  });
  return { top, partitions, bloom };
}

type BlockPlace = Pick<BlockHandle, "offset" | "storedBytes" | "rawBytes">;

/** Stored bytes of a table from offset `from` on. */
interface Part {
  readonly key: ObjectKey;
  readonly salt: Buffer;
  readonly bytes: Buffer;
  readonly from: number;
}

function unpackBlock({ key, salt, bytes, from }: Part, place: BlockPlace): Buffer {
  const fail = (what: string): DbError =>
    new DbError("corrupt", `object ${key}: block at byte ${place.offset}: ${what}`);
  const start = place.offset - from;
  const end = start + place.storedBytes;
  if (start < 0 || end + BLOCK_TRAILER_BYTES > bytes.length) throw fail("lies outside its part of the table");
  const found = bytes.readUInt32LE(end + 1);
  const expected = blockChecksum(salt, place.offset, bytes, start, end + 1);
  if (found !== expected) throw fail(`checksum ${hex(found)}, expected ${hex(expected)}`);
  const codec = bytes[end]!;
  const stored = bytes.subarray(start, end);
  if (codec === BLOCK_RAW) {
    if (place.rawBytes !== place.storedBytes) throw fail(`${place.storedBytes} bytes, expected ${place.rawBytes}`);
    return stored;
  }
  if (codec !== BLOCK_ZSTD) throw fail(`codec ${codec} is unknown to this version of t4`);
  let raw: Buffer;
  try {
    raw = zstdDecompressSync(stored, { maxOutputLength: place.rawBytes + 1, params: { [WINDOW_LOG_MAX]: 20 } });
  } catch (error) {
    throw fail(`does not unpack: ${messageOf(error)}`);
  }
  if (raw.length !== place.rawBytes) throw fail(`unpacks to ${raw.length} bytes, expected ${place.rawBytes}`);
  return raw;
}

/** As the writer's level has it: a larger window would be somebody else's. */
const WINDOW_LOG_MAX = constants.ZSTD_d_windowLogMax;

/** A data block, or why it cannot be read. */
export interface ReadBlock {
  readonly handle: BlockHandle;
  /** Where the next one starts; of the last one, the table's end. */
  readonly end: Position;
  readonly block: TableBlock | DbError;
}

/**
 * All data blocks in order. `onBytes` gets every byte of the table before its index, once, in order. Throws `corrupt`
 * where the table itself cannot be read on; a block that cannot is given as its error.
 */
export async function* blocksOf(
  source: TableSource,
  file: TableFile,
  options: { windowBytes?: number; onBytes?: (bytes: Buffer) => void } = {},
): AsyncGenerator<ReadBlock> {
  const { key, footer, bytes } = file;
  const { windowBytes = WINDOW_BYTES, onBytes } = options;
  const handles = file.partitions.flat();
  let window: Part = { key, salt: footer.salt, bytes: Buffer.alloc(0), from: 0 };
  const fill = async (until: number): Promise<void> => {
    const at = window.from + window.bytes.length;
    const end = Math.min(footer.indexStart, Math.max(until, at + windowBytes));
    const more = await fetchRange(source, key, at, end, bytes);
    onBytes?.(more);
    const left = window.bytes.subarray(Math.max(0, window.bytes.length - (at - consumed)));
    window = { ...window, bytes: left.length === 0 ? more : Buffer.concat([left, more]), from: at - left.length };
  };
  let consumed = 0;
  try {
    await fill(Math.min(footer.indexStart, windowBytes));
    checkTableHeader(key, new ByteReader(window.bytes, 0, TABLE_HEADER_BYTES));
    consumed = TABLE_HEADER_BYTES;
    for (const [i, handle] of handles.entries()) {
      consumed = handle.offset;
      const end = handle.offset + handle.storedBytes + BLOCK_TRAILER_BYTES;
      if (end > window.from + window.bytes.length) await fill(end);
      yield { handle, end: handles[i + 1]?.start ?? footer.end, block: readBlock(window, handle) };
    }
    consumed = footer.indexStart;
    // Nothing lies behind the last block; were it otherwise, its bytes would still be hashed.
    while (window.from + window.bytes.length < footer.indexStart) await fill(footer.indexStart);
  } catch (error) {
    throw corrupt(key, "", error);
  }
}

function readBlock(window: Part, handle: BlockHandle): TableBlock | DbError {
  try {
    // A copy: what stays in memory is the block, not the window.
    return decodeBlock(Buffer.from(unpackBlock(window, handle)), handle.count);
  } catch (error) {
    const failure = corrupt(window.key, `block at byte ${handle.offset}: `, error);
    if (failure instanceof DbError) return failure;
    throw failure;
  }
}
