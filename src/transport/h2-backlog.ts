import type { TransportContext } from "./context.ts";
import type { UnaryCall } from "./grpc-unary.ts";
import type { H2Output } from "./h2-output.ts";
import type { H2Sender } from "./h2-sender.ts";
import type { H2Stream } from "./h2-stream.ts";

/**
 * What waits on a connection for its peer to take it, and the calls that wait for that. Invariants:
 *  1. `queuedBytes` is the sum over the queues of its streams; the context's is the sum over all connections.
 *  2. While complete responses wait beyond the bound, or the socket is behind, no request is handed to a handler.
 *     Frames are read all the same: they may open the windows.
 */
export class SendBacklog {
  /** In the queues of all streams; and of those whose response is complete (unary, plain HTTP). */
  queuedBytes = 0;
  private completeBytes = 0;
  private readonly context: TransportContext;
  private readonly sender: H2Sender;
  private readonly output: H2Output;
  private readonly onLess: () => void;
  private parked: UnaryCall[] = [];

  /** `onLess` is called when less is queued than before. */
  constructor(context: TransportContext, sender: H2Sender, onLess: () => void) {
    this.context = context;
    this.sender = sender;
    this.output = sender.output;
    this.onLess = onLess;
  }

  /** Queued for the stream. */
  add(stream: H2Stream, bytes: number): void {
    const nowMs = stream.connection.turnMs;
    // Until now there was nothing to take.
    if (this.queuedBytes === 0) this.sender.leftMs = nowMs;
    this.queuedBytes += bytes;
    this.context.queuedBytes += bytes;
    if (stream.completes) this.completeBytes += bytes;
    stream.progressMs = nowMs;
    this.context.unsentGrew();
  }

  /** Sent, or given up. */
  remove(stream: H2Stream, bytes: number): void {
    this.queuedBytes -= bytes;
    this.context.queuedBytes -= bytes;
    if (stream.completes) this.completeBytes -= bytes;
    this.onLess();
  }

  /** Queued, and handed to the socket. */
  get unsentBytes(): number {
    return this.queuedBytes + this.output.share.counted;
  }

  /** Requests may be handed to handlers. */
  get mayDispatch(): boolean {
    return !this.output.congested && this.completeBytes <= this.context.connectionQueueBytesMax;
  }

  /** The socket itself is behind by the bound. */
  get isOverBound(): boolean {
    return (
      this.output.congested && this.completeBytes + this.output.pendingBytes > this.context.connectionQueueBytesMax
    );
  }

  get isAwaited(): boolean {
    return this.parked.length > 0;
  }

  get mustPark(): boolean {
    return this.parked.length > 0 || !this.mayDispatch;
  }

  /** The call runs when responses have left. */
  park(call: UnaryCall): void {
    this.parked.push(call);
  }

  /** Runs what may run of the calls that wait, in their order. */
  unpark(): void {
    const { parked } = this;
    let ran = 0;
    while (ran < parked.length && this.mayDispatch) parked[ran++]!.unpark();
    parked.splice(0, ran);
  }
}
