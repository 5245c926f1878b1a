import { randomBytes, randomFillSync } from "node:crypto";
import type { Clock, Random, Timer, Timers } from "./runtime.ts";

/** setTimeout takes no more, and fires at once when given more. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

export const nodeClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
};

export const nodeTimers: Timers = {
  set: (delayMs, fire, options) => new NodeTimer(delayMs, fire, options?.background === true),
  defer: (fire) => void setImmediate(fire),
};

class NodeTimer implements Timer {
  private readonly fire: () => void;
  private readonly background: boolean;
  private leftMs: number;
  private handle: NodeJS.Timeout | undefined;

  constructor(delayMs: number, fire: () => void, background: boolean) {
    this.fire = fire;
    this.background = background;
    // Rounded up: a timer that fires before its time makes its owner wait again.
    this.leftMs = Math.max(0, Math.ceil(delayMs));
    this.arm();
  }

  cancel(): void {
    clearTimeout(this.handle);
  }

  private arm(): void {
    const delayMs = Math.min(this.leftMs, TIMEOUT_MS_MAX);
    this.leftMs -= delayMs;
    this.handle = setTimeout(() => (this.leftMs > 0 ? this.arm() : this.fire()), delayMs);
    if (this.background) this.handle.unref();
  }
}

/** Numbers come from a pool of random bytes: a call of the system's generator for each would cost a microsecond. */
const POOL_BYTES = 4096;

const POOLED_BYTES_MAX = 64;

export class NodeRandom implements Random {
  private readonly pool = Buffer.allocUnsafeSlow(POOL_BYTES);
  private at = POOL_BYTES;

  uint32(): number {
    if (this.at === POOL_BYTES) {
      randomFillSync(this.pool);
      this.at = 0;
    }
    const value = this.pool.readUInt32LE(this.at);
    this.at += 4;
    return value;
  }

  float(): number {
    const high = this.uint32() >>> 6;
    const low = this.uint32() >>> 5;
    return (high * 2 ** 27 + low) / 2 ** 53;
  }

  /** Few ones come from the pool: the call into the system's generator costs 10 µs whatever it gives. */
  bytes(count: number): Buffer {
    if (count > POOLED_BYTES_MAX) return randomBytes(count);
    const bytes = Buffer.allocUnsafe(count);
    for (let at = 0; at < count; at += 4) {
      const word = this.uint32();
      for (let n = 0; n < 4 && at + n < count; n++) bytes[at + n] = word >>> (8 * n);
    }
    return bytes;
  }
}
