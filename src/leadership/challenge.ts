import type { SessionBody } from "./session-object.ts";

/**
 * How long a challenger waits before it kills a session: pure, by its own monotonic clock alone.
 *
 * 1. The wait begins after the reading of a version has come back, so not before that version's renewal was sent.
 * 2. It is the term that the version itself promises, plus a margin. Any change begins it anew, also one that a
 *    challenger has made.
 * 3. The kill is conditional on the version that was seen all the while: a renewal in between makes it fail.
 */
export interface Watched {
  readonly counter: number;
  readonly sinceMs: number;
  /** The kill may be sent from here on. */
  readonly dueMs: number;
}

/** `nowMs`: monotonic, taken after the answer came. */
export interface Sight {
  readonly nowMs: number;
  readonly counter: number;
  readonly session: SessionBody;
  /** The challenger's own margin: the greater of the two counts. */
  readonly marginMs: number;
}

export function watchedAfter(watched: Watched | null, sight: Sight): Watched {
  if (watched !== null && watched.counter === sight.counter) return watched;
  const waitMs = sight.session.termMs + Math.max(sight.marginMs, sight.session.marginMs);
  return { counter: sight.counter, sinceMs: sight.nowMs, dueMs: sight.nowMs + waitMs };
}

export const mayKill = (watched: Watched, nowMs: number): boolean => nowMs >= watched.dueMs;
