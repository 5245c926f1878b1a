import { isDbError } from "../base/errors.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import type { Clock, Timer, Timers } from "../runtime/runtime.ts";
import type { Lease, Lessor } from "./lease/lessor.ts";

export interface LeaseExpiryOptions {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly perSecond: number;
  /** Whether keep-alives can be answered: while they cannot, no lease ends (L8). */
  mayExpire(): boolean;
  /** Revokes one that is due; tells if it was not due any more. Rejects where it cannot be done now. */
  expire(lease: Lease): MaybePromise<{ revoked: boolean }>;
  /** Leases do not end any more: there is no caller who could be told. */
  onBug(error: unknown): void;
}

/** After leases were revoked it looks again no sooner than this. */
const STEP_MS = 10;
/** Leases of so many steps end at once where the last one was longer ago. */
const STEPS_MAX = 2;
/** The same where they could not be revoked. */
const RETRY_MS = 500;
/** Under way at once: so many a write may find before it, and a log that is slow sets the pace. */
const UNDER_WAY_MAX = 256;
/** Timers are not asked for more; a lease may live for centuries. */
const SLEEP_MS_MAX = 3_600_000;

/**
 * Ends leases when they are due, at a bounded pace (L6), a few in a turn, so that writes go on between them. Sleeps
 * until the next one is.
 */
export class LeaseExpiry {
  readonly #lessor: Lessor;
  readonly #options: LeaseExpiryOptions;
  #timer: Timer | null = null;
  #timerMs = 0;
  #notBeforeMs = 0;
  /** When some last were. */
  #endedMs = 0;
  #revoking = 0;
  #expired = 0;
  #stopped = false;

  constructor(lessor: Lessor, options: LeaseExpiryOptions) {
    this.#lessor = lessor;
    this.#options = options;
  }

  /** How many it has ended. */
  get expired(): number {
    return this.#expired;
  }

  /** To be called when a lease has come, or is due sooner. */
  schedule(): void {
    const nextMs = this.#stopped ? null : this.#lessor.nextExpiryMs();
    if (nextMs === null) return;
    const nowMs = this.#options.clock.monotonicMs();
    const atMs = Math.min(Math.max(nextMs, this.#notBeforeMs), nowMs + SLEEP_MS_MAX);
    if (this.#timer !== null) {
      if (this.#timerMs <= atMs) return;
      this.#timer.cancel();
    }
    this.#timerMs = atMs;
    this.#timer = this.#options.timers.set(Math.max(0, atMs - nowMs), () => this.#wake(), { background: true });
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#timer = null;
  }

  #wake(): void {
    this.#timer = null;
    const nowMs = this.#options.clock.monotonicMs();
    if (!this.#options.mayExpire()) {
      this.#notBeforeMs = nowMs + RETRY_MS;
    } else {
      const due = this.#lessor.expired(nowMs, this.#mayEnd(nowMs));
      if (due.length > 0 || this.#revoking >= UNDER_WAY_MAX) this.#notBeforeMs = nowMs + STEP_MS;
      if (due.length > 0) this.#endedMs = nowMs;
      for (const lease of due) void this.#expire(lease);
    }
    this.schedule();
  }

  #mayEnd(nowMs: number): number {
    const sinceMs = Math.min(nowMs - this.#endedMs, STEPS_MAX * STEP_MS);
    const paced = Math.max(1, Math.round((this.#options.perSecond * sinceMs) / 1000));
    return Math.min(paced, UNDER_WAY_MAX - this.#revoking);
  }

  async #expire(lease: Lease): Promise<void> {
    this.#revoking++;
    try {
      const { revoked } = await this.#options.expire(lease);
      if (revoked) this.#expired++;
    } catch (error) {
      // Not now (no proof, no room, out of time): it is still due, and comes up again.
      if (!isDbError(error)) {
        this.stop();
        this.#options.onBug(error);
      }
      this.#notBeforeMs = this.#options.clock.monotonicMs() + RETRY_MS;
    } finally {
      this.#revoking--;
      this.#lessor.putBack(lease);
      this.schedule();
    }
  }
}
