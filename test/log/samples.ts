import {
  type BranchId,
  branchId,
  type Epoch,
  type RecordNumber,
  type Revision,
  type Slot,
} from "../../src/base/ids.ts";
import { firstPosition } from "../../src/log/chain.ts";
import type { LogPosition, Segment } from "../../src/log/log.ts";
import { RecordBatch } from "../../src/log/record-batch.ts";
import { markOfPosition } from "../../src/log/record-codec.ts";
import {
  decodeSegment,
  encodeFence,
  SEGMENT_HEADER_BYTES,
  SEGMENT_TRAILER_BYTES,
  sealSegment,
} from "../../src/log/segment-codec.ts";
import { segmentKey } from "../../src/objects/keys.ts";

/** Segments for tests of the log. */
export const branch: BranchId = branchId("0123456789abcdef0123456789abcdef");
export const nonce = "00112233445566ff";
export const start: LogPosition = firstPosition;

export interface SampleRecord {
  payload: Uint8Array | string;
  revision?: number;
  epoch?: number;
  wallMs?: number;
}

/** A segment (or with no records a fence) that follows `position`. */
export function sampleBytes(position: LogPosition, epoch: number, records: SampleRecord[], change = {}): Buffer {
  const place = {
    branch,
    epoch: epoch as Epoch,
    nonce,
    slot: position.nextSlot,
    previousHash: position.lastHash,
    ...change,
  };
  if (records.length === 0) return encodeFence(place, markOfPosition(position));
  const batch = new RecordBatch({
    headerBytes: SEGMENT_HEADER_BYTES,
    trailerBytes: SEGMENT_TRAILER_BYTES,
    before: markOfPosition(position),
    bytes: Buffer.alloc(256),
  });
  for (const { payload, revision, epoch: sequenced = epoch, wallMs = 0 } of records) {
    const bytes = typeof payload === "string" ? Buffer.from(payload) : payload;
    const next = (revision ?? batch.last.revision + 1) as Revision;
    batch.append(bytes, next, sequenced as Epoch, wallMs);
  }
  return Buffer.from(sealSegment(batch, place));
}

export function sample(position: LogPosition, epoch: number, records: SampleRecord[], change = {}): Segment {
  return decodeSegment(segmentKey(branch, position.nextSlot), sampleBytes(position, epoch, records, change));
}

export const at = (position: Partial<Record<keyof LogPosition, number | string>>): LogPosition => ({
  ...start,
  ...(position as Partial<LogPosition>),
});

export const number = (value: number): RecordNumber => value as RecordNumber;
export const slotAt = (value: number): Slot => value as Slot;
