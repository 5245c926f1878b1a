import { assert } from "../base/assert.ts";
import type { DbError } from "../base/errors.ts";
import type { RecordNumber, Revision } from "../base/ids.ts";
import type { LogPosition, LogWriter, LogWriterStats } from "./log.ts";
import { SegmentQueue } from "./segment-queue.ts";
import { closedError, fullError, type LogWriterOptions, orAborted } from "./writer-options.ts";

/** LogWriter of `object` durability: a record is durable when its segment and every one before it are in the bucket. */
export class ObjectLogWriter implements LogWriter {
  onDurable: (durable: RecordNumber) => void = () => {};
  onFailed: (error: DbError) => void = () => {};
  private readonly options: LogWriterOptions;
  private readonly queue: SegmentQueue;
  private failure: DbError | null = null;

  constructor(options: LogWriterOptions) {
    this.options = options;
    const { settings } = options;
    this.queue = new SegmentQueue({
      ...options,
      ...settings,
      leavesWhenIdle: true,
      sendable: Number.POSITIVE_INFINITY,
      onUploaded: (after) => this.onDurable(after.lastRecord),
      onFailed: (error) => this.fail(error),
    });
    for (const record of options.reappend ?? []) {
      const before = this.queue.open.count;
      this.queue.open.appendAgain(record);
      this.queue.appended(before);
    }
    this.queue.leave();
  }

  get head(): RecordNumber {
    return this.queue.open.lastRecord;
  }

  get durable(): RecordNumber {
    return this.queue.resolved.lastRecord;
  }

  append(record: { payload: Uint8Array; revision: Revision }): RecordNumber {
    assert(this.failure === null, "nothing is appended to a log that has failed or is closed");
    assert(this.queue.pendingBytes < this.options.settings.uploadBytesMax, "nothing is appended to a full log");
    const { open } = this.queue;
    const before = open.count;
    const wallMs = this.options.runtime.clock.wallMs();
    const number = open.append(record.payload, record.revision, this.options.epoch, wallMs);
    this.queue.appended(before);
    return number;
  }

  refusal(): DbError | null {
    if (this.failure) return this.failure;
    const { uploadBytesMax } = this.options.settings;
    const { pendingBytes } = this.queue;
    return pendingBytes < uploadBytesMax ? null : fullError(pendingBytes, uploadBytesMax, this.queue.trouble);
  }

  cut(): Promise<LogPosition> {
    return this.queue.cut();
  }

  drain(signal?: AbortSignal): Promise<LogPosition> {
    return orAborted(this.queue.cut(), signal);
  }

  /** Why what was sent is not in the bucket yet, as far as the store has said; null when all is well. */
  get trouble(): DbError | null {
    return this.queue.trouble;
  }

  stats(): LogWriterStats {
    const { oldestMs, ...stats } = this.queue.stats();
    return {
      ...stats,
      pendingRecords: this.head - stats.uploadedRecord,
      pendingBytes: this.queue.pendingBytes,
      pendingAgeMs: oldestMs === null ? 0 : this.options.runtime.clock.monotonicMs() - oldestMs,
      localSyncs: 0,
      localBytes: 0,
      localSyncMs: 0,
    };
  }

  async close(): Promise<void> {
    if (this.failure) return;
    this.failure = closedError();
    this.queue.stop(this.failure);
  }

  private fail(error: DbError): void {
    if (this.failure) return;
    this.failure = error;
    this.queue.stop(error);
    this.onFailed(error);
  }
}
