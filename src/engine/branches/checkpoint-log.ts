import { DbError } from "../../base/errors.ts";
import type { BranchId, ObjectKey } from "../../base/ids.ts";
import { checkpointKey } from "../../objects/keys.ts";
import type { ObjectStore, RequestOptions } from "../../objects/objects.ts";
import type { Checkpoint, RetainedCheckpoint } from "../../storage/checkpoint.ts";
import { tableBytesOf } from "../../storage/checkpoint.ts";
import { newestCheckpoint, readCheckpoint } from "../../storage/checkpoint-store.ts";
import { appendLeaf, provesLeaf } from "../../storage/mountain-range.ts";

/** A checkpoint that can still be opened. */
export interface LogEntry {
  readonly id: string;
  readonly parent: string | null;
  readonly branch: BranchId;
  readonly epoch: number;
  readonly nextSlot: number;
  readonly n: number;
  readonly revision: number;
  readonly wallMs: number;
  readonly tables: number;
  readonly bytes: number;
  /** Of tables that the retained checkpoint before this one has not. */
  readonly bytesAdded: number;
  /** Its number in the branch's history, from 0. */
  readonly leaf: number;
}

export interface CheckpointLog {
  readonly branch: BranchId;
  /** The oldest first; the last is the newest. */
  readonly entries: readonly LogEntry[];
  /** All that the branch has ever had, those included that were thinned out. */
  readonly checkpoints: number;
  /** Every revision from here on can be had; null: only those of the entries. */
  readonly firstLogSlot: number;
}

/**
 * The checkpoints that the newest one retains, with what each added. The chain is proved: each one's bytes have the id
 * that the newest lists, and that id is proved to be of the history that the newest one's range is over. Throws
 * `corrupt`, naming the object, where that does not hold. A branch that has written none yet has none.
 */
export async function readCheckpointLog(
  store: ObjectStore,
  branch: BranchId,
  request: RequestOptions,
): Promise<CheckpointLog> {
  const newest = await newestCheckpoint(store, branch, request);
  if (newest === null) return { branch, entries: [], checkpoints: 0, firstLogSlot: 1 };
  const entries: LogEntry[] = [];
  let before = new Set<ObjectKey>();
  for (const listed of newest.retained) {
    const checkpoint = await readRetained(store, listed, request);
    proveRetained(newest, listed, checkpoint);
    entries.push(entryOf(checkpoint, before, listed.proof.leaf));
    before = tablesOf(checkpoint);
  }
  entries.push(entryOf(newest, before, newest.range.leaves));
  return { branch, entries, checkpoints: newest.range.leaves + 1, firstLogSlot: newest.firstLogSlot };
}

async function readRetained(
  store: ObjectStore,
  listed: RetainedCheckpoint,
  request: RequestOptions,
): Promise<Checkpoint> {
  const checkpoint = await readCheckpoint(store, listed, request);
  if (checkpoint !== null) return checkpoint;
  throw new DbError("corrupt", `object ${keyOf(listed)}: is retained by the newest checkpoint, and missing`);
}

/** That a retained checkpoint, as it was read, belongs to the history whose tip `newest` is. */
export function proveRetained(newest: Checkpoint, listed: RetainedCheckpoint, read: Checkpoint): void {
  const wrong = (what: string): DbError => new DbError("corrupt", `object ${keyOf(listed)}: ${what}`);
  if (read.id !== listed.id) throw wrong(`has id ${read.id}, the newest checkpoint lists ${listed.id}`);
  if (!provesLeaf(newest.range, read.id, listed.proof)) throw wrong("is not proved to be of this history");
  if (listed.proof.leaf !== read.range.leaves) {
    throw wrong(`follows ${read.range.leaves} checkpoints, and is listed as number ${listed.proof.leaf}`);
  }
  // The parent of the newest is the last leaf: there the two ranges must meet.
  if (listed.id === newest.parent && !sameRange(appendLeaf(read.range, read.id, []).range, newest.range)) {
    throw wrong("does not lead to the range of the newest checkpoint, whose parent it is");
  }
}

const sameRange = (a: Checkpoint["range"], b: Checkpoint["range"]): boolean =>
  a.leaves === b.leaves && a.peaks.join() === b.peaks.join();

const keyOf = (listed: RetainedCheckpoint): ObjectKey => checkpointKey(listed.branch, listed.nextSlot, listed.n);

const tablesOf = (checkpoint: Checkpoint): Set<ObjectKey> =>
  new Set(checkpoint.runs.flatMap((run) => run.map((table) => table.key)));

function entryOf(checkpoint: Checkpoint, before: ReadonlySet<ObjectKey>, leaf: number): LogEntry {
  const { id, parent, branch, epoch, n, point, runs } = checkpoint;
  const tables = runs.flat();
  const bytesAdded = tables.reduce((sum, table) => (before.has(table.key) ? sum : sum + table.bytes), 0);
  const { nextSlot, revision } = point.position;
  const { wallMs } = point;
  return {
    id,
    parent,
    branch,
    epoch,
    nextSlot,
    n,
    revision,
    wallMs,
    tables: tables.length,
    bytes: tableBytesOf(runs),
    bytesAdded,
    leaf,
  };
}
