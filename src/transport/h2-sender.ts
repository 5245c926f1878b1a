import {
  ConnectionError,
  ErrorCode,
  Flag,
  FRAME_HEADER_BYTES,
  FrameType,
  WINDOW_BYTES_DEFAULT,
  WINDOW_BYTES_MAX,
  writeFrameHeader,
} from "./frames.ts";
import type { H2Output } from "./h2-output.ts";
import type { H2Stream } from "./h2-stream.ts";
import { ResponseEncoder } from "./hpack-encoder.ts";
import { FRAME_BYTES_MAX, TURN_BYTES_MAX } from "./limits.ts";

/**
 * The sending half of a connection: its window, and the streams that have DATA waiting, served in turn, a frame each.
 * Invariants:
 *  1. No DATA leaves beyond the stream's or the connection's window, in frames that every peer accepts.
 *  2. A stream with queued bytes and an open window is in the ready list, or the connection has nothing to give.
 *  3. A peer that takes all at once gets no more than a share in each turn of the event loop, as answers are made while
 *     they are sent: other connections, timers and commits have their turns between. An answer that is made in one go
 *     may leave in one go (`flow`): what it took counts in what the connection may cause in a turn.
 */
export class H2Sender {
  readonly output: H2Output;
  readonly encoder = new ResponseEncoder();
  window = WINDOW_BYTES_DEFAULT;
  /** What a stream has to begin with. */
  initialWindow = WINDOW_BYTES_DEFAULT;
  /** When DATA last left, or began to wait. */
  leftMs = 0;
  private first: H2Stream | null = null;
  private last: H2Stream | null = null;
  private pumping = false;
  private turnBytesLeft = TURN_BYTES_MAX;
  private waitsForTurn = false;
  private readonly onTurnUsed: () => void;

  /** `onTurnUsed` is called when more could be sent than a turn may: `nextTurn` is to be called in a later one. */
  constructor(output: H2Output, onTurnUsed: () => void) {
    this.output = output;
    this.onTurnUsed = onTurnUsed;
  }

  /** Whether a DATA frame with `bytes` may leave at once. */
  mayLeave(stream: H2Stream, bytes: number): boolean {
    return (
      bytes <= FRAME_BYTES_MAX &&
      bytes <= this.window &&
      bytes <= stream.sendWindow &&
      !this.output.congested &&
      stream.queuedBytes === 0
    );
  }

  /** Whether a part of a response may leave at once: nothing of others waits, and there is some window. */
  mayFlow(stream: H2Stream): boolean {
    return (
      this.first === null &&
      this.window > 0 &&
      stream.sendWindow > 0 &&
      !this.output.congested &&
      stream.queuedBytes === 0
    );
  }

  /** Sends what may leave of the first `end` bytes, in DATA frames; returns how many left. */
  flow(stream: H2Stream, bytes: Buffer, end: number): number {
    const { output } = this;
    let sent = 0;
    while (sent < end && !output.congested) {
      const some = Math.min(end - sent, FRAME_BYTES_MAX, this.window, stream.sendWindow);
      if (some <= 0) break;
      const at = output.reserve(FRAME_HEADER_BYTES + some);
      const start = writeFrameHeader(output.buffer, at, some, FrameType.data, Flag.none, stream.id);
      bytes.copy(output.buffer, start, sent, sent + some);
      output.length = start + some;
      this.left(stream, some);
      sent += some;
    }
    stream.progressMs = stream.connection.turnMs;
    return sent;
  }

  /** A DATA frame that was written to the output left, with `bytes` of payload. */
  left(stream: H2Stream, bytes: number): void {
    this.window -= bytes;
    stream.sendWindow -= bytes;
    this.leftMs = stream.connection.turnMs;
    this.output.responseFrames++;
  }

  /** The stream has something in its queue. */
  ready(stream: H2Stream): void {
    if (stream.inReady || stream.sendWindow <= 0) return;
    stream.inReady = true;
    if (this.last === null) this.first = stream;
    else this.last.nextReady = stream;
    this.last = stream;
  }

  /** False when the window grows past what the protocol allows. */
  grow(bytes: number): boolean {
    this.window += bytes;
    return this.window <= WINDOW_BYTES_MAX;
  }

  /** Streams that are open get as much more as new ones, or less: theirs may go below zero (RFC 9113 §6.9.2). */
  setInitialWindow(bytes: number, streams: Iterable<H2Stream>): void {
    const more = bytes - this.initialWindow;
    this.initialWindow = bytes;
    for (const stream of streams) {
      stream.sendWindow += more;
      if (stream.sendWindow > WINDOW_BYTES_MAX) {
        throw new ConnectionError(ErrorCode.flowControlError, "flow_control_error", "a window is over 2^31-1");
      }
      if (stream.queuedBytes > 0) this.ready(stream);
    }
  }

  /** Sends what may be sent. Streams' callbacks are called from here; they may queue more, or end their streams. */
  pump(): void {
    if (this.pumping || this.waitsForTurn) return;
    this.pumping = true;
    try {
      while (this.mayPump && this.turnBytesLeft > 0) this.sendSome(this.shift());
    } finally {
      this.pumping = false;
    }
    if (!this.mayPump) return;
    this.waitsForTurn = true;
    this.onTurnUsed();
  }

  nextTurn(): void {
    this.waitsForTurn = false;
    this.turnBytesLeft = TURN_BYTES_MAX;
    this.pump();
  }

  private get mayPump(): boolean {
    return this.first !== null && this.window > 0 && !this.output.congested;
  }

  private shift(): H2Stream {
    const stream = this.first!;
    this.first = stream.nextReady;
    if (this.first === null) this.last = null;
    stream.nextReady = null;
    stream.inReady = false;
    return stream;
  }

  private sendSome(stream: H2Stream): void {
    const { output } = this;
    const { queue } = stream;
    if (stream.closed || queue === null || queue.length === 0) return;
    const bytes = Math.min(queue.length, FRAME_BYTES_MAX, this.window, stream.sendWindow);
    if (bytes <= 0) return;
    const ends = bytes === queue.length && stream.endsWithData;
    const at = output.reserve(FRAME_HEADER_BYTES + bytes);
    const end = writeFrameHeader(output.buffer, at, bytes, FrameType.data, ends ? Flag.endStream : 0, stream.id);
    queue.take(output.buffer, end, bytes);
    output.length = end + bytes;
    this.left(stream, bytes);
    this.turnBytesLeft -= bytes;
    stream.progressMs = stream.connection.turnMs;
    if (queue.length > 0) this.ready(stream);
    stream.onSent(bytes);
    if (queue.length === 0 && !stream.closed) stream.sendEnd();
  }
}
