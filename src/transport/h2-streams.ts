import type { TransportContext } from "./context.ts";
import type { H2Stream } from "./h2-stream.ts";
import { EARLY_CLOSED_MAX, STREAM_BYTES, STREAMS_BYTES_SHARE, STREAMS_BYTES_TOTAL_MAX } from "./limits.ts";

/**
 * The streams of one connection, and what is remembered of those that are gone. Invariants:
 *  1. A stream is in the table from its first header block until its response ended or it was reset, never again after.
 *  2. Their number and what they take are counted in the context, over all connections, for exactly as long.
 */
export class StreamTable {
  /** The newest stream that the peer has opened. */
  lastId = 0;
  private readonly context: TransportContext;
  private readonly open = new Map<number, H2Stream>();
  private readonly closedEarly = new Set<number>();
  /** Handlers that still work for streams that are gone. */
  private orphans = 0;
  private bytes = 0;

  constructor(context: TransportContext) {
    this.context = context;
  }

  get size(): number {
    return this.open.size;
  }

  /** No further stream is taken: as many as allowed are open, or worked for. */
  get isFull(): boolean {
    const { concurrentStreamsMax, streamsBytesTotalMax = STREAMS_BYTES_TOTAL_MAX } = this.context.settings;
    if (this.open.size + this.orphans >= concurrentStreamsMax) return true;
    return this.context.streamBytes > streamsBytesTotalMax && this.bytes > STREAMS_BYTES_SHARE;
  }

  /** The peer has not opened this one, and no peer may open an even one. */
  isIdle(streamId: number): boolean {
    return streamId > this.lastId || (streamId & 1) === 0;
  }

  get(streamId: number): H2Stream | undefined {
    return this.open.get(streamId);
  }

  /** Streams may go while this is walked. */
  [Symbol.iterator](): IterableIterator<H2Stream> {
    return this.open.values();
  }

  add(stream: H2Stream): void {
    this.open.set(stream.id, stream);
    this.context.streams++;
    this.count(STREAM_BYTES + stream.head.listBytes);
  }

  /** By the stream itself, when it is over. */
  remove(stream: H2Stream): void {
    this.open.delete(stream.id);
    this.context.streams--;
    this.count(-STREAM_BYTES - stream.head.listBytes);
    if (!stream.remoteEnded) this.rememberEarly(stream.id);
    if (stream.busy) this.orphans++;
  }

  /** A handler that worked for a stream that is gone has come to its end. */
  settled(): void {
    this.orphans--;
  }

  /** What the peer still sends on this stream was sent before it could know that the stream had ended. */
  rememberEarly(streamId: number): void {
    this.closedEarly.add(streamId);
    if (this.closedEarly.size <= EARLY_CLOSED_MAX) return;
    for (const oldest of this.closedEarly) {
      this.closedEarly.delete(oldest);
      return;
    }
  }

  wasClosedEarly(streamId: number): boolean {
    return this.closedEarly.has(streamId);
  }

  /** The peer has finished with it, too. False: it was not remembered. */
  forgetEarly(streamId: number): boolean {
    return this.closedEarly.delete(streamId);
  }

  private count(bytes: number): void {
    this.bytes += bytes;
    this.context.streamBytes += bytes;
  }
}
