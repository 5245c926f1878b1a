import type { Timers } from "../runtime/runtime.ts";

/**
 * Pauses of several who wait for one thing, which can be ended all at once: whoever finds it there wakes the others.
 */
export class Waits {
  readonly #timers: Timers;
  readonly #ends = new Set<() => void>();

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /** Resolves after `delayMs`, when `signal` fires or when all are ended; never rejects. */
  wait(delayMs: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        timer.cancel();
        this.#ends.delete(end);
        signal.removeEventListener("abort", end);
        resolve();
      };
      const timer = this.#timers.set(delayMs, end);
      this.#ends.add(end);
      signal.addEventListener("abort", end);
    });
  }

  endAll(): void {
    for (const end of [...this.#ends]) end();
  }
}
