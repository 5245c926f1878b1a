import type { Clock } from "../runtime/runtime.ts";

/**
 * The term of a session: until when its node may prove reads without asking anybody.
 *
 * 1. A term is counted from before the renewal was sent, by the monotonic and by the wall clock, and is over when
 *    either says so. A challenger counts from after it has read that renewal, and waits a margin longer: so the term
 *    is over before the session can be killed, unless a pause longer than the margin was missed by both clocks.
 *
 *      node        sent ├──────────── term ───────────┤ stops
 *      bucket           └──► written
 *      challenger                └──► read ├──────────── term ───────────┼ margin ┤ kills
 *
 * 2. The challenger goes by the term that is written in the version it sees. So from the moment a renewal with a
 *    shorter term is sent, seen or not, the shorter one holds as well: `sent` never lengthens, it may shorten.
 */
export interface Instant {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

export interface Term {
  /** Proven strictly before this, by each clock. */
  readonly until: Instant;
}

export const instant = (clock: Clock): Instant => ({ monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() });

const after = (at: Instant, ms: number): Instant => ({ monotonicMs: at.monotonicMs + ms, wallMs: at.wallMs + ms });

export type TermEvent =
  /** A renewal is about to be sent. */
  | { kind: "sent"; now: Instant; termMs: number }
  /** A renewal sent at `sentAt` is known to be written. */
  | { kind: "written"; sentAt: Instant; termMs: number };

/** The term of a session that is about to be created: nothing is proven yet. */
export const noTerm: Term = { until: { monotonicMs: Number.NEGATIVE_INFINITY, wallMs: Number.NEGATIVE_INFINITY } };

export function termAfter(term: Term, event: TermEvent): Term {
  switch (event.kind) {
    case "sent": {
      const bound = after(event.now, event.termMs);
      return {
        until: {
          monotonicMs: Math.min(term.until.monotonicMs, bound.monotonicMs),
          wallMs: Math.min(term.until.wallMs, bound.wallMs),
        },
      };
    }
    case "written":
      return { until: after(event.sentAt, event.termMs) };
  }
}

/** Asked for each linearizable read: no allocation. */
export const isProven = (term: Term, clock: Clock): boolean =>
  clock.monotonicMs() < term.until.monotonicMs && clock.wallMs() < term.until.wallMs;
