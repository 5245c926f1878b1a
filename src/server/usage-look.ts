import { DbError, isDbError } from "../base/errors.ts";
import type { History, Usage } from "../engine/branches/history.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";

export interface UsageLookOptions {
  readonly history: Pick<History, "usage">;
  readonly runtime: Pick<Runtime, "clock" | "timers" | "random">;
  readonly intervalMs: number;
  /** Whether this node leads any branch: the others leave it to those who do. */
  readonly leads: () => boolean;
  readonly warn: (sentence: string, facts: Readonly<Record<string, unknown>>) => void;
}

/** What the last look that came to its end has found. */
export interface UsageSeen {
  readonly usage: Usage | null;
  /** Wall time of it, ms since 1970; null before the first. */
  readonly atMs: number | null;
  /** Whether there was one since that failed. */
  readonly failed: boolean;
}

/** A scrape soon after a start shall find something. */
const FIRST_MS_MAX = 60_000;

/**
 * Looks now and then at what branches take of the store, for metrics: it costs a listing of the repository and its
 * checkpoints, which no scrape waits for.
 */
export class UsageLook {
  readonly #options: UsageLookOptions;
  readonly #stop = new AbortController();
  #timer: Timer | null = null;
  #running: Promise<void> | null = null;
  #seen: UsageSeen = { usage: null, atMs: null, failed: false };

  constructor(options: UsageLookOptions) {
    this.#options = options;
    this.#after(Math.min(options.intervalMs, FIRST_MS_MAX));
  }

  seen(): UsageSeen {
    return this.#seen;
  }

  /** Half to all of the time: nodes that started together do not look together. */
  #after(mostMs: number): void {
    const { timers, random } = this.#options.runtime;
    const delayMs = mostMs * (0.5 + random.float() / 2);
    this.#timer = timers.set(delayMs, () => this.#due(), { background: true });
  }

  #due(): void {
    this.#running = this.#look().finally(() => {
      this.#running = null;
      if (!this.#stop.signal.aborted) this.#after(this.#options.intervalMs);
    });
  }

  async #look(): Promise<void> {
    const { history, runtime, leads, warn } = this.#options;
    if (!leads()) return;
    try {
      const usage = await history.usage({ branch: null, prefixDepth: 0, signal: this.#stop.signal });
      this.#seen = { usage, atMs: runtime.clock.wallMs(), failed: false };
    } catch (error) {
      if (this.#stop.signal.aborted && isDbError(error)) return;
      if (!(error instanceof DbError)) throw error;
      this.#seen = { ...this.#seen, failed: true };
      warn("what branches take of the store could not be seen, it will be tried again", { why: error.message });
    }
  }

  /** Gives up what is under way; bounded by the requests' own time limits. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#timer?.cancel();
    await this.#running;
  }
}
