import { DbError } from "../base/errors.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import type { ServiceTimers } from "./settings.ts";

export interface FairShareOptions {
  readonly timers: Pick<ServiceTimers, "defer">;
  readonly monotonicMs: () => number;
  /** What calls of one branch may take of one turn of the event loop while others are called, too. */
  readonly shareMs?: number;
  /** Calls of one branch that wait for a later turn; more are refused. */
  readonly waitingMax?: number;
}

const SHARE_MS = 2;
const WAITING_MAX = 10_000;
/** Turns without a call after which a branch no longer counts among those that are called. */
const IDLE_MS = 1000;

interface Share {
  usedMs: number;
  calledMs: number;
  /** In the order of their arrival. */
  waiting: (() => void)[];
}

/**
 * Shares the event loop among branches: of each turn, the calls of one branch take a bounded time, and what is beyond
 * waits for the next turn, behind what has come for others in between. A branch that is called alone takes all, and
 * pays nothing for it.
 *
 *   turn 1   busy ████████ 2 ms │ quiet █            busy's other calls wait
 *   turn 2   busy ████████ 2 ms │ quiet ██           (first in, first out)
 *
 * What a call does later, when its record is durable or its blocks are read, is not counted.
 */
export class FairShare {
  readonly #options: Required<FairShareOptions>;
  readonly #shares = new Map<string, Share>();
  #scheduled = false;

  constructor({ shareMs = SHARE_MS, waitingMax = WAITING_MAX, ...options }: FairShareOptions) {
    this.#options = { ...options, shareMs, waitingMax };
  }

  /** Calls of all branches that wait for a turn. */
  get waiting(): number {
    let sum = 0;
    for (const { waiting } of this.#shares.values()) sum += waiting.length;
    return sum;
  }

  /** No other branch is called these days, and nothing waits: `run` would do nothing but call. */
  isAlone(branch: string): boolean {
    const share = this.#shareOf(branch);
    return this.#shares.size === 1 && share.waiting.length === 0;
  }

  /** Carries out `call` now, or in a later turn. Throws, or rejects with, what it throws; `tooManyRequests`. */
  run<T>(branch: string, call: () => MaybePromise<T>): MaybePromise<T> {
    const share = this.#shareOf(branch);
    if (share.waiting.length === 0 && share.usedMs < this.#options.shareMs) return this.#measured(share, call);
    if (share.waiting.length >= this.#options.waitingMax) throw new DbError("tooManyRequests");
    return new Promise<T>((resolve, reject) => {
      share.waiting.push(() => {
        try {
          resolve(call());
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  #measured<T>(share: Share, call: () => T): T {
    const { monotonicMs } = this.#options;
    const startMs = monotonicMs();
    try {
      return call();
    } finally {
      const nowMs = monotonicMs();
      share.usedMs += nowMs - startMs;
      share.calledMs = nowMs;
    }
  }

  #shareOf(branch: string): Share {
    let share = this.#shares.get(branch);
    if (share === undefined) {
      share = { usedMs: 0, calledMs: this.#options.monotonicMs(), waiting: [] };
      this.#shares.set(branch, share);
    }
    if (!this.#scheduled && this.#shares.size > 1) {
      this.#scheduled = true;
      this.#options.timers.defer(this.#turn);
    }
    return share;
  }

  readonly #turn = (): void => {
    this.#scheduled = false;
    const nowMs = this.#options.monotonicMs();
    let isWaiting = false;
    for (const [branch, share] of this.#shares) {
      share.usedMs = 0;
      this.#runWaiting(share);
      if (share.waiting.length > 0) isWaiting = true;
      else if (nowMs - share.calledMs > IDLE_MS) this.#shares.delete(branch);
    }
    if (!isWaiting) return;
    this.#scheduled = true;
    this.#options.timers.defer(this.#turn);
  };

  #runWaiting(share: Share): void {
    const { waiting } = share;
    let done = 0;
    while (done < waiting.length && share.usedMs < this.#options.shareMs) this.#measured(share, waiting[done++]!);
    if (done > 0) share.waiting = waiting.slice(done);
  }
}
