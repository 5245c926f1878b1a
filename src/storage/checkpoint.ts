import { assert } from "../base/assert.ts";
import type { BranchId, Epoch, RecordNumber, Revision, Slot } from "../base/ids.ts";
import type { CheckpointSignature } from "./checkpoint-signature.ts";
import { ContentHash } from "./content-hash.ts";
import type { LeafProof, MountainRange } from "./mountain-range.ts";
import type { CheckpointPoint } from "./storage.ts";
import type { TableRef } from "./table.ts";

/**
 * A checkpoint: the tables that, with the log from its next slot on, are the whole state of a branch
 * (docs/formats/checkpoint.md).
 *
 * 1. It never changes. Its id is the SHA-256 of its bytes, and it names its parent's id: checkpoints are a hash chain.
 * 2. It covers exactly the records below `position.nextSlot`, all of which are in the bucket.
 * 3. What the newest checkpoint of a branch does not list as retained is not retained, whatever objects exist.
 * 4. `range` is over the ids of all checkpoints of the branch before this one (leaf 0 of a child: its origin's
 *    checkpoint), so that what is retained is proved to be of this history although others between were collected.
 */
export interface Checkpoint {
  /** SHA-256 of the object's bytes, 64 hex digits. */
  readonly id: string;
  readonly branch: BranchId;
  /** Of the leadership that wrote it. */
  readonly epoch: Epoch;
  /** Tells apart checkpoints with one next slot: 0, 1, 2 … */
  readonly n: number;
  /** Null only for the first one of a branch that was cut from none. */
  readonly parent: string | null;
  readonly point: CheckpointPoint<CheckpointPosition>;
  /** Runs of tables, the youngest first. */
  readonly runs: readonly (readonly TableRef[])[];
  readonly retained: readonly RetainedCheckpoint[];
  /** Older segments may be gone. */
  readonly firstLogSlot: Slot;
  readonly range: MountainRange;
  /** The history's first checkpoint, proved to be leaf 0 of the range; left out where that is not known. */
  readonly first?: FirstCheckpoint | undefined;
  readonly signatures?: readonly CheckpointSignature[] | undefined;
}

/** Of a branch that was cut off another one: the checkpoint of its origin. */
export interface FirstCheckpoint {
  readonly id: string;
  /** As of a leaf's proof. */
  readonly path: readonly string[];
}

/** What storage keeps of a log position; structurally the log's LogPosition. */
export interface CheckpointPosition {
  readonly nextSlot: Slot;
  readonly highestEpoch: Epoch;
  readonly lastHash: string;
  readonly lastRecord: RecordNumber;
  readonly lastRecordEpoch: Epoch;
  readonly revision: Revision;
  readonly wallMs: number;
}

/** An older checkpoint that can still be opened, with the proof that it is of this history. */
export interface RetainedCheckpoint {
  readonly id: string;
  readonly branch: BranchId;
  readonly nextSlot: Slot;
  readonly n: number;
  readonly revision: Revision;
  /** When it was made, ms since 1970. */
  readonly wallMs: number;
  readonly proof: LeafProof;
}

/** The multiset hash of all entries in all tables: equal for equal physical content. */
export function contentHashOf(runs: Checkpoint["runs"]): string {
  const hash = new ContentHash();
  for (const run of runs) for (const table of run) hash.addAll(ContentHash.fromHex(table.contentHash));
  return hash.hex();
}

/** Bytes of all tables. */
export const tableBytesOf = (runs: Checkpoint["runs"]): number =>
  runs.reduce((sum, run) => run.reduce((inRun, table) => inRun + table.bytes, sum), 0);

export function assertCheckpoint(checkpoint: Omit<Checkpoint, "id">): void {
  const { point, firstLogSlot } = checkpoint;
  assert(point.position.nextSlot >= 1, "slots begin at 1");
  assert(firstLogSlot >= 1 && firstLogSlot <= point.position.nextSlot, "the log is kept from a slot that is covered");
  assert(point.compactRevision <= point.position.revision, "what is compacted is covered");
  assert(checkpoint.epoch >= point.position.highestEpoch, "a checkpoint covers no epoch above its writer's");
}
