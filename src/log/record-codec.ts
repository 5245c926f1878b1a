import { assert } from "../base/assert.ts";
import { crc32c } from "../base/crc32c.ts";
import type { Epoch, RecordNumber, Revision } from "../base/ids.ts";
import { type ByteReader, VARINT_BYTES_MAX, writeVarint } from "../base/varint.ts";
import type { LogPosition, LogRecord } from "./log.ts";

/**
 * One record's bytes, the same in a segment and in a frame of the local log (docs/formats/segment.md):
 *
 *   epoch difference | wall time difference | revision difference | payload length | payload | CRC-32C u32
 *   (four varints, each against the record before)
 *
 * The checksum covers all bytes before it and goes on from the record's number, so that a record cannot take another's
 * place. A number is never written: numbers are dense, and the first one is in what holds the records.
 */

/** All that a record's differences are against: the record before it, without its payload. */
export interface RecordMark {
  readonly number: RecordNumber;
  readonly epoch: Epoch;
  readonly wallMs: number;
  readonly revision: Revision;
}

const CHECKSUM_BYTES = 4;
/** What a record needs beside its payload, at most. */
export const RECORD_OVERHEAD_MAX = 4 * VARINT_BYTES_MAX + CHECKSUM_BYTES;

export const markOfPosition = (position: LogPosition): RecordMark => ({
  number: position.lastRecord,
  epoch: position.lastRecordEpoch,
  wallMs: position.wallMs,
  revision: position.revision,
});

export const markOfRecord = (record: LogRecord): RecordMark => ({
  number: record.number,
  epoch: record.epoch,
  wallMs: record.wallMs,
  revision: record.revision,
});

export const sameMark = (a: RecordMark, b: RecordMark): boolean =>
  a.number === b.number && a.epoch === b.epoch && a.wallMs === b.wallMs && a.revision === b.revision;

export const describeMark = (mark: RecordMark): string =>
  `record ${mark.number} of epoch ${mark.epoch} (revision ${mark.revision}, ${mark.wallMs} ms)`;

/** The differences of a record; its number is for the checksum. */
export interface RecordDifferences {
  number: number;
  epoch: number;
  wallMs: number;
  revision: number;
}

/**
 * Writes a record at `at`; returns the place behind it. The caller has made room for RECORD_OVERHEAD_MAX and the
 * payload.
 */
export function writeRecord(
  bytes: Uint8Array,
  at: number,
  differences: RecordDifferences,
  payload: Uint8Array,
): number {
  assert(at + RECORD_OVERHEAD_MAX + payload.length <= bytes.length, "a record has room in its batch");
  let end = writeVarint(bytes, at, differences.epoch);
  end = writeVarint(bytes, end, differences.wallMs);
  end = writeVarint(bytes, end, differences.revision);
  end = writeVarint(bytes, end, payload.length);
  bytes.set(payload, end);
  end += payload.length;
  const checksum = crc32c(bytes, at, end, differences.number >>> 0);
  bytes[end] = checksum;
  bytes[end + 1] = checksum >>> 8;
  bytes[end + 2] = checksum >>> 16;
  bytes[end + 3] = checksum >>> 24;
  return end + CHECKSUM_BYTES;
}

/** The record behind `before`; its payload is a view. Throws a RangeError that says what is wrong. */
export function readRecord(reader: ByteReader, before: RecordMark): LogRecord {
  const number = before.number + 1;
  const start = reader.at;
  try {
    const epoch = before.epoch + reader.varint();
    const wallMs = before.wallMs + reader.varint();
    const revision = before.revision + reader.varint();
    const payload = reader.take(reader.varint());
    const expected = crc32c(reader.bytes, start, reader.at, number >>> 0);
    const found = reader.u32();
    if (found !== expected) throw new RangeError(`checksum ${hex(found)}, expected ${hex(expected)}`);
    if (!Number.isSafeInteger(epoch + wallMs + revision + number)) throw new RangeError("a number is over 2^53 - 1");
    return {
      number: number as RecordNumber,
      epoch: epoch as Epoch,
      wallMs,
      revision: revision as Revision,
      payload,
    };
  } catch (error) {
    if (error instanceof RangeError) throw new RangeError(`record ${number} at byte ${start}: ${error.message}`);
    throw error;
  }
}

export const hex = (value: number): string => `0x${value.toString(16).padStart(8, "0")}`;
