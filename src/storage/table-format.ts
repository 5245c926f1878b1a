import { assert } from "../base/assert.ts";
import { crc32c } from "../base/crc32c.ts";
import { DbError } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import { ByteReader } from "../base/varint.ts";
import type { BloomShape } from "./bloom.ts";
import { ByteWriter } from "./byte-writer.ts";
import { comparePositions, type Position, readPosition, writePosition } from "./position.ts";
import { readSums, type Sums, writeSums } from "./table-index.ts";

/**
 * The frame of a table (docs/formats/table.md):
 *
 *   header | data blocks | index partitions | bloom partitions | top index | footer, its length, its checksum, magic
 *
 * 1. A table never changes: its name is the SHA-256 of its bytes.
 * 2. A block's checksum begins with the table's salt and the block's offset: bytes of another table or place are
 *    refused.
 * 3. What a newer version, codec or key id means is not guessed: it is refused by name. The footer repeats the header,
 *    because a reader of ranges does not see it.
 * 4. No length, offset or count is believed before it is checked against what holds it.
 */
const MAGIC = 0x42543454; // "T4TB", little-endian
const MAGIC_END = 0x45543454; // "T4TE"
const VERSION = 1;
const CODEC_BLOCKS = 1;
const KEY_NONE = 0;
export const TABLE_HEADER_BYTES = 12;
export const TABLE_TRAILER_BYTES = 12;
export const SALT_BYTES = 16;
/** Codec and checksum behind each block. */
export const BLOCK_TRAILER_BYTES = 5;
export const BLOCK_RAW = 0;
export const BLOCK_ZSTD = 1;
/** The largest block that is read: one entry with the largest key and value. */
export const BLOCK_RAW_BYTES_MAX = 256 << 20;
const TABLE_BYTES_MAX = 2 ** 31 - 1;

/** What a space has in a table. */
export interface SpaceSums extends Sums {
  readonly space: number;
  readonly keys: number;
  readonly tombstones: number;
  readonly valueBytes: number;
}

/**
 * What a table says of itself. A checkpoint repeats most of it, so that a table need not be opened to be passed over.
 */
export interface TableFacts {
  /** Entries lie at or above `first` and below `end`. */
  readonly first: Position;
  readonly end: Position;
  /** Of each space that has entries, in order. */
  readonly spaces: readonly SpaceSums[];
  /** Multiset hash of the entries (content-hash.ts), 32 hex digits. */
  readonly contentHash: string;
  /** Versions were dropped by this compact revision; −1 for none. */
  readonly compactRevision: number;
  /** Where the index partitions begin. */
  readonly indexStart: number;
}

export interface TableFooter extends TableFacts {
  readonly salt: Buffer;
  readonly partitions: number;
  readonly bloomStart: number;
  readonly bloom: BloomShape;
  readonly topStart: number;
  readonly topStoredBytes: number;
  readonly topRawBytes: number;
  /** Of the largest block, unpacked. */
  readonly rawBytesMax: number;
}

export function tableHeader(): Buffer {
  const header = Buffer.alloc(TABLE_HEADER_BYTES);
  header.writeUInt32LE(MAGIC, 0);
  header[4] = VERSION;
  header[5] = CODEC_BLOCKS;
  header.writeUInt32LE(KEY_NONE, 8);
  return header;
}

/** Throws for a header that is not one of this version. */
export function checkTableHeader(key: ObjectKey, reader: ByteReader): void {
  const magic = reader.u32();
  if (magic !== MAGIC) throw new RangeError(`begins with ${hex(magic)}, expected ${hex(MAGIC)} (T4TB)`);
  const version = reader.u8();
  if (version !== VERSION) throw refused(key, `format version ${version}`);
  const codec = reader.u8();
  if (codec !== CODEC_BLOCKS) throw refused(key, `codec ${codec}`);
  const flags = reader.u8();
  const reserved = reader.u8();
  if (flags !== 0 || reserved !== 0) throw refused(key, `flags ${flags}, ${reserved}`);
  const keyId = reader.u32();
  if (keyId !== KEY_NONE) throw refused(key, `encryption key ${keyId}`);
}

const place = Buffer.alloc(8);

/** The checksum of a block's stored bytes at `offset`, its codec included. */
export function blockChecksum(salt: Buffer, offset: number, bytes: Uint8Array, start: number, end: number): number {
  place.writeUInt32LE(offset, 0);
  return crc32c(bytes, start, end, crc32c(place, 0, 8, crc32c(salt)));
}

export function encodeFooter(footer: TableFooter): Buffer {
  assert(footer.salt.length === SALT_BYTES, "a salt has 16 bytes");
  const writer = new ByteWriter();
  writer.raw(tableHeader());
  writer.raw(footer.salt);
  writer.hex(footer.contentHash, 16);
  writer.zigzag(footer.compactRevision);
  writer.varint(footer.indexStart);
  writer.varint(footer.partitions);
  writer.varint(footer.bloomStart);
  writer.varint(footer.bloom.partitions);
  writer.varint(footer.bloom.partitionBytes);
  writer.varint(footer.topStart);
  writer.varint(footer.topStoredBytes);
  writer.varint(footer.topRawBytes);
  writer.varint(footer.rawBytesMax);
  writeFactsBounds(writer, footer);
  const length = writer.at;
  writer.u32(length);
  writer.u32(crc32c(writer.bytes, 0, writer.at));
  writer.u32(MAGIC_END);
  return writer.view();
}

export function writeFactsBounds(writer: ByteWriter, facts: TableFacts): void {
  writePosition(writer, facts.first);
  writePosition(writer, facts.end);
  writer.varint(facts.spaces.length);
  for (const space of facts.spaces) {
    writer.u8(space.space);
    writeSums(writer, space);
    writer.varint(space.keys);
    writer.varint(space.tombstones);
    writer.varint(space.valueBytes);
  }
}

export function readFactsBounds(reader: ByteReader): Pick<TableFacts, "first" | "end" | "spaces"> {
  const first = readPosition(reader);
  const end = readPosition(reader);
  if (comparePositions(first, end) >= 0) throw new RangeError("a table's bounds are not in order");
  const count = reader.varint();
  if (count < 1 || count > 256) throw new RangeError(`${count} spaces`);
  const spaces: SpaceSums[] = [];
  for (let i = 0; i < count; i++) {
    const space = reader.u8();
    if (i > 0 && space <= spaces[i - 1]!.space) throw new RangeError("spaces are not in order");
    const sums = readSums(reader);
    const keys = reader.varint();
    const tombstones = reader.varint();
    const valueBytes = reader.varint();
    if (sums.entries < 1 || keys > sums.entries || tombstones > sums.entries) {
      throw new RangeError(`${keys} keys and ${tombstones} tombstones in ${sums.entries} entries`);
    }
    spaces.push({ space, ...sums, keys, tombstones, valueBytes });
  }
  return { first, end, spaces };
}

/** Length of the footer with its trailer, from the last bytes of a table. */
export function footerBytes(tail: Buffer, tableBytes: number): number {
  if (tableBytes > TABLE_BYTES_MAX) throw new RangeError(`${tableBytes} bytes are too many for a table`);
  const reader = new ByteReader(tail, tail.length - TABLE_TRAILER_BYTES);
  const length = reader.u32() + TABLE_TRAILER_BYTES;
  reader.u32();
  const magic = reader.u32();
  if (magic !== MAGIC_END) throw new RangeError(`ends with ${hex(magic)}, expected ${hex(MAGIC_END)} (T4TE)`);
  if (length + TABLE_HEADER_BYTES > tableBytes) throw new RangeError(`a footer of ${length} bytes in ${tableBytes}`);
  return length;
}

/** `bytes` are the footer with its trailer, the last of a table of `tableBytes`. */
export function decodeFooter(key: ObjectKey, bytes: Buffer, tableBytes: number): TableFooter {
  const expected = crc32c(bytes, 0, bytes.length - 8);
  const found = bytes.readUInt32LE(bytes.length - 8);
  if (found !== expected) throw new RangeError(`footer checksum ${hex(found)}, expected ${hex(expected)}`);
  const reader = new ByteReader(bytes, 0, bytes.length - TABLE_TRAILER_BYTES);
  checkTableHeader(key, reader);
  const salt = Buffer.from(reader.take(SALT_BYTES));
  const contentHash = Buffer.from(reader.take(16)).toString("hex");
  const compact = reader.varint();
  if (compact % 2 === 1 && compact !== 1) throw new RangeError("a negative compact revision");
  const footer: TableFooter = {
    salt,
    contentHash,
    compactRevision: compact === 1 ? -1 : compact / 2,
    indexStart: reader.varint(),
    partitions: reader.varint(),
    bloomStart: reader.varint(),
    bloom: { partitions: reader.varint(), partitionBytes: reader.varint() },
    topStart: reader.varint(),
    topStoredBytes: reader.varint(),
    topRawBytes: reader.varint(),
    rawBytesMax: reader.varint(),
    ...readFactsBounds(reader),
  };
  if (reader.left !== 0) throw new RangeError(`a footer with ${reader.left} bytes too many`);
  checkLayout(footer, tableBytes - bytes.length);
  return footer;
}

function checkLayout(footer: TableFooter, footerStart: number): void {
  const { indexStart, bloomStart, bloom, topStart, topStoredBytes } = footer;
  const bloomEnd = bloomStart + bloom.partitions * (bloom.partitionBytes + BLOCK_TRAILER_BYTES);
  const inOrder =
    indexStart > TABLE_HEADER_BYTES &&
    bloomStart > indexStart &&
    bloom.partitions > 0 &&
    bloom.partitionBytes > 0 &&
    bloomEnd === topStart &&
    topStart + topStoredBytes + BLOCK_TRAILER_BYTES === footerStart;
  if (!inOrder) throw new RangeError("the parts of the table do not lie one behind the other");
  if (footer.rawBytesMax > BLOCK_RAW_BYTES_MAX || footer.topRawBytes > BLOCK_RAW_BYTES_MAX) {
    throw new RangeError(`a block of ${Math.max(footer.rawBytesMax, footer.topRawBytes)} bytes`);
  }
}

/** Turns what a decoder threw into `corrupt`, naming the object. */
export function corrupt(key: ObjectKey, what: string, error: unknown): unknown {
  if (!(error instanceof RangeError)) return error;
  return new DbError("corrupt", `object ${key}: ${what}${error.message}`, { cause: error });
}

const refused = (key: ObjectKey, what: string): DbError =>
  new DbError("storeRefused", `object ${key}: ${what} is unknown to this version of t4: a newer one has written it`);

export const hex = (value: number): string => `0x${value.toString(16).padStart(8, "0")}`;
