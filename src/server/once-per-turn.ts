import type { Timers } from "../runtime/runtime.ts";

/**
 * One piece of work for all who ask for it before it begins, and no two in one turn of the event loop: it takes
 * milliseconds, and whoever asks a thousand times at once must not keep others waiting for a thousand of it.
 */
export function oncePerTurn<T>(work: () => Promise<T>, timers: Pick<Timers, "defer">): () => Promise<T> {
  let next: Promise<T> | null = null;
  return () => {
    next ??= new Promise<void>((resolve) => timers.defer(resolve)).then(() => {
      next = null;
      return work();
    });
    return next;
  };
}
