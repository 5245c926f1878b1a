import { DbError } from "../base/errors.ts";
import { type DiskTail, lastOfTail } from "./local-log-reader.ts";
import type { LogPosition, LogRecord } from "./log.ts";
import { describeMark, markOfPosition } from "./record-codec.ts";

/**
 * What a new leadership appends again of what its disk has and the bucket has not (DESIGN: in-sync set). `position` is
 * the bucket's end, behind this leadership's fences: nothing can be added before it any more. It holds for a disk that
 * is in the branch's in-sync set; what any other disk has is discarded.
 *
 * The tail is taken if the bucket's last record is on the disk with the same number and sequencing epoch. Nothing else
 * about that record counts: neither who uploaded it, nor the fences behind it.
 *
 *   bucket  … 41/e3 42/e3 │            bucket  … 41/e3 42/e4 │             bucket  … 41/e3 42/e3 43/e3 │
 *   disk    … 41/e3 42/e3 43/e3        disk    … 41/e3 42/e3 43/e3         disk    … 41/e3 42/e3
 *           take 43                            diverged: refused                   rolled back: refused
 *
 * Throws `corrupt`: a disk that acknowledged for the branch and lacks what its bucket has is not the disk that it was.
 */
export function tailToReappend(position: LogPosition, disk: DiskTail | null): readonly LogRecord[] {
  const bucket = `the bucket ends with ${describeMark(markOfPosition(position))}`;
  if (disk === null)
    throw new DbError("corrupt", `the local log is empty, and its disk is in the in-sync set: ${bucket}`);
  const last = lastOfTail(disk);
  if (last.number < position.lastRecord) {
    throw new DbError("corrupt", `the local log is rolled back: it ends with ${describeMark(last)}, ${bucket}`);
  }
  if (position.lastRecord < disk.before.number) {
    throw new DbError(
      "corrupt",
      `the bucket is rolled back: the local log knows up to ${describeMark(disk.before)} to be there, ${bucket}`,
    );
  }
  const index = position.lastRecord - disk.before.number;
  const epochThere = index === 0 ? disk.before.epoch : disk.records[index - 1]!.epoch;
  if (epochThere !== position.lastRecordEpoch) {
    throw new DbError(
      "corrupt",
      `the local log has diverged: its record ${position.lastRecord} is of epoch ${epochThere}, ${bucket}`,
    );
  }
  return disk.records.slice(index);
}
