import type { Database } from "../engine/engine.ts";
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
  readonly #calls = new Set<StreamCall>();
  readonly #misses = new Map<Database, number>();
  #running = false;

  constructor(timers: ServiceTimers) {
    this.#timers = timers;
  }

  add(call: StreamCall): void {
    if (call.ended) return;
    this.#calls.add(call);
    const onEnd = call.onEnd;
    call.onEnd = () => {
      this.#calls.delete(call);
      onEnd();
    };
    this.#schedule();
  }

  #schedule(): void {
    if (this.#running || this.#calls.size === 0) return;
    this.#running = true;
    this.#timers.set(CHECK_INTERVAL_MS, () => this.#check(), { background: true });
  }

  #check(): void {
    this.#running = false;
    const databases = new Set<Database>();
    for (const call of this.#calls) databases.add(call.database);
    for (const known of this.#misses.keys()) if (!databases.has(known)) this.#misses.delete(known);
    for (const database of databases) {
      const reason = database.unprovenBecause();
      const misses = reason === null ? 0 : (this.#misses.get(database) ?? 0) + 1;
      this.#misses.set(database, misses);
      if (reason === null || misses < CHECKS_MAX) continue;
      for (const call of [...this.#calls]) if (call.database === database) call.fail(reason);
    }
    this.#schedule();
  }
}
