import { DbError } from "../base/errors.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { RequestOptions } from "./objects.ts";

export type RetryRuntime = Pick<Runtime, "clock" | "timers" | "random">;

const FIRST_WAIT_MS = 20;
const WAIT_MS_MAX = 2000;

/** Resolves after `delayMs`, or at once when `signal` fires. */
export function sleep(runtime: Pick<Runtime, "timers">, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      timer.cancel();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = runtime.timers.set(delayMs, done);
    signal?.addEventListener("abort", done);
  });
}

/** Given instead of an answer that did not come in time. */
export const LATE: unique symbol = Symbol("late");

/**
 * The answer of `work`, or LATE once the time is up or the caller has given up: for work that cannot be stopped, which
 * then goes on unseen, may still have its effect, and whose failure is nobody's any more.
 */
export function within<T>(
  runtime: Pick<Runtime, "timers">,
  options: RequestOptions,
  work: Promise<T>,
): Promise<T | typeof LATE> {
  return new Promise((resolve, reject) => {
    const finish = () => {
      timer.cancel();
      options.signal?.removeEventListener("abort", late);
    };
    const late = () => {
      finish();
      resolve(LATE);
    };
    const timer = runtime.timers.set(options.timeoutMs, late);
    if (options.signal?.aborted) late();
    else options.signal?.addEventListener("abort", late);
    work.then(
      (value) => {
        finish();
        resolve(value);
      },
      (error: unknown) => {
        finish();
        reject(error);
      },
    );
  });
}

/**
 * The time that one call may take with all its tries, and the waits between them: doubled each time, with jitter (half
 * to all of the wait), so that those who failed together do not come back together.
 */
export class RetryBudget {
  readonly signal: AbortSignal | undefined;
  readonly #runtime: RetryRuntime;
  readonly #endsMs: number;
  readonly #waitMsMax: number;
  #waitMs: number;

  constructor(runtime: RetryRuntime, options: RequestOptions, waits: { firstMs?: number; maxMs?: number } = {}) {
    this.signal = options.signal;
    this.#runtime = runtime;
    this.#endsMs = runtime.clock.monotonicMs() + options.timeoutMs;
    this.#waitMs = waits.firstMs ?? FIRST_WAIT_MS;
    this.#waitMsMax = waits.maxMs ?? WAIT_MS_MAX;
  }

  get canceled(): boolean {
    return this.signal?.aborted === true;
  }

  leftMs(): number {
    return this.canceled ? 0 : Math.max(0, this.#endsMs - this.#runtime.clock.monotonicMs());
  }

  /**
   * Options for a request within this budget, of at most `timeoutMs`. One that comes when the time is up (the process
   * was stalled between two steps) gets the least that is a time limit, and fails by it.
   */
  request(timeoutMs = Number.POSITIVE_INFINITY): RequestOptions {
    const bounded = { timeoutMs: Math.max(1, Math.min(timeoutMs, this.leftMs())) };
    return this.signal ? { ...bounded, signal: this.signal } : bounded;
  }

  /** Waits before the next try; false when there is no time for one, or the caller has given up. */
  async wait(): Promise<boolean> {
    const delayMs = this.#waitMs * (0.5 + this.#runtime.random.float() / 2);
    this.#waitMs = Math.min(this.#waitMs * 2, this.#waitMsMax);
    if (delayMs >= this.leftMs()) return false;
    await sleep(this.#runtime, delayMs, this.signal);
    return this.leftMs() > 0;
  }

  /** What to throw when `wait` has said false: `canceled`, or `storeUnavailable` with the last failure. */
  failure(what: string, cause?: Error): DbError {
    if (this.canceled) return new DbError("canceled", `${what}: given up by the caller`, { cause });
    return new DbError("storeUnavailable", `${what}: ${cause?.message ?? "no answer in time"}`, { cause });
  }
}
