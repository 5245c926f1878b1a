import { assert } from "../base/assert.ts";
import { DbError, isDbError, messageOf } from "../base/errors.ts";
import type { RecordNumber, Revision } from "../base/ids.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import type { LocalLog } from "./local-log.ts";
import { FRAME_HEADER_BYTES } from "./local-log-codec.ts";
import type { LogPosition, LogWriter, LogWriterStats } from "./log.ts";
import { RecordBatch } from "./record-batch.ts";
import { SegmentQueue } from "./segment-queue.ts";
import { closedError, fullError, type LogWriterOptions, orAborted } from "./writer-options.ts";

const FIRST_FRAME_BYTES = 64 << 10;
/** A frame's buffer that one burst has made larger than this is not kept. */
const FRAME_BYTES_KEPT = 4 << 20;
/** Weight of the newest sync in the moving average. */
const NEWEST_WEIGHT = 1 / 16;

/**
 * LogWriter of `local` durability: a record is durable when the local log has it, synced; segments upload behind.
 *
 *   append ─► frame ──(end of turn; while a write is under way it gathers)──► local log ─► durable
 *               └────────(copied when the frame leaves, or at a cut)────► open segment ─► bucket, once the disk has it
 *
 * Records appended again are on the disk already: they are durable from the start, and upload behind as all others.
 */
export class LocalLogWriter implements LogWriter {
  onDurable: (durable: RecordNumber) => void = () => {};
  onFailed: (error: DbError) => void = () => {};
  durable: RecordNumber;
  private readonly options: LogWriterOptions;
  private readonly log: LocalLog;
  private readonly queue: SegmentQueue;
  /** Gathers; the other one is being written, or empty. */
  private frame: RecordBatch;
  private idleFrame: RecordBatch | null;
  /** Where in `frame` the records begin that are not in the open segment yet, and how many go before them. */
  private copiedEnd = FRAME_HEADER_BYTES;
  private copiedCount = 0;
  private flushDeferred = false;
  private writeStartMs = 0;
  private underWay: Promise<void> | null = null;
  private syncMs = 0;
  private failure: DbError | null = null;
  private readonly flushNow = (): void => {
    this.flushDeferred = false;
    this.flush();
  };

  /** Takes the log over: it is closed with the writer. */
  constructor(options: LogWriterOptions & { readonly log: LocalLog }) {
    this.options = options;
    this.log = options.log;
    const { settings, reappend = [] } = options;
    this.durable = (options.position.lastRecord + reappend.length) as RecordNumber;
    this.queue = new SegmentQueue({
      ...options,
      segmentBytes: settings.uploadBytes,
      segmentAgeMs: settings.uploadAgeMs,
      putIntervalMinMs: settings.putIntervalMinMs,
      window: settings.window,
      requestTimeoutMs: settings.requestTimeoutMs,
      leavesWhenIdle: false,
      sendable: this.durable,
      onUploaded: (after) => this.log.uploaded(after.lastRecord),
      onFailed: (error) => this.fail(error),
    });
    for (const record of reappend) {
      const before = this.queue.open.count;
      this.queue.open.appendAgain(record);
      this.queue.appended(before);
    }
    assert(this.log.lastRecord === this.durable, "the local log goes on with the record that the writer goes on with");
    this.frame = this.newFrame();
    this.idleFrame = this.newFrame();
  }

  get head(): RecordNumber {
    return this.frame.lastRecord;
  }

  append(record: { payload: Uint8Array; revision: Revision }): RecordNumber {
    assert(this.failure === null, "nothing is appended to a log that has failed or is closed");
    assert(this.pendingBytes < this.options.settings.uploadBytesMax, "nothing is appended to a full log");
    const { runtime, epoch } = this.options;
    const number = this.frame.append(record.payload, record.revision, epoch, runtime.clock.wallMs());
    if (!this.flushDeferred && this.underWay === null) {
      this.flushDeferred = true;
      runtime.timers.defer(this.flushNow);
    }
    return number;
  }

  refusal(): DbError | null {
    const lost = this.failure ?? this.log.lost;
    if (lost !== null) return lost;
    const { uploadBytesMax } = this.options.settings;
    const { pendingBytes } = this;
    return pendingBytes < uploadBytesMax ? null : fullError(pendingBytes, uploadBytesMax, this.queue.trouble);
  }

  cut(): Promise<LogPosition> {
    if (this.failure === null) this.copyToSegment();
    return this.queue.cut();
  }

  drain(signal?: AbortSignal): Promise<LogPosition> {
    return orAborted(this.cut(), signal);
  }

  /** What the store says against an upload, or the disk against its next file. */
  get trouble(): DbError | null {
    return this.log.lost ?? this.queue.trouble ?? this.log.trouble;
  }

  stats(): LogWriterStats {
    const { oldestMs, ...stats } = this.queue.stats();
    return {
      ...stats,
      pendingRecords: this.head - stats.uploadedRecord,
      pendingBytes: this.pendingBytes,
      pendingAgeMs: oldestMs === null ? 0 : this.options.runtime.clock.monotonicMs() - oldestMs,
      localSyncs: this.log.syncs,
      localBytes: this.log.bytesWritten,
      localSyncMs: this.syncMs,
    };
  }

  /** A write under way is waited for: its bytes are ours until it is done. */
  async close(): Promise<void> {
    if (this.failure === null) {
      this.failure = closedError();
      this.queue.stop(this.failure);
    }
    // Its failure was told, or is that of a writer closed.
    await this.underWay?.catch(() => {});
    await this.log.close();
  }

  private get pendingBytes(): number {
    return this.queue.pendingBytes + this.frame.end - this.copiedEnd;
  }

  private flush(): void {
    if (this.failure !== null || this.underWay !== null || this.frame.count === 0) return;
    this.copyToSegment();
    const { frame } = this;
    const next = this.idleFrame!;
    assert(next.count === 0, "the other frame is empty");
    next.follow(frame.last);
    this.frame = next;
    this.idleFrame = null;
    this.copiedEnd = FRAME_HEADER_BYTES;
    this.copiedCount = 0;
    this.writeStartMs = this.options.runtime.clock.monotonicMs();
    let written: MaybePromise<void>;
    try {
      written = this.log.write(frame);
    } catch (error) {
      this.diskFailed(error);
      return;
    }
    if (isPromise(written)) this.underWay = this.confirm(frame, written);
    else this.written(frame);
  }

  private async confirm(frame: RecordBatch, written: Promise<void>): Promise<void> {
    try {
      await written;
    } catch (error) {
      this.underWay = null;
      return this.diskFailed(error);
    }
    this.underWay = null;
    this.written(frame);
    // What gathered meanwhile leaves at once.
    this.flush();
  }

  private written(frame: RecordBatch): void {
    const elapsedMs = this.options.runtime.clock.monotonicMs() - this.writeStartMs;
    this.syncMs += (elapsedMs - this.syncMs) * (this.log.syncs === 1 ? 1 : NEWEST_WEIGHT);
    const { lastRecord } = frame;
    if (frame.bytes.length > FRAME_BYTES_KEPT) frame.bytes = Buffer.allocUnsafeSlow(FIRST_FRAME_BYTES);
    frame.restart();
    this.idleFrame = frame;
    // Closed or deposed meanwhile: the records are on the disk, but nobody is told so.
    if (this.failure !== null) return;
    this.durable = lastRecord;
    this.queue.allow(lastRecord);
    try {
      this.onDurable(lastRecord);
    } catch (error) {
      // A bug of the listener's: with it the order in which answers leave is lost, so nothing more may become durable.
      this.fail(
        new DbError("leadershipLost", `acting on what is durable failed: ${messageOf(error)}`, { cause: error }),
      );
    }
  }

  private copyToSegment(): void {
    const { frame } = this;
    const count = frame.count - this.copiedCount;
    if (count === 0) return;
    const before = this.queue.open.count;
    this.queue.open.appendEncoded({
      bytes: frame.bytes,
      start: this.copiedEnd,
      end: frame.end,
      count,
      last: frame.last,
    });
    this.copiedEnd = frame.end;
    this.copiedCount = frame.count;
    this.queue.appended(before);
  }

  private newFrame(): RecordBatch {
    return new RecordBatch({
      headerBytes: FRAME_HEADER_BYTES,
      trailerBytes: 0,
      before: this.queue.last,
      bytes: Buffer.allocUnsafeSlow(FIRST_FRAME_BYTES),
    });
  }

  private diskFailed(error: unknown): void {
    const text = `writing the local log failed: ${messageOf(error)}`;
    this.fail(isDbError(error) ? error : new DbError("diskFailed", text, { cause: error }));
  }

  private fail(error: DbError): void {
    if (this.failure) return;
    this.failure = error;
    this.queue.stop(error);
    this.onFailed(error);
  }
}
