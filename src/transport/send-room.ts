import type { TransportContext } from "./context.ts";
import type { SendBacklog } from "./h2-backlog.ts";
import type { H2Sender } from "./h2-sender.ts";
import type { H2Stream } from "./h2-stream.ts";
import { ROOM_WAITERS_PER_TURN } from "./limits.ts";

/**
 * Room for messages that nobody has asked for one by one: a watcher's events, a chunk of a range. Each of ten thousand
 * streams may be the one whose client takes nothing, so what is made for a stream is asked for here first, and waits,
 * unmade, while other messages wait to be taken.
 */
export class SendRoom {
  private readonly context: TransportContext;
  private readonly sender: H2Sender;
  private readonly backlog: SendBacklog;
  /** The stream that was looked at last is at the end. */
  private readonly waiters = new Set<H2Stream>();

  constructor(context: TransportContext, sender: H2Sender, backlog: SendBacklog) {
    this.context = context;
    this.sender = sender;
    this.backlog = backlog;
  }

  get isAwaited(): boolean {
    return this.waiters.size > 0;
  }

  /** What is queued for the connection is over its bound. */
  get isFull(): boolean {
    return this.backlog.queuedBytes > this.context.connectionQueueBytesMax;
  }

  /**
   * A stream may queue a message of so many bytes. While the connection is over its bound, because other streams' are
   * not taken, the peer must have given this one the window for all of it, up to twice the bound; while all connections
   * are over twice theirs, it must leave at once.
   */
  has(stream: H2Stream, bytes: number): boolean {
    const { sender, backlog, context } = this;
    if (!context.isFull && !this.isFull) return true;
    if (sender.mayLeave(stream, bytes)) return true;
    if (context.isFull || backlog.queuedBytes > 2 * context.connectionQueueBytesMax) return false;
    return stream.sendWindow >= bytes && sender.window >= bytes && !sender.output.congested;
  }

  /** Until there is room, or the stream is over. */
  await(stream: H2Stream): void {
    this.waiters.add(stream);
  }

  forget(stream: H2Stream): void {
    if (this.waiters.size > 0) this.waiters.delete(stream);
  }

  /** True: it waits no longer; but what its handler does then may make it wait anew, behind the others. */
  lookFor(stream: H2Stream): boolean {
    if (!this.waiters.delete(stream)) return false;
    if (stream.tellOfRoom()) return true;
    this.waiters.add(stream);
    return false;
  }

  /** Looks for some of those that wait. True: there was room for one, and there may be for others. */
  lookForSome(): boolean {
    let told = false;
    for (const stream of this.first(ROOM_WAITERS_PER_TURN)) if (this.lookFor(stream)) told = true;
    return told && this.waiters.size > 0;
  }

  /** A list: who goes to the end of the set while that is walked would be met again. */
  private first(count: number): H2Stream[] {
    const first: H2Stream[] = [];
    for (const stream of this.waiters) if (first.push(stream) === count) break;
    return first;
  }
}
