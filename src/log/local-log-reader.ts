import type { BranchId, Epoch, RecordNumber } from "../base/ids.ts";
import type { Disk } from "../runtime/runtime.ts";
import { corrupt, type Frame, readFrameRecords, type ScannedFile, scanFile } from "./local-log-codec.ts";
import type { LogRecord } from "./log.ts";
import { describeMark, markOfRecord, type RecordMark, sameMark } from "./record-codec.ts";

/** What a disk has of a branch's log: all that the bucket may lack, and the record that goes before it. */
export interface DiskTail {
  /** The record before the first one; as it was in the log when it was written. */
  readonly before: RecordMark;
  /** Dense. */
  readonly records: readonly LogRecord[];
}

export const lastOfTail = (tail: DiskTail): RecordMark => {
  const last = tail.records.at(-1);
  return last === undefined ? tail.before : markOfRecord(last);
};

export interface FoundFile {
  readonly path: string;
  readonly sequence: number;
  /** The last record of its frames; null if it has none. */
  readonly lastRecord: RecordNumber | null;
  /** Where a torn frame begins; null if it ends whole. */
  readonly tornAt: number | null;
}

export interface LocalLogContent {
  /** Null if nothing was ever written. */
  readonly tail: DiskTail | null;
  /** The highest epoch that has written here; 0 if none has. */
  readonly epoch: Epoch;
  readonly files: readonly FoundFile[];
  /** For the log: what was found that does not go without saying. */
  readonly notes: readonly string[];
}

const FILE_NAME = /^log-(\d{20})$/;
/** Of one file, at the most: it may grow past its size while uploads lag behind. */
const FILE_BYTES_MAX = 2 ** 31 - 1;

export const fileName = (sequence: number): string => `log-${String(sequence).padStart(20, "0")}`;

interface ReadFile {
  readonly path: string;
  readonly bytes: Buffer;
  readonly scan: ScannedFile;
}

/**
 * Reads the log's files in `directory` and changes nothing. Throws `corrupt` naming the file; an absent directory is
 * empty.
 */
export async function readLocalLog(options: {
  disk: Disk;
  directory: string;
  branch: BranchId;
}): Promise<LocalLogContent> {
  const { disk, directory, branch } = options;
  const notes: string[] = [];
  const found: FoundFile[] = [];
  const all: ReadFile[] = [];
  for (const name of await disk.list(directory)) {
    const match = FILE_NAME.exec(name);
    if (match === null) continue;
    const path = `${directory}/${name}`;
    const sequence = Number(match[1]);
    const bytes = await disk.readFile(path, FILE_BYTES_MAX);
    if (bytes === null) throw corrupt(path, "has gone while it was read");
    const scan = scanFile(path, bytes, { branch, sequence });
    const last = scan.frames.at(-1);
    found.push({
      path,
      sequence,
      lastRecord: last ? lastNumber(last) : null,
      tornAt: scan.torn ? scan.end : null,
    });
    if (scan.torn) notes.push(`local log ${path}: a torn write at byte ${scan.end} was never confirmed: cut off`);
    if (last) all.push({ path, bytes, scan });
  }
  const newest = all.at(-1)?.scan.frames.at(-1);
  if (!newest) return { tail: null, epoch: 0 as Epoch, files: found, notes };
  const files = withoutStale(all, newest.uploaded, notes);
  return { tail: readTail(files, newest.uploaded), epoch: newest.epoch, files: found, notes };
}

const lastNumber = (frame: Frame): RecordNumber => (frame.before.number + frame.count) as RecordNumber;

/**
 * A file that was removed may come back after a crash, without those between it and the present ones. All of it is in
 * the bucket.
 */
function withoutStale(files: ReadFile[], uploaded: RecordNumber, notes: string[]): ReadFile[] {
  let first = files.length - 1;
  while (first > 0 && lastNumber(files[first - 1]!.scan.frames.at(-1)!) === files[first]!.scan.frames[0]!.before.number)
    first--;
  for (const { path, scan } of files.slice(0, first)) {
    const last = lastNumber(scan.frames.at(-1)!);
    if (last > uploaded) {
      const { before } = files[first]!.scan.frames[0]!;
      throw corrupt(path, `ends with record ${last}, expected ${before.number}, before the next one's first`);
    }
    notes.push(`local log ${path}: a file that was removed is there again; all of it is in the bucket`);
  }
  return files.slice(first);
}

/**
 * Decodes from the frame on that holds the newest record known to be in the bucket: what is before it is of no use any
 * more.
 */
function readTail(files: readonly ReadFile[], uploaded: RecordNumber): DiskTail {
  let before: RecordMark | null = null;
  let mark: RecordMark | null = null;
  let epoch = 0;
  const records: LogRecord[] = [];
  for (const { path, bytes, scan } of files) {
    for (const frame of scan.frames) {
      if (frame.epoch < epoch)
        throw corrupt(path, `the frame at byte ${frame.at} is of epoch ${frame.epoch} behind ${epoch}`);
      epoch = frame.epoch;
      if (mark === null && lastNumber(frame) < uploaded) continue;
      if (mark !== null && !sameMark(mark, frame.before)) {
        throw corrupt(
          path,
          `the frame at byte ${frame.at} follows ${describeMark(frame.before)}, expected ${describeMark(mark)}`,
        );
      }
      before ??= frame.before;
      const more = readFrameRecords(path, bytes, frame);
      for (const record of more) records.push(record);
      const last = more.at(-1);
      mark = last ? markOfRecord(last) : frame.before;
    }
  }
  const { path, scan } = files.at(-1)!;
  if (before === null)
    throw corrupt(path, `record ${uploaded} is uploaded, but the last one is ${lastNumber(scan.frames.at(-1)!)}`);
  return { before, records };
}
