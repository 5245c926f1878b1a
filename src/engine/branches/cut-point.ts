import { assert } from "../../base/assert.ts";
import { DbError } from "../../base/errors.ts";
import type { BranchId, RecordNumber, Slot } from "../../base/ids.ts";
import type { Origin, OriginRun } from "../../leadership/origin.ts";
import type { LogPosition } from "../../log/log.ts";
import { findLogPoint, type LogMoment } from "../../log/log-point.ts";
import type { ObjectStore, RequestOptions } from "../../objects/objects.ts";
import type { Checkpoint } from "../../storage/checkpoint.ts";
import { readCheckpoint } from "../../storage/checkpoint-store.ts";
import type { CutParent, CutPoint } from "./cut-branch.ts";
import { type Base, checkBegun, type Moment, notInLog, routeTo } from "./moment.ts";

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
export async function cutPointAt(options: CutPointOptions, parent: CutParent): Promise<CutPoint> {
  const { store, window, request, moment } = options;
  const { newest, branch } = parent;
  const origin = mayBeginAtOrigin(moment, newest) ? await parent.origin() : null;
  const route = routeTo(moment, newest, origin?.position ?? null);
  const start = await startAt(options, parent, route.base);
  const from = start.position;
  const logMoment = asLogMoment(moment);
  if (route.replay === null || logMoment === null) return { ...start, position: { ...from, nextSlot: FIRST_SLOT } };
  const end = await findLogPoint({ store, branch, from, moment: logMoment, window, request });
  checkBegun(moment, end);
  if (moment.kind === "revision" && end.revision < moment.revision) {
    const newest = await findLogPoint({ store, branch, from: end, moment: { kind: "end" }, window, request });
    throw notInLog(moment.revision, end, { isPassed: newest.revision > moment.revision });
  }
  const runs = [...start.runs, ...runTo(branch, from, end)];
  return { ...start, runs, position: { ...end, nextSlot: FIRST_SLOT } };
}

/** What has no checkpoint, and moments before the first one that is kept. */
const mayBeginAtOrigin = ({ kind }: Moment, newest: Checkpoint | null): boolean =>
  newest === null || kind === "revision" || kind === "time";

async function startAt({ store, request }: CutPointOptions, parent: CutParent, base: Base): Promise<Start> {
  if (base.checkpoint === null) return startAtOrigin(parent.branch, await parent.origin());
  const { nextSlot, n, id } = base.checkpoint;
  const { newest, branch } = parent;
  const checkpoint = newest?.id === id ? newest : await readCheckpoint(store, { branch, nextSlot, n }, request);
  if (checkpoint === null) throw new DbError("notFound", `a checkpoint of branch ${branch} was just collected`);
  if (checkpoint.id === id) return startAtOwn(branch, checkpoint);
  throw new DbError("corrupt", `a checkpoint of branch ${branch} has id ${checkpoint.id}, the newest one lists ${id}`);
}

function runTo(branch: BranchId, from: LogPosition, end: LogPosition): OriginRun[] {
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

/** As far as the parent's leader has logged and uploaded, which it knows. */
export async function cutPointAtEnd(parent: CutParent, end: LogPosition): Promise<CutPoint> {
  const { newest, branch } = parent;
  const start = newest === null ? startAtOrigin(branch, await parent.origin()) : startAtOwn(branch, newest);
  assert(end.nextSlot >= start.position.nextSlot, "the end of a log is not before its checkpoint");
  const runs = [...start.runs, ...runTo(branch, start.position, end)];
  return { ...start, runs, position: { ...end, nextSlot: FIRST_SLOT } };
}

type Start = Pick<Origin, "checkpoint" | "runs" | "strips"> & { position: LogPosition };

function startAtOrigin(branch: BranchId, origin: Origin | null): Start {
  if (origin === null) throw new DbError("notFound", `branch ${branch}: its origin has just been collected`);
  const { checkpoint, runs, strips, position } = origin;
  return { checkpoint, runs, position, ...(strips && { strips }) };
}

/** Of a checkpoint of the parent's own: what was stripped when the parent was cut is not in it. */
function startAtOwn(branch: BranchId, { point, n, id }: Checkpoint): Start {
  const { position } = point;
  return { checkpoint: { branch, nextSlot: position.nextSlot, n, sha256: id }, runs: [], position };
}
