import { assert } from "../base/assert.ts";
import type { DbError } from "../base/errors.ts";
import type { RecordNumber } from "../base/ids.ts";
import type { Timer } from "../runtime/runtime.ts";
import type { LogPosition } from "./log.ts";
import { RecordBatch } from "./record-batch.ts";
import { markOfPosition, type RecordMark } from "./record-codec.ts";
import { SEGMENT_HEADER_BYTES, SEGMENT_TRAILER_BYTES } from "./segment-codec.ts";
import { Uploader, type UploaderOptions } from "./uploader.ts";

export interface SegmentQueueOptions extends Omit<UploaderOptions, "onUploaded" | "onReady"> {
  /** A segment ends at this size. */
  readonly segmentBytes: number;
  /**
   * A segment that is not full leaves at this age; or, with `leavesWhenIdle`, at the end of the turn when nothing is
   * under way.
   */
  readonly segmentAgeMs: number;
  readonly leavesWhenIdle: boolean;
  readonly putIntervalMinMs: number;
  /** The newest record that may be sent: Infinity, or what the local disk has. */
  readonly sendable: number;
  readonly onUploaded: (after: LogPosition) => void;
}

interface CutWaiter {
  readonly record: RecordNumber;
  readonly resolve: (position: LogPosition) => void;
  readonly reject: (error: DbError) => void;
}

const FIRST_BUFFER_BYTES = 16 << 10;
const SPARE_BUFFERS_MAX = 16;

/**
 * Gathers records into segments and sends these in order.
 *
 *   open ──(full, or cut)──► closed, closed, … ──(window, interval, disk)──► uploader
 *     └────(old enough, or nothing under way: when it can leave at once)────────┘
 *
 * 1. A segment that is closed stays as it is. One that is merely due goes on gathering until it can leave.
 * 2. A cut closes the open segment at once: what comes later is in a later one.
 */
export class SegmentQueue {
  open: RecordBatch;
  private readonly options: SegmentQueueOptions;
  private readonly uploader: Uploader;
  private readonly closed: RecordBatch[] = [];
  private readonly sent: RecordBatch[] = [];
  private readonly waiters: CutWaiter[] = [];
  /** The largest last. */
  private readonly spares: Buffer[] = [];
  private spareBytes = 0;
  /** Of closed segments and those under way. */
  private settledBytes = 0;
  private sendable: number;
  /** The open segment shall leave as soon as it can. */
  private due = false;
  private ageTimer: Timer | null = null;
  private intervalTimer: Timer | null = null;
  private lastSendMs = Number.NEGATIVE_INFINITY;
  private pumpDeferred = false;
  private failure: DbError | null = null;

  constructor(options: SegmentQueueOptions) {
    this.options = options;
    this.sendable = options.sendable;
    this.open = this.newBatch(options.position);
    this.uploader = new Uploader({
      ...options,
      onUploaded: (batch, after, reusable) => this.uploaded(batch, after, reusable),
      onReady: () => this.ready(),
    });
  }

  /** Bytes of records that are not known to be in the bucket. */
  get pendingBytes(): number {
    return this.settledBytes + this.open.recordBytes;
  }

  /** The newest record of all. */
  get last(): RecordMark {
    return this.open.last;
  }

  get resolved(): LogPosition {
    return this.uploader.resolved;
  }

  get trouble(): DbError | null {
    return this.uploader.trouble;
  }

  /** Call after records were added to `open`, with their number before. Sends nothing before the end of the turn. */
  appended(countBefore: number): void {
    const { open } = this;
    if (countBefore === 0) this.opened();
    if (open.recordBytes < this.options.segmentBytes) return;
    this.closeOpen();
    this.pumpSoon();
  }

  /** The disk has everything up to `record`. */
  allow(record: RecordNumber): void {
    this.sendable = record;
    if (this.closed.length > 0) this.pump();
  }

  /** Ends the open segment: it leaves without waiting for more. */
  leave(): void {
    if (this.open.count === 0) return;
    this.closeOpen();
    this.pumpSoon();
  }

  /** LogWriter.cut: everything in `open` and before it is below the slot answered. */
  cut(): Promise<LogPosition> {
    if (this.failure) return Promise.reject(this.failure);
    this.leave();
    if (this.closed.length === 0 && this.uploader.inFlight === 0) return Promise.resolve(this.uploader.resolved);
    return new Promise((resolve, reject) => this.waiters.push({ record: this.open.lastRecord, resolve, reject }));
  }

  stats() {
    const { uploader } = this;
    const oldest = this.sent[0] ?? this.closed[0] ?? (this.open.count > 0 ? this.open : null);
    return {
      nextSlot: uploader.nextSlot,
      slotsInFlight: uploader.inFlight,
      uploadedRecord: uploader.resolved.lastRecord,
      oldestMs: oldest?.openedMs ?? null,
      segmentsWritten: uploader.segmentsWritten,
      bytesUploaded: uploader.bytesUploaded,
    };
  }

  /** Stops for good; who waits for a cut gets `error`. */
  stop(error: DbError): void {
    if (this.failure) return;
    this.failure = error;
    this.uploader.stop();
    this.ageTimer?.cancel();
    this.intervalTimer?.cancel();
    for (const waiter of this.waiters.splice(0)) waiter.reject(error);
  }

  private opened(): void {
    this.open.openedMs = this.options.runtime.clock.monotonicMs();
    if (this.options.leavesWhenIdle && this.uploader.inFlight === 0 && this.closed.length === 0) {
      this.due = true;
      this.pumpSoon();
    } else {
      this.ageTimer = this.options.runtime.timers.set(this.options.segmentAgeMs, () => {
        this.ageTimer = null;
        this.due = true;
        this.pump();
      });
    }
  }

  private closeOpen(): void {
    const batch = this.open;
    assert(batch.count > 0, "a segment carries records");
    this.ageTimer?.cancel();
    this.ageTimer = null;
    this.due = false;
    this.closed.push(batch);
    this.settledBytes += batch.recordBytes;
    this.open = this.newBatch(null);
  }

  private pumpSoon(): void {
    if (this.pumpDeferred) return;
    this.pumpDeferred = true;
    this.options.runtime.timers.defer(() => {
      this.pumpDeferred = false;
      this.pump();
    });
  }

  /** Sends what can leave. */
  private pump(): void {
    while (!this.failure && this.uploader.canSend) {
      if (this.closed.length === 0 && !(this.due && this.open.count > 0)) return;
      if (this.isTooEarly()) return;
      if (this.closed.length === 0) this.closeOpen();
      const batch = this.closed[0]!;
      if (batch.lastRecord > this.sendable) return;
      this.closed.shift();
      this.sent.push(batch);
      this.lastSendMs = this.options.runtime.clock.monotonicMs();
      this.uploader.send(batch);
    }
  }

  /** Whether the least time since the last PUT is not over; a timer goes on when it is. */
  private isTooEarly(): boolean {
    const { putIntervalMinMs, runtime } = this.options;
    if (putIntervalMinMs === 0) return false;
    const leftMs = this.lastSendMs + putIntervalMinMs - runtime.clock.monotonicMs();
    if (leftMs <= 0) return false;
    this.intervalTimer ??= runtime.timers.set(leftMs, () => {
      this.intervalTimer = null;
      this.pump();
    });
    return true;
  }

  private uploaded(batch: RecordBatch, after: LogPosition, reusable: boolean): void {
    const first = this.sent.shift();
    assert(first === batch, "segments are reported in the order in which they were sent");
    this.settledBytes -= batch.recordBytes;
    if (reusable) this.keepBuffer(batch.bytes);
    while (this.waiters.length > 0 && this.waiters[0]!.record <= after.lastRecord) {
      const waiter = this.waiters.shift()!;
      assert(waiter.record === after.lastRecord, "a cut ends a segment");
      waiter.resolve(after);
    }
    this.options.onUploaded(after);
  }

  /** A segment was resolved, or the next one can be chained to the last. */
  private ready(): void {
    if (this.options.leavesWhenIdle && this.uploader.inFlight === 0 && this.open.count > 0) this.due = true;
    this.pump();
  }

  private newBatch(position: LogPosition | null): RecordBatch {
    return new RecordBatch({
      headerBytes: SEGMENT_HEADER_BYTES,
      trailerBytes: SEGMENT_TRAILER_BYTES,
      before: position ? markOfPosition(position) : this.open.last,
      bytes: this.spareBuffer(),
      fullBytes: this.fullBytes,
    });
  }

  /** Of the buffer of a segment that ends because it is full. */
  private get fullBytes(): number {
    const { segmentBytes } = this.options;
    return segmentBytes + (segmentBytes >> 4) + FIRST_BUFFER_BYTES;
  }

  private spareBuffer(): Buffer {
    const bytes = this.spares.pop();
    if (!bytes) return Buffer.allocUnsafeSlow(FIRST_BUFFER_BYTES);
    this.spareBytes -= bytes.length;
    return bytes;
  }

  /**
   * Buffers are used again, up to two segments' worth of them. A large one goes before small ones: growing to its size
   * costs a fault for each page, and all that memory once more until the collector of garbage has come.
   */
  private keepBuffer(bytes: Buffer): void {
    const { spares } = this;
    const before = spares.findIndex((spare) => spare.length > bytes.length);
    spares.splice(before < 0 ? spares.length : before, 0, bytes);
    this.spareBytes += bytes.length;
    while (spares.length > SPARE_BUFFERS_MAX || this.spareBytes > 2 * this.fullBytes) {
      this.spareBytes -= spares.shift()!.length;
    }
  }
}
