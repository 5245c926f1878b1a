import { DbError, isDbError } from "../base/errors.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import { type CollectionReport, type Collector, count, emptyReport } from "./collector.ts";

export interface BackgroundOptions {
  readonly collector: Collector;
  readonly runtime: Pick<Runtime, "clock" | "timers" | "random">;
  readonly intervalMs: number;
  /** What comes before each collection: branches that have expired, or were deleted long enough ago, are ended. */
  readonly sweep?: (signal: AbortSignal) => Promise<void>;
  /** Whether this node leads any branch: the others leave it to those who do. */
  readonly leads: () => boolean;
  readonly tell: {
    info(sentence: string, facts: Readonly<Record<string, unknown>>): void;
    warn(sentence: string, facts: Readonly<Record<string, unknown>>): void;
  };
}

/** What was collected since the process began. */
export interface CollectionStats {
  readonly objects: number;
  readonly bytes: number;
  /** Wall time of the last run's end, ms since 1970, by this node; null before the first. */
  readonly lastMs: number | null;
  /** Why the last run has failed; null when it has not. */
  readonly error: string | null;
}

/**
 * Collects now and then, for as long as the process serves. Of several nodes at one repository, the one whose time
 * comes first makes a collection, and the others then leave it alone until the interval is over: that is for the bill,
 * not for safety.
 */
export class BackgroundCollector {
  readonly #options: BackgroundOptions;
  readonly #stop = new AbortController();
  #timer: Timer | null = null;
  #running: Promise<void> | null = null;
  #total: CollectionReport = emptyReport();
  #lastMs: number | null = null;
  #error: string | null = null;

  constructor(options: BackgroundOptions) {
    this.#options = options;
    this.#later();
  }

  stats(): CollectionStats {
    const { objects, bytes } = this.#total;
    return { objects, bytes, lastMs: this.#lastMs, error: this.#error };
  }

  /** Half to all of the interval: nodes that started together do not come together. */
  #later(): void {
    const { runtime, intervalMs } = this.#options;
    const delayMs = intervalMs * (0.5 + runtime.random.float() / 2);
    this.#timer = runtime.timers.set(delayMs, () => this.#due(), { background: true });
  }

  #due(): void {
    this.#running = this.#run().finally(() => {
      this.#running = null;
      if (!this.#stop.signal.aborted) this.#later();
    });
  }

  async #run(): Promise<void> {
    const { collector, runtime, intervalMs, leads, tell } = this.#options;
    try {
      if (!leads() || (await collector.ranWithin(intervalMs / 2, this.#stop.signal))) return;
      await this.#options.sweep?.(this.#stop.signal);
      const onDeleted = (candidate: Parameters<typeof count>[1]): void => count(this.#total, candidate);
      const report = await collector.collect({ signal: this.#stop.signal, onDeleted });
      this.#error = null;
      if (report.objects > 0)
        tell.info("collected what no branch needs", { objects: report.objects, bytes: report.bytes });
    } catch (error) {
      if (this.#stop.signal.aborted && isDbError(error)) return;
      if (!(error instanceof DbError)) throw error;
      this.#error = `nothing could be collected: ${error.message}`;
      tell.warn("a collection failed, it will be tried again", { why: error.message });
    } finally {
      this.#lastMs = runtime.clock.wallMs();
    }
  }

  /** What was sent is confirmed; bounded by the requests' own time limits. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#timer?.cancel();
    await this.#running;
  }
}
