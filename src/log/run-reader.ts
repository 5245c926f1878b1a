import { DbError } from "../base/errors.ts";
import type { BranchId, RecordNumber, Slot } from "../base/ids.ts";
import type { ObjectStore } from "../objects/objects.ts";
import type { LogPosition, LogRecord } from "./log.ts";
import { readLog } from "./reader.ts";

/** A piece of a branch's log: slots `first` to `last`, and of their records those up to `lastRecord`. */
export interface LogRun {
  readonly branch: BranchId;
  readonly first: Slot;
  readonly last: Slot;
  readonly lastRecord: RecordNumber;
}

export interface RunReadOptions {
  readonly store: ObjectStore;
  /** What the first run goes on from. */
  readonly from: LogPosition;
  readonly runs: readonly LogRun[];
  /** Bound of one object request. */
  readonly requestTimeoutMs: number;
  readonly signal?: AbortSignal;
  onRecord(record: LogRecord): void;
}

/**
 * Reads the history of a cut branch: pieces of its ancestors' logs, each going on where the one before was cut.
 *
 *   grandparent  1 ─ 2 ─ 3 ─ 4 ─ 5         runs: grandparent 1 to 3, parent 1 to 2
 *   parent                 └ 1 ─ 2 ─ 3     (slots; a cut lies at a record, perhaps amid a segment)
 *   branch                       └ 1 …
 *
 * All of it is known to exist: a slot that is missing is corruption. Resolves with the position at the cut; its next
 * slot is that behind the last run. Rejects with DbError as `readLog` does.
 */
export async function readRuns(options: RunReadOptions): Promise<LogPosition> {
  let position = options.from;
  for (const run of options.runs) position = await readRun(options, run, { ...position, nextSlot: run.first });
  return position;
}

async function readRun(options: RunReadOptions, run: LogRun, from: LogPosition): Promise<LogPosition> {
  const { store, requestTimeoutMs, signal, onRecord } = options;
  const read: { last: LogRecord | null } = { last: null };
  const result = await readLog({
    store,
    branch: run.branch,
    from,
    until: (run.last + 1) as Slot,
    requestTimeoutMs,
    ...(signal && { signal }),
    // No checkpoint excuses a slot that is missing: an origin keeps what it names.
    newestCheckpointSlot: async () => 1 as Slot,
    onSegment: ({ records }) => {
      for (const record of records) {
        if (record.number > run.lastRecord) return;
        onRecord(record);
        read.last = record;
      }
    },
  });
  if (result.kind !== "end") throw result.kind === "broken" ? result.error : missing(run);
  return cutBehind(result.position, from, read.last);
}

/** The chain goes on from the last segment, of which the records behind the cut are left out. */
function cutBehind(end: LogPosition, from: LogPosition, last: LogRecord | null): LogPosition {
  const { lastRecord, lastRecordEpoch, revision, wallMs } = from;
  if (last === null) return { ...end, lastRecord, lastRecordEpoch, revision, wallMs };
  const { number, epoch, ...rest } = last;
  return { ...end, lastRecord: number, lastRecordEpoch: epoch, revision: rest.revision, wallMs: rest.wallMs };
}

const missing = ({ branch, first, last }: LogRun): DbError =>
  new DbError("corrupt", `branch ${branch}: slots ${first} to ${last} are not all there`);
