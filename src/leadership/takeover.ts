import { assert } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
import type { Epoch } from "../base/ids.ts";
import type { TakeoverLog } from "./leadership.ts";

/**
 * Steps (b) to (e) of taking over (DESIGN: leadership and fencing, rule 2), after the swap of the leader record.
 *
 * 1. What the taker starts from is a checkpoint that was still the newest after its fence was in place, or after it had
 *    seen the first free slot where no fence is needed: whatever a stalled leader had checkpointed and a collection had
 *    removed in between is noticed, and the reading repeated from there, in the same epoch.
 * 2. The fence is as wide as the window: each slot that an earlier leader may still write is taken or void.
 * 3. A fence or segment of a higher epoch ends it: `leadershipLost`, thrown by the log.
 *
 * Each await may be the last: another takes over with a higher epoch, and finds fences of this one to be as good as its
 * own segments, or the record taken and nothing else done.
 */
export interface TakeoverSteps<Start extends { readonly id: string }> {
  readonly log: TakeoverLog<Start>;
  readonly epoch: Epoch;
  /** P, of the repository. */
  readonly window: number;
  /** False only where no earlier epoch has a write on its way: after a clean release, and for a branch never led. */
  readonly fence: boolean;
  /** Why to stop, asked between the steps (the session was killed, the caller has given up); null to go on. */
  readonly stopped: () => DbError | null;
}

/** A new checkpoint in between needs a live writer of an earlier epoch, and each makes one at a time. */
const ROUNDS_MAX = 64;
/** Segments that earlier leaders may get in before the fence: at most a window for each of them. */
const TAKEN_MAX = 4096;

export async function takeOver<Start extends { readonly id: string }>(steps: TakeoverSteps<Start>): Promise<Start> {
  assert(steps.window >= 1, "the window has at least one slot");
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const start = await step(steps, () => steps.log.newestStart());
    await step(steps, () => steps.log.firstFreeSlot(start, steps.epoch));
    if (steps.fence) await placeFence(steps);
    const newest = await step(steps, () => steps.log.newestStart());
    if (newest.id !== start.id) continue;
    if (steps.fence && steps.window > 1) await step(steps, () => steps.log.widen(steps.epoch, steps.window - 1));
    return start;
  }
  throw new DbError("storeUnavailable", `taking over: the newest checkpoint changed ${ROUNDS_MAX} times meanwhile`);
}

async function placeFence<Start extends { readonly id: string }>(steps: TakeoverSteps<Start>): Promise<void> {
  for (let taken = 0; taken < TAKEN_MAX; taken++) {
    if ((await step(steps, () => steps.log.fence(steps.epoch))) === "fenced") return;
  }
  throw new DbError(
    "storeUnavailable",
    `taking over: ${TAKEN_MAX} slots were taken by others before a fence was in place`,
  );
}

async function step<T, Start extends { readonly id: string }>(
  steps: TakeoverSteps<Start>,
  run: () => Promise<T>,
): Promise<T> {
  const before = steps.stopped();
  if (before !== null) throw before;
  const result = await run();
  const after = steps.stopped();
  if (after !== null) throw after;
  return result;
}
