import { hash } from "node:crypto";
import { assert } from "../base/assert.ts";
import { crc32c } from "../base/crc32c.ts";
import { DbError } from "../base/errors.ts";
import {
  type BranchId,
  branchId,
  type Epoch,
  type ObjectKey,
  type RecordNumber,
  type Revision,
  type Slot,
} from "../base/ids.ts";
import { ByteReader } from "../base/varint.ts";
import type { LogRecord, Segment, SegmentHeader } from "./log.ts";
import type { RecordBatch } from "./record-batch.ts";
import { hex, markOfRecord, type RecordMark, readRecord } from "./record-codec.ts";

/**
 * A segment's bytes (docs/formats/segment.md): header of 144 bytes with a checksum of its own, records, checksum of
 * everything before.
 *
 * 1. A segment is decoded from its own bytes alone; whether it fits the log is the chain's judgement (chain.ts).
 * 2. What a newer version, codec or key id means is not guessed: it is refused by name.
 * 3. No length or count is believed before it is checked against the bytes at hand.
 * 4. Every bit is covered: by the header's checksum, a record's, and the trailer's.
 */
const MAGIC = 0x47533454; // "T4SG", little-endian
const VERSION = 1;
const CODEC_PLAIN = 0;
const KEY_NONE = 0;
const FLAG_FENCE = 1;
const RECORD_BYTES_AT = 124;
const HEADER_CHECKSUM_AT = 140;
export const SEGMENT_HEADER_BYTES = 144;
export const SEGMENT_TRAILER_BYTES = 4;
/** The least that a record takes: four varints of one byte and its checksum. */
const RECORD_BYTES_MIN = 8;
const SEGMENT_BYTES_MAX = 2 ** 31 - 1;
const NONCE = /^[0-9a-f]{16}$/;
const SHA256 = /^[0-9a-f]{64}$/;

/** What a segment's records do not say. */
export interface SegmentPlace {
  readonly branch: BranchId;
  readonly epoch: Epoch;
  readonly nonce: string;
  readonly slot: Slot;
  readonly previousHash: string;
}

/** Completes `batch` to a segment; the result is a view of the batch's buffer, which must not change any more. */
export function sealSegment(batch: RecordBatch, place: SegmentPlace): Buffer {
  assert(batch.headerBytes === SEGMENT_HEADER_BYTES, "a segment's batch leaves room for its header");
  assert(batch.trailerBytes === SEGMENT_TRAILER_BYTES, "a segment's batch leaves room for its trailer");
  assert(batch.count > 0, "a segment carries records");
  assert(batch.end + SEGMENT_TRAILER_BYTES <= SEGMENT_BYTES_MAX, "a segment is below 2 GiB");
  const { before, last } = batch;
  writeHeader(batch.bytes, {
    ...place,
    fence: false,
    firstRecord: (before.number + 1) as RecordNumber,
    recordCount: batch.count,
    epochBefore: before.epoch,
    wallMsBefore: before.wallMs,
    revisionBefore: before.revision,
    revisionAfter: last.revision,
    recordBytes: batch.recordBytes,
  });
  batch.bytes.writeUInt32LE(crc32c(batch.bytes, 0, batch.end), batch.end);
  return batch.bytes.subarray(0, batch.end + SEGMENT_TRAILER_BYTES);
}

/** A fence behind the record `before`. */
export function encodeFence(place: SegmentPlace, before: RecordMark): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES + SEGMENT_TRAILER_BYTES);
  writeHeader(bytes, {
    ...place,
    fence: true,
    firstRecord: (before.number + 1) as RecordNumber,
    recordCount: 0,
    epochBefore: before.epoch,
    wallMsBefore: before.wallMs,
    revisionBefore: before.revision,
    revisionAfter: before.revision,
    recordBytes: 0,
  });
  bytes.writeUInt32LE(crc32c(bytes, 0, SEGMENT_HEADER_BYTES), SEGMENT_HEADER_BYTES);
  return bytes;
}

export const hashOfSegment = (bytes: Uint8Array): string => hash("sha256", bytes, "hex");

function writeHeader(bytes: Buffer, header: SegmentHeader & { recordBytes: number }): void {
  assert(NONCE.test(header.nonce), "a nonce is 16 hex digits");
  assert(SHA256.test(header.previousHash), "a previous hash is 64 hex digits");
  bytes.writeUInt32LE(MAGIC, 0);
  bytes[4] = VERSION;
  bytes[5] = CODEC_PLAIN;
  bytes[6] = header.fence ? FLAG_FENCE : 0;
  bytes[7] = 0;
  bytes.writeUInt32LE(KEY_NONE, 8);
  bytes.write(header.branch, 12, "hex");
  writeU64(bytes, 28, header.epoch);
  writeU64(bytes, 36, header.slot);
  bytes.write(header.nonce, 44, "hex");
  bytes.write(header.previousHash, 52, "hex");
  writeU64(bytes, 84, header.firstRecord);
  writeU64(bytes, 92, header.epochBefore);
  writeU64(bytes, 100, header.wallMsBefore);
  writeU64(bytes, 108, header.revisionBefore);
  writeU64(bytes, 116, header.revisionAfter);
  writeU64(bytes, RECORD_BYTES_AT, header.recordBytes);
  writeU64(bytes, RECORD_BYTES_AT + 8, header.recordCount);
  bytes.writeUInt32LE(crc32c(bytes, 0, HEADER_CHECKSUM_AT), HEADER_CHECKSUM_AT);
}

/**
 * Throws `corrupt` naming the object, what was expected and what was found; `storeRefused` for what a newer t4 has
 * written.
 */
export function decodeSegment(key: ObjectKey, bytes: Uint8Array): Segment {
  try {
    const { header, recordBytes } = readHeader(key, bytes, bytes.length);
    const end = SEGMENT_HEADER_BYTES + recordBytes;
    const expected = crc32c(bytes, 0, end);
    const found = new ByteReader(bytes, end).u32();
    if (found !== expected) throw new RangeError(`checksum ${hex(found)}, expected ${hex(expected)}`);
    const records = readRecords(new ByteReader(bytes, SEGMENT_HEADER_BYTES, end), header);
    return { header, records, hash: hashOfSegment(bytes) };
  } catch (error) {
    if (error instanceof RangeError) throw new DbError("corrupt", `object ${key}: ${error.message}`, { cause: error });
    throw error;
  }
}

/** A segment's header alone, from the object's first SEGMENT_HEADER_BYTES; throws as `decodeSegment` does. */
export function decodeSegmentHeader(key: ObjectKey, bytes: Uint8Array, objectBytes: number): SegmentHeader {
  try {
    if (bytes.length < SEGMENT_HEADER_BYTES) throw new RangeError(`${bytes.length} bytes are too few for its header`);
    return readHeader(key, bytes, objectBytes).header;
  } catch (error) {
    if (error instanceof RangeError) throw new DbError("corrupt", `object ${key}: ${error.message}`, { cause: error });
    throw error;
  }
}

function readHeader(
  key: ObjectKey,
  bytes: Uint8Array,
  objectBytes: number,
): { header: SegmentHeader; recordBytes: number } {
  const least = SEGMENT_HEADER_BYTES + SEGMENT_TRAILER_BYTES;
  if (objectBytes < least) throw new RangeError(`${objectBytes} bytes, expected at least ${least}`);
  const reader = new ByteReader(bytes, 0, SEGMENT_HEADER_BYTES);
  const magic = reader.u32();
  if (magic !== MAGIC) throw new RangeError(`begins with ${hex(magic)}, expected ${hex(MAGIC)} (T4SG)`);
  const version = reader.u8();
  if (version !== VERSION) throw refused(key, `format version ${version}`);
  const codec = reader.u8();
  const flags = reader.u8();
  const reserved = reader.u8();
  const keyId = reader.u32();
  const expected = crc32c(bytes, 0, HEADER_CHECKSUM_AT);
  const found = new ByteReader(bytes, HEADER_CHECKSUM_AT).u32();
  if (found !== expected) throw new RangeError(`header checksum ${hex(found)}, expected ${hex(expected)}`);
  if (codec !== CODEC_PLAIN) throw refused(key, `codec ${codec}`);
  if (keyId !== KEY_NONE) throw refused(key, `encryption key ${keyId}`);
  if ((flags & ~FLAG_FENCE) !== 0 || reserved !== 0) throw refused(key, `flags ${flags}, ${reserved}`);
  const sizes = new ByteReader(bytes, RECORD_BYTES_AT, HEADER_CHECKSUM_AT);
  const recordBytes = sizes.u64();
  const recordCount = sizes.u64();
  if (recordBytes !== objectBytes - least) {
    throw new RangeError(`${recordBytes} bytes of records in an object with ${objectBytes - least}`);
  }
  if (recordCount * RECORD_BYTES_MIN > recordBytes) {
    throw new RangeError(`${recordCount} records in ${recordBytes} bytes`);
  }
  const text = (count: number) => Buffer.from(reader.take(count)).toString("hex");
  const header: SegmentHeader = {
    branch: branchId(text(16)),
    epoch: reader.u64() as Epoch,
    slot: reader.u64() as Slot,
    nonce: text(8),
    previousHash: text(32),
    fence: (flags & FLAG_FENCE) !== 0,
    firstRecord: reader.u64() as RecordNumber,
    recordCount,
    epochBefore: reader.u64() as Epoch,
    wallMsBefore: reader.u64(),
    revisionBefore: reader.u64() as Revision,
    revisionAfter: reader.u64() as Revision,
  };
  checkHeader(header);
  return { header, recordBytes };
}

function checkHeader(header: SegmentHeader): void {
  const { recordCount } = header;
  if (header.epoch < 1 || header.slot < 1 || header.firstRecord < 1) {
    throw new RangeError(`epoch ${header.epoch}, slot ${header.slot}, first record ${header.firstRecord}: below 1`);
  }
  if (header.fence !== (recordCount === 0)) {
    throw new RangeError(header.fence ? `a fence with ${recordCount} records` : "no fence, and no records");
  }
  if (header.revisionAfter < header.revisionBefore) {
    throw new RangeError(`revisions go from ${header.revisionBefore} back to ${header.revisionAfter}`);
  }
  if (header.epochBefore > header.epoch) {
    throw new RangeError(`epoch ${header.epoch}, behind a record of epoch ${header.epochBefore}`);
  }
}

function readRecords(reader: ByteReader, header: SegmentHeader): LogRecord[] {
  const records: LogRecord[] = [];
  let mark: RecordMark = {
    number: (header.firstRecord - 1) as RecordNumber,
    epoch: header.epochBefore,
    wallMs: header.wallMsBefore,
    revision: header.revisionBefore,
  };
  for (let n = 0; n < header.recordCount; n++) {
    const record = readRecord(reader, mark);
    records.push(record);
    mark = markOfRecord(record);
  }
  if (reader.left > 0) throw new RangeError(`${reader.left} bytes behind its last record`);
  if (mark.revision !== header.revisionAfter) {
    throw new RangeError(`ends at revision ${mark.revision}, expected ${header.revisionAfter}`);
  }
  if (mark.epoch > header.epoch)
    throw new RangeError(`a record of epoch ${mark.epoch} in a segment of ${header.epoch}`);
  return records;
}

const refused = (key: ObjectKey, what: string): DbError =>
  new DbError("storeRefused", `object ${key}: ${what} is unknown to this version of t4: a newer one has written it`);

function writeU64(bytes: Buffer, at: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, "a number in a header is a safe integer >= 0");
  bytes.writeUInt32LE(value % 0x100000000, at);
  bytes.writeUInt32LE(Math.floor(value / 0x100000000), at + 4);
}
