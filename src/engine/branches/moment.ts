import { DbError } from "../../base/errors.ts";
import type { RecordNumber, Slot } from "../../base/ids.ts";
import type { LogPosition } from "../../log/log.ts";
import type { Checkpoint } from "../../storage/checkpoint.ts";

/** A moment of a branch, as a person names it. */
export type Moment =
  | { readonly kind: "newest" }
  | { readonly kind: "revision"; readonly revision: number }
  /** The last revision at or before it; ms since 1970. */
  | { readonly kind: "time"; readonly wallMs: number }
  /** Its id or how that begins, or its name `SLOT-N`. */
  | { readonly kind: "checkpoint"; readonly name: string };

/** A state that can be begun with: that of a checkpoint, or of the branch's origin. */
export interface Base {
  /** Null: the origin, where there is nothing. */
  readonly checkpoint: { readonly id: string; readonly nextSlot: Slot; readonly n: number } | null;
  readonly nextSlot: Slot;
  readonly revision: number;
  readonly wallMs: number;
}

/** Where to begin, and up to which record to replay; null: the base alone. */
export interface Route {
  readonly base: Base;
  readonly replay: ((record: { number: RecordNumber; revision: number; wallMs: number }) => boolean) | null;
}

/**
 * What leads to a moment. Retained are: every revision from the first log slot kept on, and the revision of each
 * retained checkpoint; any other is refused, naming the nearest on both sides.
 */
export function routeTo(moment: Moment, newest: Checkpoint | null, origin: LogPosition | null): Route {
  const bases = basesOf(newest, origin);
  const firstSlot = newest?.firstLogSlot ?? origin?.nextSlot ?? 1;
  const inLog = bases.filter(({ nextSlot }) => nextSlot >= firstSlot);
  switch (moment.kind) {
    case "newest":
      return { base: lastOf(bases), replay: () => true };
    case "checkpoint":
      return { base: named(moment.name, bases), replay: null };
    case "revision": {
      const base = inLog.findLast(({ revision }) => revision <= moment.revision);
      if (base !== undefined) return { base, replay: ({ revision }) => revision <= moment.revision };
      const exact = bases.findLast(({ revision }) => revision === moment.revision);
      if (exact !== undefined) return { base: exact, replay: null };
      throw notRetained(`revision ${moment.revision}`, bases, (each) => each.revision - moment.revision);
    }
    case "time": {
      const base = inLog.findLast(({ wallMs }) => wallMs <= moment.wallMs);
      if (base !== undefined) return { base, replay: ({ wallMs }) => wallMs <= moment.wallMs };
      throw notRetained(timeText(moment.wallMs), bases, (each) => each.wallMs - moment.wallMs);
    }
  }
}

function basesOf(newest: Checkpoint | null, origin: LogPosition | null): Base[] {
  const bases: Base[] = [];
  if (origin !== null && (newest === null || newest.firstLogSlot === origin.nextSlot)) {
    bases.push({ checkpoint: null, nextSlot: origin.nextSlot, revision: origin.revision, wallMs: origin.wallMs });
  }
  if (newest === null) return bases;
  for (const { id, nextSlot, n, revision, wallMs } of newest.retained) {
    bases.push({ checkpoint: { id, nextSlot, n }, nextSlot, revision, wallMs });
  }
  const { nextSlot, revision } = newest.point.position;
  const { id, n, point } = newest;
  bases.push({ checkpoint: { id, nextSlot, n }, nextSlot, revision, wallMs: point.wallMs });
  return bases;
}

/** Whether a state that was begun with can be had still; else what it is read from may be collected. */
export const isRetained = (base: Base, newest: Checkpoint | null, origin: LogPosition): boolean =>
  basesOf(newest, origin).some(({ checkpoint }) => checkpoint?.id === base.checkpoint?.id);

function lastOf(bases: readonly Base[]): Base {
  const last = bases.at(-1);
  if (last === undefined) throw new DbError("corrupt", "the branch has neither a checkpoint nor an origin");
  return last;
}

const SHORTEST_ID = 6;

function named(name: string, bases: readonly Base[]): Base {
  const found = bases.filter(({ checkpoint }) => {
    if (checkpoint === null) return false;
    if (name === `${checkpoint.nextSlot}-${checkpoint.n}`) return true;
    return name.length >= SHORTEST_ID && checkpoint.id.startsWith(name);
  });
  if (found.length === 1) return found[0]!;
  const what = found.length === 0 ? "no retained checkpoint is" : `${found.length} retained checkpoints are`;
  throw new DbError(
    "notFound",
    `${what} named ${name}: give its id, the first ${SHORTEST_ID} digits at least, or SLOT-N`,
  );
}

function notRetained(what: string, bases: readonly Base[], distance: (base: Base) => number): DbError {
  const before = bases.findLast((base) => distance(base) < 0);
  const after = bases.find((base) => distance(base) > 0);
  const near = [before, after].flatMap((base) => (base === undefined ? [] : [baseText(base)]));
  return new DbError("notRetained", `${what} is not retained; the nearest: ${near.join(", ") || "none"}`);
}

/** Throws for a time before the first record of a root: nobody knows whether the branch was there. */
export function checkBegun(moment: Moment, reached: { readonly wallMs: number; readonly revision: number }): void {
  if (moment.kind !== "time" || reached.wallMs > 0) return;
  const when = timeText(moment.wallMs);
  const near = `revision ${reached.revision} (the beginning)`;
  throw new DbError("notRetained", `${when} is before anything was written; the nearest: ${near}`);
}

/** Of a revision that the log has not: `before` is the last one below it; a promotion may have passed it over. */
export function notInLog(
  revision: number,
  before: { readonly revision: number; readonly wallMs: number },
  { isPassed }: { readonly isPassed: boolean },
): DbError {
  const at = `${before.revision} (${timeText(before.wallMs)})`;
  const why = isPassed
    ? `was never there: a promotion or a restore in place went on from ${at} to a higher one`
    : `is not there yet: the newest in the store is ${at}`;
  return new DbError("notRetained", `revision ${revision} ${why}`);
}

const baseText = ({ revision, wallMs, checkpoint }: Base): string =>
  `revision ${revision} (${checkpoint === null ? "the beginning" : `checkpoint of ${timeText(wallMs)}`})`;

export const timeText = (wallMs: number): string => new Date(wallMs).toISOString();
