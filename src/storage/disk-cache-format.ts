import { assert } from "../base/assert.ts";
import { crc32c } from "../base/crc32c.ts";

/**
 * A file of the disk cache (docs/formats/disk-cache.md):
 *
 *   header | directory: an entry for each place | zeros up to a multiple of 4096 | places
 *
 * A place holds one piece of a table: bytes [n × pieceBytes, (n + 1) × pieceBytes), or as many as there are. Nothing is
 * synced: after a crash an entry may name a piece whose bytes never came. The bytes are checked by whoever reads them,
 * by the checksums of the table's own blocks.
 */
const MAGIC = 0x43443454; // "T4DC", little-endian
const VERSION = 1;
export const HEADER_BYTES = 32;
export const ENTRY_BYTES = 32;
const TABLE_ID_BYTES = 16;
/** Larger objects are not cached: an entry has four bytes for their size. */
export const OBJECT_BYTES_MAX = 0xffff_ffff;

/** How a file is laid out. */
export interface ShelfShape {
  readonly pieceBytes: number;
  readonly places: number;
}

/** A piece of a table: the first half of the SHA-256 that the table is named by, and the piece's number. */
export interface PieceId {
  readonly table: Buffer;
  readonly piece: number;
}

export interface PieceEntry extends PieceId {
  /** Of the whole table. */
  readonly objectBytes: number;
}

/** Where the first place begins. */
export const placesStart = ({ places }: ShelfShape): number =>
  Math.ceil((HEADER_BYTES + places * ENTRY_BYTES) / 4096) * 4096;

/** A file with all its places. */
export const shelfBytes = (shape: ShelfShape): number => placesStart(shape) + shape.places * shape.pieceBytes;

/** Length of piece `piece` of a table; 0 or less where it has no such piece. */
export const pieceLength = (objectBytes: number, piece: number, pieceBytes: number): number =>
  Math.min(pieceBytes, objectBytes - piece * pieceBytes);

export function encodeHeader({ pieceBytes, places }: ShelfShape): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(MAGIC, 0);
  header[4] = VERSION;
  header.writeUInt32LE(pieceBytes, 8);
  header.writeUInt32LE(places, 12);
  header.writeUInt32LE(crc32c(header, 0, HEADER_BYTES - 4), HEADER_BYTES - 4);
  return header;
}

/** Whether `bytes` begin with the header of a file of this shape; anything else is a file to begin anew. */
export const isHeader = (bytes: Buffer, shape: ShelfShape): boolean =>
  bytes.length >= HEADER_BYTES && bytes.compare(encodeHeader(shape), 0, HEADER_BYTES, 0, HEADER_BYTES) === 0;

export function encodeEntry({ table, piece, objectBytes }: PieceEntry): Buffer {
  assert(table.length === TABLE_ID_BYTES, "a table is told by 16 bytes");
  assert(objectBytes > 0 && objectBytes <= OBJECT_BYTES_MAX, "an object that is cached has a size");
  const entry = Buffer.alloc(ENTRY_BYTES);
  table.copy(entry, 0);
  entry.writeUInt32LE(piece, 16);
  entry.writeUInt32LE(objectBytes, 20);
  entry.writeUInt32LE(crc32c(entry, 0, ENTRY_BYTES - 4), ENTRY_BYTES - 4);
  return entry;
}

/** Null for a place that is free, and for what no `encodeEntry` made. */
export function decodeEntry(bytes: Buffer, at: number, { pieceBytes }: ShelfShape): PieceEntry | null {
  const sum = at + ENTRY_BYTES - 4;
  if (bytes.length < at + ENTRY_BYTES || bytes.readUInt32LE(sum) !== crc32c(bytes, at, sum)) return null;
  const table = bytes.subarray(at, at + TABLE_ID_BYTES);
  const piece = bytes.readUInt32LE(at + 16);
  const objectBytes = bytes.readUInt32LE(at + 20);
  if (pieceLength(objectBytes, piece, pieceBytes) <= 0) return null;
  return { table, piece, objectBytes };
}

/** Whether the entry at `at`, which was decoded before, is of this piece. */
export const isEntryOf = (bytes: Buffer, at: number, { table, piece }: PieceId): boolean =>
  bytes.readUInt32LE(at + TABLE_ID_BYTES) === piece &&
  bytes.compare(table, 0, TABLE_ID_BYTES, at, at + TABLE_ID_BYTES) === 0;

/** Of an entry that was decoded before. */
export const objectBytesOf = (bytes: Buffer, at: number): number => bytes.readUInt32LE(at + 20);

/** 32 bits by which a piece is looked for in a file; never 0, which marks a free place. */
export function tagOf({ table, piece }: PieceId): number {
  return mix(table.readUInt32LE(0) ^ Math.imul(piece + 1, 0x9e3779b1)) || 1;
}

/**
 * The file that a piece belongs to, of `shelves`: jump consistent hashing (Lamping, Veach 2014), so that with another
 * number of files most pieces stay where they are.
 */
export function shelfOf({ table, piece }: PieceId, shelves: number): number {
  let state = mix(table.readUInt32LE(4) + Math.imul(piece + 1, 0x85ebca6b));
  let at = 0;
  for (let next = 0; next < shelves; ) {
    at = next;
    state = (state + 0x6d2b79f5) >>> 0;
    next = Math.floor((at + 1) / ((mix(state) + 1) / 2 ** 32));
  }
  return at;
}

function mix(word: number): number {
  let h = word ^ (word >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
