import { isDbError } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import type { ObjectStore } from "../objects/objects.ts";
import type { Runtime } from "../runtime/runtime.ts";

export interface UnlistedTablesOptions {
  readonly store: ObjectStore;
  readonly runtime: Pick<Runtime, "clock">;
  readonly requestTimeoutMs: number;
  readonly closing: AbortSignal;
}

/**
 * Who began to read before a table was replaced may be at it still; who is at it for longer reads on in what replaced
 * it.
 */
const GRACE_MS = 10 * 60_000;
/** So much of it is kept at most, the newest. */
const KEPT_BYTES_MAX = 512 << 20;
/** More are forgotten, and left to the collector of a later leadership. */
const KEPT_MAX = 10_000;
const DELETES_AT_ONCE = 8;

interface Replaced {
  readonly key: ObjectKey;
  readonly bytes: number;
  readonly atMs: number;
}

/**
 * Tables that this leadership has written and that no checkpoint has named yet. What of them is replaced again, or was
 * written by a merge that failed, never will be named: a collector cannot tell it from what its leader is about to
 * name, so the leader deletes it.
 *
 *   written ─► listed: a collector's from then on
 *        └───► dropped ─ some time, or too much of it ─► deleted
 *
 * 1. A table is listed before the checkpoint that names it is sent, so one whose outcome is unknown counts.
 * 2. Nobody else can know the name: it has this leadership's epoch and the hash of salted bytes. So its deletion needs
 *    no handshake, and may come as late as it will.
 * 3. What a crash leaves is of an epoch that a later leadership's checkpoint ends, and then a collector's.
 */
export class UnlistedTables {
  readonly #options: UnlistedTablesOptions;
  readonly #written = new Map<ObjectKey, number>();
  #replaced: Replaced[] = [];
  #replacedBytes = 0;
  #sweeping: Promise<void> | null = null;

  constructor(options: UnlistedTablesOptions) {
    this.#options = options;
  }

  /** A table is about to be sent. */
  written(key: ObjectKey, bytes: number): void {
    this.#written.set(key, bytes);
  }

  /** These are named by a checkpoint that is about to be written. */
  listed(keys: Iterable<ObjectKey>): void {
    for (const key of keys) this.#written.delete(key);
  }

  /** These are in no run any more, or never were; what was listed is passed over. */
  dropped(keys: Iterable<ObjectKey>): void {
    const atMs = this.#options.runtime.clock.monotonicMs();
    for (const key of keys) {
      const bytes = this.#written.get(key);
      if (bytes === undefined) continue;
      this.#written.delete(key);
      if (this.#replaced.length >= KEPT_MAX) continue;
      this.#replaced.push({ key, bytes, atMs });
      this.#replacedBytes += bytes;
    }
  }

  /** What is dropped and not deleted yet. */
  get waiting(): number {
    return this.#replaced.length;
  }

  /** Begins to delete what is due, unless that is under way. A delete that fails is tried again by a later call. */
  sweep(): void {
    if (this.#sweeping !== null || this.#options.closing.aborted || this.#due() === 0) return;
    this.#sweeping = this.#sweep().finally(() => {
      this.#sweeping = null;
    });
  }

  /** Bounded by one request's time limit: the branch is closing. */
  async close(): Promise<void> {
    await this.#sweeping;
  }

  /** How many of the oldest ones are. */
  #due(): number {
    const beforeMs = this.#options.runtime.clock.monotonicMs() - GRACE_MS;
    let bytes = this.#replacedBytes;
    let due = 0;
    for (const each of this.#replaced) {
      if (each.atMs > beforeMs && bytes <= KEPT_BYTES_MAX) break;
      bytes -= each.bytes;
      due++;
    }
    return due;
  }

  async #sweep(): Promise<void> {
    const { store, requestTimeoutMs: timeoutMs, closing: signal } = this.#options;
    for (let due = this.#due(); due > 0; due = this.#due()) {
      const some = this.#replaced.slice(0, Math.min(due, DELETES_AT_ONCE));
      // Dying here leaves some of them, which is as if none had been deleted (rule 3).
      const settled = await Promise.allSettled(some.map(({ key }) => store.delete(key, { timeoutMs, signal })));
      const failed = settled.filter((one) => one.status === "rejected").map(({ reason }) => reason);
      const bug = failed.find((error) => !isDbError(error));
      if (bug !== undefined) throw bug;
      if (failed.length > 0) return;
      // Others were added behind them meanwhile.
      this.#replaced = this.#replaced.slice(some.length);
      for (const { bytes } of some) this.#replacedBytes -= bytes;
    }
  }
}
