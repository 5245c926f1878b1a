import { type Deferring, nextTurn } from "../base/event-loop.ts";

/**
 * One piece of work for all who ask for it before it begins, and no two in one turn of the event loop: it takes
 * milliseconds, and whoever asks a thousand times at once must not keep others waiting for a thousand of it.
 */
export function oncePerTurn<T>(work: () => Promise<T>, timers: Deferring): () => Promise<T> {
  let next: Promise<T> | null = null;
  return () => {
    next ??= nextTurn(timers).then(() => {
      next = null;
      return work();
    });
    return next;
  };
}
