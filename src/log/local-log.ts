import { assert } from "../base/assert.ts";
import { DbError, isDbError, messageOf } from "../base/errors.ts";
import type { BranchId, Epoch, RecordNumber } from "../base/ids.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import type { Disk, Runtime } from "../runtime/runtime.ts";
import { FILE_HEADER_BYTES, sealFrame } from "./local-log-codec.ts";
import { createFile, type LogFile, makeDurable, parentOf, SPARE_NAME, writeZeros } from "./local-log-file.ts";
import { type LocalLogContent, lastOfTail } from "./local-log-reader.ts";
import type { RecordBatch } from "./record-batch.ts";
import { type RecordMark, sameMark } from "./record-codec.ts";

export interface LocalLogSettings {
  /** The first file of a start: small, as the start waits for it. */
  readonly firstFileBytes: number;
  /** Each further file is four times as large as the one before, up to this. */
  readonly fileBytesMax: number;
}

const defaultLocalLogSettings: LocalLogSettings = { firstFileBytes: 1 << 20, fileBytesMax: 16 << 20 };

export interface LocalLogOptions {
  readonly runtime: Pick<Runtime, "disk" | "random">;
  /** Of this log alone, in a directory that is there already; under a lock that its owner holds. */
  readonly directory: string;
  readonly branch: BranchId;
  /** The leadership that writes now. */
  readonly epoch: Epoch;
  readonly content: LocalLogContent;
  /** The record that the first one written now follows: the last one on the disk, unless that is discarded. */
  readonly after: RecordMark;
  /** The newest record in the bucket. */
  readonly uploaded: RecordNumber;
  /**
   * Forgets what the disk has (it is not in the in-sync set, and holds nothing that counts). Else all of it is kept
   * until it is uploaded.
   */
  readonly discard: boolean;
  /** `prepare` has been called with this content, and has ended. */
  readonly prepared?: boolean;
  readonly settings?: LocalLogSettings;
}

const GROWTH = 4;

/**
 * The local write-ahead files of one leadership, for writing.
 *
 * 1. Every start writes to a file of its own: nothing is ever written behind what a crash has left.
 * 2. A file gets its name when its header is durable; the first one of a start has a frame by then, which says what
 *    record goes before.
 * 3. The next file is made ahead. While it is not ready the present one grows: a write never waits for it.
 * 4. A file goes when all of it is in the bucket and a later one has a frame, oldest first. It may become the next one,
 *    with a new generation.
 * 5. A crash may bring back a file that was removed, without one that was removed after it. Such a gap is told from a
 *    file that is missing by what the newest frame says is in the bucket; where it does not say so yet, a removal is
 *    made durable before the next one.
 */
export class LocalLog {
  /** What was found on the disk and discarded, for the log. */
  readonly notes: readonly string[];
  /** Why the next file could not be made; writes go on in the present one. */
  trouble: DbError | null = null;
  /**
   * The file that is written has no name any more: what is written to it would not be found again. Nothing more should
   * be; what was acknowledged is still uploaded.
   */
  lost: DbError | null = null;
  syncs = 0;
  bytesWritten = 0;
  private readonly options: LocalLogOptions;
  private readonly disk: Disk;
  private readonly settings: LocalLogSettings;
  /** Files behind which a later one has frames, oldest first; of earlier starts without a handle. */
  private readonly older: { path: string; lastRecord: RecordNumber; file: LogFile | null }[];
  private current: LogFile;
  private next: LogFile | null = null;
  private spare: { path: string; bytes: number } | null = null;
  private sequence: number;
  private uploadedRecord: RecordNumber;
  /** Of that, what a frame on the disk says. */
  private uploadedOnDisk: RecordNumber;
  /** The last record of a file whose removal may not be durable; 0 if there is none. */
  private removedUpTo = 0;
  private work: Promise<void> = Promise.resolve();
  private preparing = false;
  private trimming = false;
  private looking = false;
  private prepareAt: number;
  /** The size that the newest file was made with. */
  private fileBytes: number;
  private writing = false;
  private closed = false;

  private constructor(
    options: LocalLogOptions,
    started: { current: LogFile; sequence: number; older: LocalLog["older"]; notes: string[] },
  ) {
    this.options = options;
    this.disk = options.runtime.disk;
    this.settings = options.settings ?? defaultLocalLogSettings;
    this.older = started.older;
    this.current = started.current;
    this.sequence = started.sequence;
    this.uploadedRecord = options.uploaded;
    this.uploadedOnDisk = options.uploaded;
    this.notes = started.notes;
    this.fileBytes = this.current.bytes;
    this.prepareAt = this.fileBytes / 2;
    this.trimSoon();
  }

  /**
   * What a start does to files that it keeps, whoever leads: what they hold is made durable, and the file that the new
   * leadership will write is there, of zeros and without a name. Throws `diskFailed`. Nothing that counts is changed:
   * it may be done again, or in vain.
   */
  static async prepare(
    options: Pick<LocalLogOptions, "runtime" | "directory" | "content" | "settings">,
  ): Promise<void> {
    const { content, directory, settings = defaultLocalLogSettings } = options;
    const { disk } = options.runtime;
    for (const file of content.files) if (file.lastRecord !== null) await makeDurable(disk, file.path, file.tornAt);
    await writeZeros(disk, `${directory}/${SPARE_NAME}`, settings.firstFileBytes);
  }

  /**
   * Throws `leadershipLost` if a later epoch has written here, `diskFailed`. A crash within leaves all that was there,
   * or (`discard`) a part.
   */
  static async start(options: LocalLogOptions): Promise<LocalLog> {
    const { content, directory, epoch, prepared = false } = options;
    assert(!(prepared && options.discard), "what is discarded is not prepared");
    const { disk } = options.runtime;
    if (content.epoch > epoch) {
      throw new DbError(
        "leadershipLost",
        `the local log in ${directory} was written by epoch ${content.epoch}: ${epoch} is over`,
      );
    }
    if (!options.discard && content.tail !== null) {
      assert(sameMark(lastOfTail(content.tail), options.after), "the local log goes on where it ends");
    }
    await disk.makeDirectory(directory);
    await disk.syncDirectory(parentOf(directory));
    const notes: string[] = [];
    const older: LocalLog["older"] = [];
    for (const file of content.files) {
      if (options.discard || file.lastRecord === null) {
        await disk.remove(file.path);
        if (file.lastRecord !== null) {
          // Rule 5: what is discarded may be nowhere else.
          await disk.syncDirectory(directory);
          notes.push(
            `local log ${file.path}, up to record ${file.lastRecord} of epochs before ${epoch}, was discarded`,
          );
        }
      } else {
        if (!prepared) await makeDurable(disk, file.path, file.tornAt);
        older.push({ path: file.path, lastRecord: file.lastRecord, file: null });
      }
    }
    if (!prepared) await disk.remove(`${directory}/${SPARE_NAME}`);
    const sequence = (content.files.at(-1)?.sequence ?? 0) + 1;
    const settings = options.settings ?? defaultLocalLogSettings;
    const bytes = settings.firstFileBytes;
    const current = await createFile(options, { sequence, bytes, mark: options.after, filled: prepared });
    return new LocalLog(options, { current, sequence, older, notes });
  }

  /** The last record on the disk. */
  get lastRecord(): RecordNumber {
    return this.current.at === FILE_HEADER_BYTES ? this.older.at(-1)!.lastRecord : this.current.lastRecord;
  }

  /**
   * Writes the batch's records as one frame. Durable at once, or when the promise resolves; one at a time. Throws
   * `diskFailed`.
   */
  write(batch: RecordBatch): MaybePromise<void> {
    assert(!this.closed && !this.writing, "one frame is written at a time");
    if (this.next !== null && this.current.at + batch.end > this.current.bytes) this.switchFile(this.next);
    const file = this.current;
    const { generation, checksum: previousChecksum } = file;
    const { epoch } = this.options;
    const uploaded = this.uploadedRecord;
    const checksum = sealFrame(batch, { generation, epoch, uploaded, previousChecksum });
    this.writing = true;
    const written = file.handle.write(batch.bytes.subarray(0, batch.end), file.at);
    // After a failure `writing` stays: what is on the disk is not known, so nothing may follow it.
    if (isPromise(written)) return written.then(() => this.written(file, batch, { checksum, uploaded }));
    this.written(file, batch, { checksum, uploaded });
  }

  /** Everything up to `record` is in the bucket. */
  uploaded(record: RecordNumber): void {
    this.uploadedRecord = record;
    if (this.older.length > 0) this.trimSoon();
    this.lookSoon();
  }

  /** Waits for what is under way, and closes the files. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.work;
    const files = [...this.older.map(({ file }) => file), this.current, this.next];
    const closed = await Promise.allSettled(files.map((file) => file?.handle.close()));
    for (const one of closed) if (one.status === "rejected") throw one.reason;
  }

  private written(
    file: LogFile,
    batch: RecordBatch,
    { checksum, uploaded }: { checksum: number; uploaded: RecordNumber },
  ): void {
    this.writing = false;
    this.uploadedOnDisk = uploaded;
    file.at += batch.end;
    file.bytes = Math.max(file.bytes, file.at);
    file.checksum = checksum;
    file.lastRecord = batch.lastRecord;
    this.syncs++;
    this.bytesWritten += batch.end;
    if (file.at >= this.prepareAt && this.next === null) this.prepareSoon();
  }

  private switchFile(next: LogFile): void {
    const { current } = this;
    this.older.push({ path: current.path, lastRecord: current.lastRecord, file: current });
    this.current = next;
    this.next = null;
    this.prepareAt = next.bytes / 2;
  }

  private prepareSoon(): void {
    if (this.preparing || this.closed) return;
    this.preparing = true;
    // If it fails it is tried again when as much again is written.
    this.prepareAt = this.current.at + this.settings.firstFileBytes;
    this.background(async () => {
      try {
        const sequence = ++this.sequence;
        const bytes = Math.min(this.settings.fileBytesMax, this.fileBytes * GROWTH);
        const { spare } = this;
        this.spare = null;
        this.next = await createFile(this.options, { sequence, bytes, spare });
        this.fileBytes = bytes;
      } finally {
        this.preparing = false;
      }
    });
  }

  /** At each upload, which is once a second while there is something to lose. */
  private lookSoon(): void {
    if (this.looking || this.closed || this.lost !== null) return;
    this.looking = true;
    this.background(async () => {
      try {
        const { path } = this.current;
        if (this.closed || (await this.disk.stat(path)) !== null || path !== this.current.path) return;
        this.lost = new DbError("diskFailed", `the local log ${path} has been removed: nothing is kept there any more`);
      } finally {
        this.looking = false;
      }
    });
  }

  private trimSoon(): void {
    if (this.trimming || this.closed) return;
    this.trimming = true;
    this.background(async () => {
      try {
        while (!this.closed && (await this.trimOldest()));
      } finally {
        this.trimming = false;
      }
    });
  }

  private async trimOldest(): Promise<boolean> {
    const oldest = this.older[0];
    if (!oldest || oldest.lastRecord > this.uploadedRecord) return false;
    // A file that was just switched to says by its first frame what goes before; until that is written the older one is
    // needed.
    if (this.older.length === 1 && this.current.at === FILE_HEADER_BYTES) return false;
    const { path, file } = oldest;
    const { fileBytesMax } = this.settings;
    if (this.removedUpTo > this.uploadedOnDisk) {
      await this.disk.syncDirectory(this.options.directory);
      this.removedUpTo = 0;
    }
    await file?.handle.close();
    const fits = file !== null && file.bytes >= fileBytesMax && file.bytes <= 2 * fileBytesMax;
    if (fits && this.spare === null && this.next === null && !this.preparing) {
      const spare = `${this.options.directory}/${SPARE_NAME}`;
      await this.disk.rename(path, spare);
      this.spare = { path: spare, bytes: file.bytes };
    } else {
      await this.disk.remove(path);
    }
    this.older.shift();
    this.removedUpTo = oldest.lastRecord;
    return true;
  }

  /** One thing after another; a failure is no reason to stop writing. */
  private background(task: () => Promise<void>): void {
    this.work = this.work.then(task).then(
      () => {
        this.trouble = null;
      },
      (error: unknown) => {
        this.trouble = isDbError(error) ? error : new DbError("diskFailed", messageOf(error), { cause: error });
      },
    );
  }
}
