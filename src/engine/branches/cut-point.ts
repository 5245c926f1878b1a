import { DbError } from "../../base/errors.ts";
import type { RecordNumber, Slot } from "../../base/ids.ts";
import type { BranchReferences } from "../../collector/branch-references.ts";
import type { Origin, OriginCheckpoint, OriginRun } from "../../leadership/origin.ts";
import type { LogPosition } from "../../log/log.ts";
import { findLogPoint, type LogMoment } from "../../log/log-point.ts";
import type { ObjectStore, RequestOptions } from "../../objects/objects.ts";
import { readCheckpoint } from "../../storage/checkpoint-store.ts";
import type { CutPoint } from "./cut-branch.ts";
import { type Base, checkReached, type Moment, routeTo } from "./moment.ts";

export interface CutPointOptions {
  readonly store: ObjectStore;
  /** P of the repository. */
  readonly window: number;
  readonly request: RequestOptions;
  readonly moment: Moment;
}

/** A branch's own log begins here: slots count anew in each. */
const FIRST_SLOT = 1 as Slot;

/**
 * What a branch cut at `moment` begins with: a checkpoint of the parent, or what the parent itself begins with, and the
 * log from there to the moment. Costs a few requests however long that log is.
 *
 * Throws `notFound` when a collector was quicker (ask again, of the parent read anew), `notRetained` for a moment that
 * cannot be had any more, or is not there yet.
 */
export async function cutPointAt(options: CutPointOptions, parent: BranchReferences): Promise<CutPoint> {
  const { store, window, request, moment } = options;
  const { newest, origin, branch } = parent;
  const route = routeTo(moment, newest, origin?.position ?? null);
  const start = await startAt(options, parent, route.base);
  const from = start.position;
  const logMoment = asLogMoment(moment);
  if (route.replay === null || logMoment === null) return { ...start, position: { ...from, nextSlot: FIRST_SLOT } };
  const end = await findLogPoint({ store, branch, from, moment: logMoment, window, request });
  checkReached(moment, end);
  const runs = [...start.runs, ...runTo(branch, from, end)];
  return { checkpoint: start.checkpoint, runs, position: { ...end, nextSlot: FIRST_SLOT } };
}

async function startAt(
  { store, request }: CutPointOptions,
  parent: BranchReferences,
  base: Base,
): Promise<Pick<Origin, "checkpoint" | "runs"> & { position: LogPosition }> {
  if (base.checkpoint === null) {
    const { origin } = parent;
    if (origin === null) throw new DbError("notFound", `branch ${parent.branch}: its origin has just been collected`);
    return { checkpoint: origin.checkpoint, runs: origin.runs, position: origin.position };
  }
  const { nextSlot, n, id: sha256 } = base.checkpoint;
  const named: OriginCheckpoint = { branch: parent.branch, nextSlot, n, sha256 };
  const { newest } = parent;
  const checkpoint = newest?.id === sha256 ? newest : await readCheckpoint(store, named, request);
  if (checkpoint === null) throw new DbError("notFound", `a checkpoint of branch ${parent.branch} was just collected`);
  return { checkpoint: named, runs: [], position: checkpoint.point.position };
}

function runTo(branch: BranchReferences["branch"], from: LogPosition, end: LogPosition): OriginRun[] {
  if (end.nextSlot === from.nextSlot) return [];
  const last = (end.nextSlot - 1) as Slot;
  return [{ branch, first: from.nextSlot, last, lastRecord: end.lastRecord as RecordNumber }];
}

/** Null: a checkpoint itself, nothing behind it. */
function asLogMoment(moment: Moment): LogMoment | null {
  switch (moment.kind) {
    case "newest":
      return { kind: "end" };
    case "checkpoint":
      return null;
    default:
      return moment;
  }
}
