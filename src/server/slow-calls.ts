import type { Clock } from "../runtime/runtime.ts";
import type { Call } from "../transport/transport.ts";
import type { Log } from "./logger.ts";

/** When the store or the disk is slow every call is, and a line for each would be the next trouble. */
const LINES_PER_SECOND_MAX = 10;

/** These wait for others as long as it takes: that they took long says nothing. */
const waiting = new Set(["/v3lockpb.Lock/Lock", "/v3electionpb.Election/Campaign"]);

/**
 * Tells of unary calls that took longer than --warning-unary-request-duration, as etcd does: by method, time, address
 * and size, never by what was asked or answered. What is over the bound of lines is counted in the next one.
 */
export class SlowCalls {
  readonly #clock: Clock;
  readonly #longerMs: number;
  readonly #warn: Log["warn"];
  #secondBeganMs = Number.NEGATIVE_INFINITY;
  #lines = 0;
  #leftOut = 0;

  constructor({ clock, longerMs, warn }: { clock: Clock; longerMs: number; warn: Log["warn"] }) {
    this.#clock = clock;
    this.#longerMs = longerMs;
    this.#warn = warn;
  }

  isSlow(tookMs: number): boolean {
    return tookMs > this.#longerMs;
  }

  /** Of a call that is slow. */
  tell(call: Call, { tookMs, requestBytes, failed }: { tookMs: number; requestBytes: number; failed: boolean }): void {
    if (waiting.has(call.path)) return;
    if (!this.#mayTell()) {
      this.#leftOut++;
      return;
    }
    const leftOut = this.#leftOut;
    this.#leftOut = 0;
    this.#warn("request stats: a call took longer than --warning-unary-request-duration", {
      method: call.path,
      tookMs: Math.round(tookMs * 1000) / 1000,
      remote: call.remoteAddress,
      requestBytes,
      ...(failed && { failed }),
      ...(leftOut > 0 && { leftOut }),
    });
  }

  #mayTell(): boolean {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#secondBeganMs >= 1000) {
      this.#secondBeganMs = nowMs;
      this.#lines = 0;
    }
    return this.#lines++ < LINES_PER_SECOND_MAX;
  }
}
