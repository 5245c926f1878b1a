import { nextTurn } from "../base/event-loop.ts";
import type { Clock, Timers } from "../runtime/runtime.ts";

/** Between two pieces of work, for each millisecond that the first took: it has a tenth of the event loop at most. */
const REST_MS_PER_MS = 9;
const REST_MS_MAX = 1_000;

/**
 * One piece of work for all who ask for it before it begins, no two in one turn of the event loop, and with a rest
 * between them: it takes milliseconds, and whoever asks a thousand times at once must not keep others waiting for a
 * thousand of it. Who asks during the rest gets the next one.
 */
export function oncePerTurn<T>(
  work: () => Promise<T>,
  { clock, timers }: { clock: Pick<Clock, "monotonicMs">; timers: Timers },
): () => Promise<T> {
  let next: Promise<T> | null = null;
  let restsUntilMs = Number.NEGATIVE_INFINITY;
  const turn = (): Promise<void> => {
    const restMs = restsUntilMs - clock.monotonicMs();
    return restMs > 0 ? new Promise((resolve) => timers.set(restMs, resolve)) : nextTurn(timers);
  };
  return () => {
    next ??= turn().then(async () => {
      next = null;
      const startedMs = clock.monotonicMs();
      try {
        return await work();
      } finally {
        const endedMs = clock.monotonicMs();
        restsUntilMs = endedMs + Math.min(REST_MS_MAX, (endedMs - startedMs) * REST_MS_PER_MS);
      }
    });
    return next;
  };
}
