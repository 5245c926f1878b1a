import type { ServiceTimers } from "./settings.ts";
import type { StreamCall } from "./stream-call.ts";

/** etcd cuts streams after three election timeouts of 1 s without a leader. */
const CHECK_INTERVAL_MS = 1000;
const CHECKS_MAX = 3;

/**
 * Streams opened with `hasleader: true`: cut with "no leader" when their database has long had no proof of
 * leadership (B1.9, W18).
 */
export class LeaderWatch {
  readonly #timers: ServiceTimers;
  /** Each with how many checks in a row have found no leader. */
  readonly #calls = new Map<StreamCall, number>();
  #running = false;

  constructor(timers: ServiceTimers) {
    this.#timers = timers;
  }

  add(call: StreamCall): void {
    if (call.ended) return;
    this.#calls.set(call, 0);
    call.onEnd(() => this.#calls.delete(call));
    this.#schedule();
  }

  #schedule(): void {
    if (this.#running || this.#calls.size === 0) return;
    this.#running = true;
    this.#timers.set(CHECK_INTERVAL_MS, () => this.#check(), { background: true });
  }

  #check(): void {
    this.#running = false;
    for (const [call, before] of this.#calls) {
      call.guard(() => {
        const reason = call.database.unprovenBecause();
        const misses = reason === null ? 0 : before + 1;
        if (reason !== null && misses >= CHECKS_MAX) call.fail(reason);
        else if (misses !== before) this.#calls.set(call, misses);
      });
    }
    this.#schedule();
  }
}
