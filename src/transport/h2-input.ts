import type { ByteStream } from "../runtime/runtime.ts";
import { type FairTurns, type TurnTaker, UsedTime } from "./fair-turns.ts";

/** While it waits for its turn it is read on until so much has come; most clients never have the socket paused. */
const AHEAD_BYTES_MAX = 32 << 10;

/**
 * When a connection is read. Invariants:
 *  1. What was read and not looked at waits here, in order; past a bound nothing more is read from the socket.
 *  2. What the peer causes in one turn of the event loop has a bound: past it, others have their turn before the rest.
 *  3. Nothing is read while the socket is behind with what we wrote.
 */
export class H2Input implements TurnTaker {
  readonly used: UsedTime;
  private readonly bytes: ByteStream;
  private readonly turns: FairTurns;
  private readonly take: (chunk: Buffer) => number;
  /** What was done for the peer since others last had their turn, in microseconds as they are thought to be. */
  private turnCost = 0;
  /** Read from the socket and not looked at yet: others have their turn before. */
  private unread: Buffer[] | null = null;
  private unreadBytes = 0;
  private paused = false;
  private held = false;
  private stopped = false;

  /** `take` looks at a chunk, and answers how much of it was taken: less than all when the turn's cost is spent. */
  constructor(bytes: ByteStream, shared: { turns: FairTurns; nowMs: number }, take: (chunk: Buffer) => number) {
    this.bytes = bytes;
    this.turns = shared.turns;
    this.used = new UsedTime(shared.nowMs);
    this.take = take;
  }

  /** So much work was done, or is about to be. */
  spend(cost: number): void {
    this.turnCost += cost;
  }

  /** Of all that was spent in this turn. */
  get cost(): number {
    return this.turnCost;
  }

  get turnIsSpent(): boolean {
    return this.turnCost > this.turns.costMax;
  }

  receive(chunk: Buffer): void {
    // The socket may have had one more chunk when it was paused.
    if (this.unread !== null) this.keep(chunk);
    else if (this.turns.isOver) this.wait([chunk]);
    else this.read(chunk);
  }

  /** False: the turn is over, and what is left of the chunk waits. */
  private read(chunk: Buffer): boolean {
    const taken = this.take(chunk);
    if (!this.turnIsSpent || this.stopped) return !this.stopped;
    this.wait(taken < chunk.length ? [chunk.subarray(taken)] : []);
    return false;
  }

  private wait(chunks: Buffer[]): void {
    this.unread = [];
    this.unreadBytes = 0;
    for (const chunk of chunks) this.keep(chunk);
    this.turns.wait(this);
  }

  private keep(chunk: Buffer): void {
    this.unread!.push(chunk);
    this.unreadBytes += chunk.length;
    if (this.unreadBytes <= AHEAD_BYTES_MAX || this.paused) return;
    this.paused = true;
    this.bytes.pause();
  }

  takeTurn(): void {
    this.turnCost = 0;
    const chunks = this.unread;
    this.unread = null;
    if (chunks === null) return;
    for (const [at, chunk] of chunks.entries()) {
      if (this.read(chunk)) continue;
      if (!this.stopped) for (const later of chunks.slice(at + 1)) this.keep(later);
      return;
    }
    this.readAgain();
  }

  private readAgain(): void {
    if (!this.paused) return;
    this.paused = false;
    if (!this.held) this.bytes.resume();
  }

  /** The socket is behind with what we wrote. */
  hold(): void {
    if (this.held) return;
    this.held = true;
    this.bytes.pause();
  }

  release(): void {
    if (!this.held) return;
    this.held = false;
    if (!this.paused) this.bytes.resume();
  }

  /** Nothing is looked at any more; what the peer still sends is read, to be thrown away. */
  stop(): void {
    if (this.stopped) return;
    this.stopped = true;
    if (this.held || this.paused) this.bytes.resume();
    this.unread = null;
  }
}
