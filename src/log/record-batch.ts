import { assert } from "../base/assert.ts";
import type { Epoch, RecordNumber, Revision } from "../base/ids.ts";
import type { LogRecord } from "./log.ts";
import { RECORD_OVERHEAD_MAX, type RecordDifferences, type RecordMark, writeRecord } from "./record-codec.ts";

/**
 * A run of encoded records in one growing buffer, with room before them for the header of what will hold them (a
 * segment, or a frame of the local log), so that header and records leave in one piece without being copied.
 */
export class RecordBatch {
  /** Bytes left free before the first record. */
  readonly headerBytes: number;
  /** Bytes kept free behind the last record. */
  readonly trailerBytes: number;
  bytes: Buffer;
  /** Behind the last record. */
  end: number;
  count = 0;
  /** The record before the first one. */
  before: RecordMark;
  /** When the first record came, monotonic ms; meaningless while there is none. */
  openedMs = 0;
  /** The last record's, or those of `before`. */
  private lastNumber: number;
  private lastEpoch: number;
  private lastWallMs: number;
  private lastRevision: number;
  private readonly fullBytes: number;
  private readonly differences: RecordDifferences = { number: 0, epoch: 0, wallMs: 0, revision: 0 };

  /** `fullBytes`: what the buffer grows to at first, where it needs no more. */
  constructor(options: {
    headerBytes: number;
    trailerBytes: number;
    before: RecordMark;
    bytes: Buffer;
    fullBytes?: number;
  }) {
    this.headerBytes = options.headerBytes;
    this.trailerBytes = options.trailerBytes;
    assert(options.bytes.length >= this.headerBytes + this.trailerBytes, "a batch has room for header and trailer");
    this.bytes = options.bytes;
    this.fullBytes = options.fullBytes ?? Number.POSITIVE_INFINITY;
    this.end = this.headerBytes;
    this.before = options.before;
    this.lastNumber = options.before.number;
    this.lastEpoch = options.before.epoch;
    this.lastWallMs = options.before.wallMs;
    this.lastRevision = options.before.revision;
  }

  get recordBytes(): number {
    return this.end - this.headerBytes;
  }

  get lastRecord(): RecordNumber {
    return this.lastNumber as RecordNumber;
  }

  get last(): RecordMark {
    return {
      number: this.lastNumber as RecordNumber,
      epoch: this.lastEpoch as Epoch,
      wallMs: this.lastWallMs,
      revision: this.lastRevision as Revision,
    };
  }

  /** Takes the next record, sequenced by `epoch`; its wall time is never below that of the record before. */
  append(payload: Uint8Array, revision: Revision, epoch: Epoch, wallMs: number): RecordNumber {
    assert(revision >= this.lastRevision && Number.isSafeInteger(revision), "revisions never go back");
    assert(epoch >= this.lastEpoch, "epochs of records never go back");
    this.reserve(RECORD_OVERHEAD_MAX + payload.length);
    const time = wallMs > this.lastWallMs ? wallMs : this.lastWallMs;
    const differences = this.differences;
    differences.number = this.lastNumber + 1;
    differences.epoch = epoch - this.lastEpoch;
    differences.wallMs = time - this.lastWallMs;
    differences.revision = revision - this.lastRevision;
    this.end = writeRecord(this.bytes, this.end, differences, payload);
    this.count++;
    this.lastNumber++;
    this.lastEpoch = epoch;
    this.lastWallMs = time;
    this.lastRevision = revision;
    return this.lastNumber as RecordNumber;
  }

  /** Takes a record as another leadership has sequenced it. */
  appendAgain(record: LogRecord): void {
    assert(record.number === this.lastNumber + 1, "a record appended again is the next one");
    assert(record.wallMs >= this.lastWallMs, "wall times of records never go back");
    this.append(record.payload, record.revision, record.epoch, record.wallMs);
  }

  /** Takes records already encoded, which begin behind the last one here and end with `last`. */
  appendEncoded(records: { bytes: Buffer; start: number; end: number; count: number; last: RecordMark }): void {
    assert(this.lastNumber + records.count === records.last.number, "encoded records go on where the batch ends");
    this.reserve(records.end - records.start);
    records.bytes.copy(this.bytes, this.end, records.start, records.end);
    this.end += records.end - records.start;
    this.count += records.count;
    this.lastNumber = records.last.number;
    this.lastEpoch = records.last.epoch;
    this.lastWallMs = records.last.wallMs;
    this.lastRevision = records.last.revision;
  }

  /** Empties the batch and keeps its buffer. */
  restart(): void {
    this.follow(this.last);
  }

  /** Empties the batch; the next record is the one behind `before`. */
  follow(before: RecordMark): void {
    this.before = before;
    this.end = this.headerBytes;
    this.count = 0;
    this.lastNumber = before.number;
    this.lastEpoch = before.epoch;
    this.lastWallMs = before.wallMs;
    this.lastRevision = before.revision;
  }

  private reserve(count: number): void {
    const needed = this.end + count + this.trailerBytes;
    if (needed <= this.bytes.length) return;
    const doubled = this.bytes.length * 2;
    const larger = Buffer.allocUnsafeSlow(
      Math.max(needed, needed > this.fullBytes ? doubled : Math.min(doubled, this.fullBytes)),
    );
    this.bytes.copy(larger, 0, 0, this.end);
    this.bytes = larger;
  }
}
