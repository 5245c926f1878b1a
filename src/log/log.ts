import type { DbError } from "../base/errors.ts";
import type { BranchId, Epoch, RecordNumber, Revision, Slot } from "../base/ids.ts";

/**
 * A branch's log: records in segments in slots (docs/formats/segment.md). Payloads are opaque bytes here.
 *
 * A position is all that the next segment must agree with. It is what a checkpoint carries, what replay starts from
 * and what a writer continues.
 */
export interface LogPosition {
  /** The first slot not covered. */
  readonly nextSlot: Slot;
  /** The highest epoch of any segment or fence below `nextSlot`: a segment of a lower one is void. */
  readonly highestEpoch: Epoch;
  /**
   * SHA-256, hex, of the last valid segment or fence below `nextSlot` that was not a repeated fence (chain.ts, rule 4);
   * 64 zeros before the first. The next segment names it.
   */
  readonly lastHash: string;
  /** Number of the last record below `nextSlot`; 0 before the first. */
  readonly lastRecord: RecordNumber;
  /** Epoch that sequenced that record; 0 before the first. */
  readonly lastRecordEpoch: Epoch;
  /** Revision after that record; 1 before the first. */
  readonly revision: Revision;
  /** Wall time of that record, ms since 1970; 0 before the first. */
  readonly wallMs: number;
}

export interface LogRecord {
  readonly number: RecordNumber;
  /** The epoch whose leader sequenced it; kept when a later leader appends it again. */
  readonly epoch: Epoch;
  /** max(previous record's, the sequencer's wall clock). */
  readonly wallMs: number;
  /** The branch's revision once this record is applied. */
  readonly revision: Revision;
  readonly payload: Uint8Array;
}

export interface SegmentHeader {
  readonly branch: BranchId;
  /** The leadership that wrote the object (for a fence: that ends all before it). */
  readonly epoch: Epoch;
  /** Random, one a writer instance. */
  readonly nonce: string;
  readonly slot: Slot;
  readonly previousHash: string;
  /** A fence carries no records. */
  readonly fence: boolean;
  /** Number of the first record; that of the next one to come where there are none. */
  readonly firstRecord: RecordNumber;
  readonly recordCount: number;
  /** Sequencing epoch and wall time of the record before the first: what the records' differences are against. */
  readonly epochBefore: Epoch;
  readonly wallMsBefore: number;
  /** Revision before the first and after the last record. */
  readonly revisionBefore: Revision;
  readonly revisionAfter: Revision;
}

export interface Segment {
  readonly header: SegmentHeader;
  readonly records: readonly LogRecord[];
  /** SHA-256, hex, of the object's bytes. */
  readonly hash: string;
}

/**
 * Group commit of one leadership of a branch. Records are appended without waiting; a batch leaves at the end of the
 * event loop's turn when nothing is in flight, else when it reaches a size or an age.
 *
 *   object: append ─► open batch ─► segment PUTs, up to P in flight ─► durable, in slot order
 *   local:  append ─► open batch ─► one O_DSYNC write ─► durable; segments upload behind
 */
export interface LogWriter {
  /** Takes the next record (its bytes are copied). Fails an assertion after `close`, or while `refusal()` says no. */
  append(record: { payload: Uint8Array; revision: Revision }): RecordNumber;
  /** Why nothing may be appended now (too much not uploaded, durability failed); null when all is well. */
  refusal(): DbError | null;
  /** The newest record appended. */
  readonly head: RecordNumber;
  /** The newest record that is durable, with all before it. */
  readonly durable: RecordNumber;
  /** `durable` has grown. Never called from within `append`. */
  onDurable: (durable: RecordNumber) => void;
  /** Nothing more will become durable: deposed, or durability failed for good. Called once. */
  onFailed: (error: DbError) => void;
  /**
   * Ends the open segment behind the newest record: everything appended so far lies below the slot that it resolves
   * with, everything appended from now on at or above it. Resolves once all slots below are in the bucket.
   */
  cut(): Promise<LogPosition>;
  /** Uploads everything appended so far. Rejects with DbError when the signal fires or durability fails. */
  drain(signal?: AbortSignal): Promise<LogPosition>;
  /** Why what was appended is not in the bucket yet, as far as that is known; null when all is well. */
  readonly trouble: DbError | null;
  stats(): LogWriterStats;
  /** Stops timers and requests; nothing more is sent. What was not durable is left unknown. */
  close(): Promise<void>;
}

export interface LogWriterStats {
  /** The first slot never sent. */
  readonly nextSlot: Slot;
  readonly slotsInFlight: number;
  /** The newest record in the bucket, with all before it. */
  readonly uploadedRecord: RecordNumber;
  /** Records, bytes and age (ms) of what is acknowledged or pending and not yet in the bucket. */
  readonly pendingRecords: number;
  readonly pendingBytes: number;
  readonly pendingAgeMs: number;
  readonly segmentsWritten: number;
  readonly bytesUploaded: number;
  /** Of the local file: batches and bytes synced, and a moving average of a sync in ms. 0 in `object`. */
  readonly localSyncs: number;
  readonly localBytes: number;
  readonly localSyncMs: number;
}

export interface LogSettings {
  /** P: no slot is sent P or more beyond the lowest one whose PUT is not resolved. Fixed per repository. */
  readonly window: number;
  /** A further segment leaves while others are in flight when the open one has this size or age. */
  readonly segmentBytes: number;
  readonly segmentAgeMs: number;
  /** Least time between two PUTs of segments. */
  readonly putIntervalMinMs: number;
  /**
   * `local`: a segment is uploaded when the records not uploaded have this age or size; at the last bound, appends are
   * refused.
   */
  readonly uploadAgeMs: number;
  readonly uploadBytes: number;
  readonly uploadBytesMax: number;
  /** Bound of one object request. */
  readonly requestTimeoutMs: number;
}

export const defaultLogSettings: LogSettings = {
  window: 8,
  segmentBytes: 1 << 20,
  segmentAgeMs: 5,
  putIntervalMinMs: 0,
  uploadAgeMs: 1000,
  uploadBytes: 4 << 20,
  uploadBytesMax: 256 << 20,
  requestTimeoutMs: 10_000,
};
