import { DbError } from "../../base/errors.ts";
import type { Runtime } from "../../runtime/runtime.ts";

/** So many memtables' worth of state may be in memory before writes wait for tables to be written, and are refused. */
const WAIT_AT = 3;
const REFUSE_AT = 4;
/** How often it is looked at whether there is room again. */
const LOOK_MS = 5;
/** So many go on before it is looked at again: those that there was no room for behind them would only be refused. */
const GO_ON_AT_ONCE = 8;

export interface WriteRoomOptions {
  readonly runtime: Pick<Runtime, "clock" | "timers">;
  /** Bytes of state in memory now. */
  readonly bytes: () => number;
  readonly memtableBytes: number;
  /** A write that waited so long is refused; so is one that comes when so many wait. */
  readonly timeoutMs: number;
  readonly waitingMax: number;
}

interface WaitingWrite {
  readonly deadlineMs: number;
  readonly resolve: () => void;
  readonly reject: (error: DbError) => void;
}

/**
 * Holds writes back when they come faster than memtables are written as tables, so that memory has a bound and whoever
 * waits for answers before it goes on is slowed down instead of refused. Nothing has been evaluated of a write that
 * waits here: refused, it was not carried out. Writes go on in the order in which they came.
 */
export class WriteRoom {
  readonly #options: WriteRoomOptions;
  readonly #waiting: WaitingWrite[] = [];
  #lookComes = false;

  constructor(options: WriteRoomOptions) {
    this.#options = options;
  }

  /** Null while what is in memory alone is within its bound. */
  refusal(): DbError | null {
    const { bytes, memtableBytes } = this.#options;
    return bytes() < REFUSE_AT * memtableBytes ? null : this.#refusal();
  }

  /** Null when there is room; else what a write waits for. Throws when too many wait. */
  wait(): Promise<void> | null {
    const { runtime, timeoutMs, waitingMax } = this.#options;
    if (this.#waiting.length === 0 && this.#hasRoom()) return null;
    if (this.#waiting.length >= waitingMax) throw this.#refusal();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ deadlineMs: runtime.clock.monotonicMs() + timeoutMs, resolve, reject });
    this.#lookLater();
    return promise;
  }

  #hasRoom(): boolean {
    return this.#options.bytes() < WAIT_AT * this.#options.memtableBytes;
  }

  #lookLater(): void {
    if (this.#lookComes) return;
    this.#lookComes = true;
    this.#options.runtime.timers.set(LOOK_MS, () => this.#look(), { background: true });
  }

  #look(): void {
    this.#lookComes = false;
    const nowMs = this.#options.runtime.clock.monotonicMs();
    const hadRoom = this.#hasRoom();
    if (hadRoom) for (const { resolve } of this.#waiting.splice(0, GO_ON_AT_ONCE)) resolve();
    let late = 0;
    while (late < this.#waiting.length && this.#waiting[late]!.deadlineMs <= nowMs) late++;
    for (const { reject } of this.#waiting.splice(0, late)) reject(this.#refusal());
    if (this.#waiting.length === 0) return;
    if (hadRoom) {
      // Behind those that have just been let go on.
      this.#lookComes = true;
      this.#options.runtime.timers.defer(() => this.#look());
    } else this.#lookLater();
  }

  #refusal(): DbError {
    return new DbError("tooManyRequests", `${this.#options.bytes()} bytes of state wait to be written as tables`);
  }
}
