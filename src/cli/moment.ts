import type { Moment } from "../engine/branches/moment.ts";
import { durationKind } from "../server/setting-kinds.ts";
import { UsageError } from "./errors.ts";

const age = durationKind({ min: 0, max: 100 * 366 * 86_400_000 });

/**
 * REVISION, TIME or CHECKPOINT: digits are a revision, an RFC 3339 time or a date is a time, a duration is that long
 * ago, `SLOT-N` and what looks like the beginning of a SHA-256 is a checkpoint: one that has a letter, as `shortId`
 * gives it. `where` it was given.
 */
export function momentOf(text: string | undefined, nowMs = Date.now(), where = "--at"): Moment {
  if (text === undefined) return { kind: "newest" };
  if (/^\d{1,16}$/.test(text)) return { kind: "revision", revision: Number(text) };
  if (/^\d{4}-\d\d-\d\d([T ].*)?$/.test(text)) {
    const wallMs = Date.parse(text);
    if (Number.isNaN(wallMs))
      throw new UsageError(`${where}: ${text} is no time: expected one such as 2026-08-01T12:00:00Z`);
    return { kind: "time", wallMs };
  }
  if (/^\d+-\d+$/.test(text) || /^[0-9a-f]{6,64}$/.test(text)) return { kind: "checkpoint", name: text };
  try {
    return { kind: "time", wallMs: nowMs - age.parse(text) };
  } catch {
    throw new UsageError(`${where}: "${text}" is no revision, time, age (10m) or checkpoint`);
  }
}

const SHORT_ID_DIGITS = 12;

/** How a checkpoint's id begins, as far as `momentOf` takes it for one: digits alone would be a revision. */
export function shortId(id: string): string {
  const letterAt = id.search(/[a-f]/);
  return letterAt < 0 ? id : id.slice(0, Math.max(SHORT_ID_DIGITS, letterAt + 1));
}
