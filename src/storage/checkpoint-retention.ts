import type { Slot } from "../base/ids.ts";
import type { RetainedCheckpoint } from "./checkpoint.ts";

/** Which older checkpoints, and how much of the log, stay. */
export interface RetentionPolicy {
  /**
   * Every revision of the last `logMs` can be had again: the log is kept from a checkpoint on that is at least so old.
   */
  readonly logMs: number;
  /** A checkpoint stays while some tier keeps it. */
  readonly tiers: readonly RetentionTier[];
  readonly checkpointsMax: number;
}

/** Of checkpoints up to `ageMs` old, the first of each period of `everyMs` stays (0: all). */
export interface RetentionTier {
  readonly ageMs: number;
  readonly everyMs: number;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** 1h:all,24h:hourly,30d:daily */
export const defaultRetention: RetentionPolicy = {
  logMs: DAY_MS,
  tiers: [
    { ageMs: HOUR_MS, everyMs: 0 },
    { ageMs: DAY_MS, everyMs: HOUR_MS },
    { ageMs: 30 * DAY_MS, everyMs: DAY_MS },
  ],
  checkpointsMax: 1000,
};

/**
 * What a checkpoint made at `nowMs` retains of `candidates` (older ones, in order), and the first log slot it keeps:
 * the next slot of the newest checkpoint that is older than `logMs`. While there is none, the log stays from
 * `firstLogSlot` on, the one kept so far, and so does the checkpoint that it begins at.
 */
export function retain(
  policy: RetentionPolicy,
  candidates: readonly RetainedCheckpoint[],
  at: { readonly nowMs: number; readonly firstLogSlot: Slot },
): { retained: RetainedCheckpoint[]; firstLogSlot: Slot } {
  const base = logBase(policy, candidates, at);
  const firstLogSlot = base === null || base.nextSlot < at.firstLogSlot ? at.firstLogSlot : base.nextSlot;
  const kept = new Set<RetainedCheckpoint>();
  for (const tier of policy.tiers) keepTier(tier, candidates, at.nowMs, kept);
  const newest = candidates.filter((each) => kept.has(each)).slice(-policy.checkpointsMax);
  const anchor = candidates.findLast((each) => each.nextSlot === firstLogSlot);
  const retained = anchor === undefined || newest.includes(anchor) ? newest : [anchor, ...newest];
  return { retained: retained.sort((a, b) => a.proof.leaf - b.proof.leaf), firstLogSlot };
}

/** The newest checkpoint that is at least `logMs` old. */
function logBase(
  policy: RetentionPolicy,
  candidates: readonly RetainedCheckpoint[],
  at: { readonly nowMs: number },
): RetainedCheckpoint | null {
  return candidates.findLast((each) => each.wallMs <= at.nowMs - policy.logMs) ?? null;
}

function keepTier(
  tier: RetentionTier,
  candidates: readonly RetainedCheckpoint[],
  nowMs: number,
  kept: Set<RetainedCheckpoint>,
): void {
  let period = Number.NaN;
  for (const candidate of candidates) {
    if (candidate.wallMs < nowMs - tier.ageMs) continue;
    const own = tier.everyMs === 0 ? Number.NaN : Math.floor(candidate.wallMs / tier.everyMs);
    if (own === period) continue;
    period = own;
    kept.add(candidate);
  }
}
