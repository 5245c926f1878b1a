import { assert } from "../base/assert.ts";
import { crc32c } from "../base/crc32c.ts";
import { DbError } from "../base/errors.ts";
import type { BranchId, Epoch, RecordNumber, Revision } from "../base/ids.ts";
import { ByteReader } from "../base/varint.ts";
import type { LogRecord } from "./log.ts";
import type { RecordBatch } from "./record-batch.ts";
import { hex, markOfRecord, type RecordMark, readRecord } from "./record-codec.ts";

/**
 * The local log's files (docs/formats/local-log.md): a header, then frames, one a write.
 *
 * 1. A file has a generation of 64 random bits, in its header and in every frame. So bytes that an earlier use of the
 *    file left behind are never taken for new ones, and no value that a client stores can look like a frame.
 * 2. A frame names the checksum of the one before it (the first one that of the file's header).
 * 3. One frame is written at a time, and none behind one that is not whole. So a frame that is not whole is the torn
 *    end of the file; with a good frame of the same generation behind it, it is damage, which is never cut off in
 *    silence.
 */
const FILE_MAGIC = 0x4c573454; // "T4WL", little-endian
const FRAME_MAGIC = 0x52463454; // "T4FR"
const VERSION = 1;
const CODEC_PLAIN = 0;
const KEY_NONE = 0;
const FILE_CHECKSUM_AT = 52;
/** A sector of its own: no frame's write touches it. */
export const FILE_HEADER_BYTES = 512;
const FRAME_PATTERN_BYTES = 12;
const FRAME_CHECKSUM_AT = 76;
export const FRAME_HEADER_BYTES = 80;
const RECORD_BYTES_MIN = 8;
const FRAME_RECORD_BYTES_MAX = 2 ** 31 - 1;

export interface FileHeader {
  readonly branch: BranchId;
  readonly sequence: number;
  /** 16 hex digits. */
  readonly generation: string;
}

export interface Frame {
  /** Where its header begins. */
  readonly at: number;
  /** The leadership that wrote it. */
  readonly epoch: Epoch;
  readonly before: RecordMark;
  readonly count: number;
  /** The newest record known to be in the bucket when it was written. */
  readonly uploaded: RecordNumber;
  readonly recordsEnd: number;
  readonly checksum: number;
}

export interface ScannedFile {
  readonly header: FileHeader;
  readonly frames: readonly Frame[];
  /** Behind the last whole frame. */
  readonly end: number;
  /** What is there begins as a frame of this generation, but is not a whole one. */
  readonly torn: boolean;
  /** What the next frame would have to name. */
  readonly checksum: number;
}

/** Returns the header's bytes, and the checksum that the first frame names. */
export function encodeFileHeader(header: FileHeader): { bytes: Buffer; checksum: number } {
  const bytes = Buffer.alloc(FILE_HEADER_BYTES);
  bytes.writeUInt32LE(FILE_MAGIC, 0);
  bytes[4] = VERSION;
  bytes[5] = CODEC_PLAIN;
  bytes.writeUInt32LE(KEY_NONE, 8);
  bytes.write(header.branch, 12, "hex");
  writeU64(bytes, 28, header.sequence);
  bytes.write(header.generation, 36, "hex");
  const checksum = crc32c(bytes, 0, FILE_CHECKSUM_AT);
  bytes.writeUInt32LE(checksum, FILE_CHECKSUM_AT);
  return { bytes, checksum };
}

function readFileHeader(path: string, bytes: Buffer): { header: FileHeader; checksum: number } {
  if (bytes.length < FILE_HEADER_BYTES) throw corrupt(path, `${bytes.length} bytes are too few for its header`);
  const reader = new ByteReader(bytes, 0, FILE_CHECKSUM_AT);
  const magic = reader.u32();
  if (magic !== FILE_MAGIC) throw corrupt(path, `begins with ${hex(magic)}, expected ${hex(FILE_MAGIC)} (T4WL)`);
  const version = reader.u8();
  if (version !== VERSION) throw refused(path, `format version ${version}`);
  const checksum = new ByteReader(bytes, FILE_CHECKSUM_AT).u32();
  const expected = crc32c(bytes, 0, FILE_CHECKSUM_AT);
  if (checksum !== expected) throw corrupt(path, `header checksum ${hex(checksum)}, expected ${hex(expected)}`);
  const codec = reader.u8();
  const reserved = reader.u8() + reader.u8();
  const keyId = reader.u32();
  const branch = Buffer.from(reader.take(16)).toString("hex") as BranchId;
  const sequence = reader.u64();
  const generation = Buffer.from(reader.take(8)).toString("hex");
  if (codec !== CODEC_PLAIN) throw refused(path, `codec ${codec}`);
  if (keyId !== KEY_NONE) throw refused(path, `encryption key ${keyId}`);
  if (reserved !== 0) throw refused(path, "a reserved byte that is set");
  return { header: { branch, sequence, generation }, checksum };
}

/**
 * Completes `batch` to a frame, in place; returns what the next frame names. A frame without records carries its mark
 * alone.
 */
export function sealFrame(
  batch: RecordBatch,
  frame: { generation: Buffer; epoch: Epoch; uploaded: RecordNumber; previousChecksum: number },
): number {
  assert(batch.headerBytes === FRAME_HEADER_BYTES, "a frame's batch leaves room for its header");
  assert(batch.recordBytes <= FRAME_RECORD_BYTES_MAX, "a frame is below 2 GiB");
  const { bytes, before } = batch;
  bytes.writeUInt32LE(FRAME_MAGIC, 0);
  frame.generation.copy(bytes, 4);
  writeU64(bytes, 12, frame.epoch);
  writeU64(bytes, 20, before.number);
  writeU64(bytes, 28, before.epoch);
  writeU64(bytes, 36, before.wallMs);
  writeU64(bytes, 44, before.revision);
  writeU64(bytes, 52, frame.uploaded);
  bytes.writeUInt32LE(batch.count, 60);
  bytes.writeUInt32LE(batch.recordBytes, 64);
  bytes.writeUInt32LE(frame.previousChecksum, 68);
  bytes.writeUInt32LE(crc32c(bytes, FRAME_HEADER_BYTES, batch.end), 72);
  const checksum = crc32c(bytes, 0, FRAME_CHECKSUM_AT);
  bytes.writeUInt32LE(checksum, FRAME_CHECKSUM_AT);
  return checksum;
}

/**
 * All frames of one file. Throws `corrupt` naming the file and the place, `storeRefused` for what a newer t4 has
 * written.
 */
export function scanFile(path: string, bytes: Buffer, expected: ExpectedFile): ScannedFile {
  try {
    return scan(path, bytes, expected);
  } catch (error) {
    // A number that is too large, under a good checksum.
    if (error instanceof RangeError) throw corrupt(path, error.message);
    throw error;
  }
}

interface ExpectedFile {
  readonly branch: BranchId;
  readonly sequence: number;
}

function scan(path: string, bytes: Buffer, expected: ExpectedFile): ScannedFile {
  const { header, checksum: headerChecksum } = readFileHeader(path, bytes);
  if (header.branch !== expected.branch) {
    throw corrupt(path, `is of branch ${header.branch}, expected ${expected.branch}`);
  }
  if (header.sequence !== expected.sequence) {
    throw corrupt(path, `has sequence ${header.sequence}, expected ${expected.sequence}`);
  }
  const pattern = patternOf(header.generation);
  const frames: Frame[] = [];
  let at = FILE_HEADER_BYTES;
  let checksum = headerChecksum;
  for (;;) {
    const frame = readFrameHeader(bytes, at, pattern);
    if (frame === null) break;
    if (frame.previousChecksum !== checksum) {
      throw corrupt(path, `the frame at byte ${at} follows ${hex(frame.previousChecksum)}, expected ${hex(checksum)}`);
    }
    if (!isWhole(bytes, frame)) break;
    frames.push(frame);
    checksum = frame.checksum;
    at = frame.recordsEnd;
  }
  const later = laterFrame(bytes, at + 1, pattern);
  if (later !== null) throw corrupt(path, `the frame at byte ${at} is damaged: a good one follows at byte ${later}`);
  const torn =
    bytes.length >= at + FRAME_PATTERN_BYTES &&
    bytes.compare(pattern, 0, pattern.length, at, at + pattern.length) === 0;
  return { header, frames, end: at, torn, checksum };
}

interface FrameHeader extends Frame {
  readonly previousChecksum: number;
  readonly recordsChecksum: number;
}

/** Null if there is no good frame header of this generation. */
function readFrameHeader(bytes: Buffer, at: number, pattern: Buffer): FrameHeader | null {
  if (at + FRAME_HEADER_BYTES > bytes.length) return null;
  if (bytes.compare(pattern, 0, pattern.length, at, at + pattern.length) !== 0) return null;
  const checksum = bytes.readUInt32LE(at + FRAME_CHECKSUM_AT);
  if (crc32c(bytes, at, at + FRAME_CHECKSUM_AT) !== checksum) return null;
  const reader = new ByteReader(bytes, at + FRAME_PATTERN_BYTES, at + FRAME_CHECKSUM_AT);
  const epoch = reader.u64() as Epoch;
  const before: RecordMark = {
    number: reader.u64() as RecordNumber,
    epoch: reader.u64() as Epoch,
    wallMs: reader.u64(),
    revision: reader.u64() as Revision,
  };
  const uploaded = reader.u64() as RecordNumber;
  const count = reader.u32();
  const recordsEnd = at + FRAME_HEADER_BYTES + reader.u32();
  const previousChecksum = reader.u32();
  const recordsChecksum = reader.u32();
  return { at, epoch, before, uploaded, count, recordsEnd, checksum, previousChecksum, recordsChecksum };
}

function isWhole(bytes: Buffer, frame: FrameHeader): boolean {
  const start = frame.at + FRAME_HEADER_BYTES;
  if (frame.recordsEnd > bytes.length || frame.count * RECORD_BYTES_MIN > frame.recordsEnd - start) return false;
  return crc32c(bytes, start, frame.recordsEnd) === frame.recordsChecksum;
}

/** Where a good frame header of this generation begins, from `from` on. */
function laterFrame(bytes: Buffer, from: number, pattern: Buffer): number | null {
  for (let at = bytes.indexOf(pattern, behindZeros(bytes, from)); at !== -1; at = bytes.indexOf(pattern, at + 1)) {
    if (readFrameHeader(bytes, at, pattern) !== null) return at;
  }
  return null;
}

const ZEROS = Buffer.alloc(64 << 10);

/**
 * A place up to which there is nothing but zeros from `from` on: mostly the end, as a file begins as zeros. Comparing
 * takes a tenth of searching (16 MiB: 9 ms of a start), and where a pattern begins is no zero.
 */
function behindZeros(bytes: Buffer, from: number): number {
  let at = from;
  while (at < bytes.length) {
    const count = Math.min(ZEROS.length, bytes.length - at);
    if (bytes.compare(ZEROS, 0, count, at, at + count) !== 0) break;
    at += count;
  }
  return at;
}

/** The frame's records; their payloads are views of `bytes`. */
export function readFrameRecords(path: string, bytes: Buffer, frame: Frame): LogRecord[] {
  const records: LogRecord[] = [];
  const reader = new ByteReader(bytes, frame.at + FRAME_HEADER_BYTES, frame.recordsEnd);
  let mark = frame.before;
  try {
    for (let n = 0; n < frame.count; n++) {
      const record = readRecord(reader, mark);
      records.push(record);
      mark = markOfRecord(record);
    }
    if (reader.left > 0) throw new RangeError(`${reader.left} bytes behind the last record`);
  } catch (error) {
    if (error instanceof RangeError) throw corrupt(path, `frame at byte ${frame.at}: ${error.message}`);
    throw error;
  }
  return records;
}

function patternOf(generation: string): Buffer {
  const pattern = Buffer.alloc(FRAME_PATTERN_BYTES);
  pattern.writeUInt32LE(FRAME_MAGIC, 0);
  pattern.write(generation, 4, "hex");
  return pattern;
}

export const corrupt = (path: string, what: string): DbError => new DbError("corrupt", `local log ${path}: ${what}`);

const refused = (path: string, what: string): DbError =>
  new DbError(
    "storeRefused",
    `local log ${path}: ${what} is unknown to this version of t4: a newer one has written it`,
  );

function writeU64(bytes: Buffer, at: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, "a number in a header is a safe integer >= 0");
  bytes.writeUInt32LE(value % 0x100000000, at);
  bytes.writeUInt32LE(Math.floor(value / 0x100000000), at + 4);
}
