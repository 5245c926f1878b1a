import type { ByteStream, Timers } from "../runtime/runtime.ts";
import { TURN_COST_MAX } from "./limits.ts";

/**
 * When a connection is read. Invariants:
 *  1. What was read and not looked at waits here, in order; nothing more is read from the socket meanwhile.
 *  2. What the peer causes in one turn of the event loop has a bound: past it, others have their turn before the rest.
 *  3. Nothing is read while the socket is behind with what we wrote.
 */
export class H2Input {
  private readonly bytes: ByteStream;
  private readonly timers: Timers;
  private readonly take: (chunk: Buffer) => number;
  /** What was done for the peer since others last had their turn, in microseconds as they are thought to be. */
  private turnCost = 0;
  /** Read from the socket and not looked at yet: others have their turn before. */
  private unread: Buffer[] | null = null;
  private held = false;
  private stopped = false;

  /** `take` looks at a chunk, and answers how much of it was taken: less than all when the turn's cost is spent. */
  constructor(bytes: ByteStream, timers: Timers, take: (chunk: Buffer) => number) {
    this.bytes = bytes;
    this.timers = timers;
    this.take = take;
  }

  /** So much work was done, or is about to be. */
  spend(cost: number): void {
    this.turnCost += cost;
  }

  get turnIsSpent(): boolean {
    return this.turnCost > TURN_COST_MAX;
  }

  receive(chunk: Buffer): void {
    // The socket may have had one more chunk when it was paused.
    if (this.unread !== null) this.unread.push(chunk);
    else this.read(chunk);
  }

  private read(chunk: Buffer): void {
    const taken = this.take(chunk);
    if (!this.turnIsSpent || this.stopped) return;
    this.unread = taken < chunk.length ? [chunk.subarray(taken)] : [];
    this.bytes.pause();
    this.timers.defer(this.readOn);
  }

  /** Others had their turn. */
  private readonly readOn = (): void => {
    this.turnCost = 0;
    const chunks = this.unread;
    this.unread = null;
    if (chunks === null) return;
    for (const [at, chunk] of chunks.entries()) {
      this.read(chunk);
      if (this.stopped) return;
      // What `read` may change is not seen by the compiler.
      const rest = this.unread as Buffer[] | null;
      if (rest === null) continue;
      rest.push(...chunks.slice(at + 1));
      return;
    }
    if (!this.held) this.bytes.resume();
  };

  /** The socket is behind with what we wrote. */
  hold(): void {
    if (this.held) return;
    this.held = true;
    this.bytes.pause();
  }

  release(): void {
    if (!this.held) return;
    this.held = false;
    if (this.unread === null) this.bytes.resume();
  }

  /** Nothing is looked at any more; what the peer still sends is read, to be thrown away. */
  stop(): void {
    if (this.stopped) return;
    this.stopped = true;
    if (this.held || this.unread !== null) this.bytes.resume();
    this.unread = null;
  }
}
