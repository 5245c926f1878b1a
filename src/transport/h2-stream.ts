import { ByteQueue } from "./byte-queue.ts";
import { FloodKind } from "./flood-meter.ts";
import { ErrorCode, FrameType, WINDOW_BYTES_MAX } from "./frames.ts";
import { MESSAGE_PREFIX_BYTES } from "./grpc-deframer.ts";
import type { H2Connection } from "./h2-connection.ts";
import { STREAM_WINDOW_BYTES } from "./limits.ts";
import type { RequestHead } from "./request-head.ts";

/**
 * One stream of a connection, from its request's header block to the last byte of its response: what gRPC calls and
 * plain HTTP exchanges have in common. Invariants:
 *  1. It is in its connection's table exactly while not `closed`; nothing is sent on it, and no callback called, after.
 *  2. Its response has ended when it leaves the table; if its request has not, a reset told the peer so.
 *  3. `queue` holds what flow control or a slow socket keeps back; DATA goes around it only while it is empty.
 */
export abstract class H2Stream {
  readonly connection: H2Connection;
  readonly id: number;
  readonly head: RequestHead;
  closed = false;
  /** The peer has sent END_STREAM. */
  remoteEnded = false;
  headersSent = false;
  /** May go below zero: the peer may take back window that it has promised (RFC 9113 §6.9.2). */
  sendWindow: number;
  queue: ByteQueue | null = null;
  /** Owned by the sender: the list of streams that have something to send. */
  inReady = false;
  nextReady: H2Stream | null = null;
  /** When a part of the request or of the response last moved. */
  progressMs: number;
  readonly openedMs: number;
  private receiveWindow = STREAM_WINDOW_BYTES;
  /** Received, taken, and not yet given back to the peer as window. */
  private taken = 0;
  private bodyBytes = 0;
  /** How many bytes of an answer wait, unmade, for room; 0: none. */
  private roomWanted = 0;

  constructor(connection: H2Connection, id: number, head: RequestHead) {
    this.connection = connection;
    this.id = id;
    this.head = head;
    this.sendWindow = connection.sender.initialWindow;
    this.progressMs = connection.turnMs;
    this.openedMs = connection.turnMs;
  }

  /** A part of the request's body. */
  protected abstract receive(bytes: Buffer, start: number, end: number): void;
  /** The request is complete. */
  protected abstract receiveEnd(): void;
  /** The stream is gone before its response has ended: who works for it is told. */
  abstract onGone(): void;
  /** The stream has left the table, either way: what it holds is let go. */
  abstract onClosed(): void;
  /** A part of the queue has left; it may be empty now. */
  abstract onSent(bytes: number): void;
  /** The queue is empty and the response ends: true when the last DATA frame is to carry END_STREAM. */
  abstract readonly endsWithData: boolean;
  /** Called when the queue is empty; sends the end if it is due. */
  abstract sendEnd(): void;
  /** A handler works for the stream. */
  abstract readonly busy: boolean;
  /**
   * All of the response is known when it is queued. Without progress such a stream ends, unless a handler is at work.
   */
  abstract readonly completes: boolean;

  /** Since when a request, or a message of it, is being received; infinite where none is. */
  abstract readonly unfinishedSinceMs: number;
  /** Lets go of what has come of a request that is not complete, and answers that there was no room for it. */
  abstract giveUpRequest(): void;

  get queuedBytes(): number {
    return this.queue === null ? 0 : this.queue.length;
  }

  /** False: so many bytes are not to be queued now; `onRoom` is called when they may. */
  hasRoom(bytes: number): boolean {
    const framed = bytes + MESSAGE_PREFIX_BYTES;
    if (this.closed || this.connection.room.has(this, framed)) return true;
    this.roomWanted = framed;
    this.connection.room.await(this);
    return false;
  }

  /** There is the room that was asked for. */
  protected onRoom(): void {}

  /** True: there is room, and the stream knows. */
  tellOfRoom(): boolean {
    if (!this.connection.room.has(this, this.roomWanted)) return false;
    this.roomWanted = 0;
    this.onRoom();
    return true;
  }

  /** The peer takes more. */
  windowGrew(bytes: number): void {
    this.sendWindow += bytes;
    if (this.sendWindow > WINDOW_BYTES_MAX) this.reset(ErrorCode.flowControlError);
    else if (this.queuedBytes > 0) this.connection.sender.ready(this);
    else if (this.roomWanted > 0) this.connection.room.lookFor(this);
  }

  /** A DATA frame: `bytes[start, end)` without the padding that `frameBytes` counts. */
  takeData(bytes: Buffer, start: number, end: number, frameBytes: number, endStream: boolean): void {
    this.progressMs = this.connection.turnMs;
    this.receiveWindow -= frameBytes;
    if (this.receiveWindow < 0) {
      this.reset(ErrorCode.flowControlError);
      return;
    }
    this.bodyBytes += end - start;
    const expected = this.head.contentLength;
    if (expected !== undefined && this.bodyBytes > expected) {
      this.reset(ErrorCode.protocolError);
      return;
    }
    if (endStream) {
      // Known before the last message is given out, so that what is answered at once needs no reset.
      if (!this.endRemote()) return;
      if (end > start) this.receive(bytes, start, end);
      if (!this.closed) this.receiveEnd();
      return;
    }
    if (end > start) this.receive(bytes, start, end);
    if (!this.closed) this.giveBack(frameBytes);
  }

  /** END_STREAM came without DATA: on the request's or the trailers' HEADERS. */
  takeEnd(): void {
    if (this.endRemote()) this.receiveEnd();
  }

  /** The peer has reset the stream, or its connection is gone. */
  takeReset(): void {
    this.close();
    this.onGone();
  }

  /** Ends the stream because of what its peer did. */
  reset(code: number): void {
    if (this.closed) return;
    const { connection } = this;
    connection.sender.output.uint32Frame(FrameType.rstStream, this.id, code);
    this.takeReset();
    connection.noteFlood(FloodKind.reset);
  }

  /** The stream is over, whichever way. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.connection.streams.remove(this);
    this.connection.room.forget(this);
    this.dropQueue();
    this.onClosed();
  }

  /** Lets the peer send `bytes` more, once that is worth a frame. */
  protected giveBack(bytes: number): void {
    this.taken += bytes;
    if (this.taken < STREAM_WINDOW_BYTES / 2 || this.remoteEnded) return;
    this.connection.sender.output.uint32Frame(FrameType.windowUpdate, this.id, this.taken);
    this.receiveWindow += this.taken;
    this.taken = 0;
  }

  /** The response is complete. What the peer still sends of its request is not wanted (RFC 9113 §8.1). */
  protected endLocal(): void {
    const { connection } = this;
    if (!this.remoteEnded) connection.sender.output.uint32Frame(FrameType.rstStream, this.id, ErrorCode.noError);
    this.close();
  }

  /** What is queued will never be sent. */
  dropQueue(): void {
    if (this.queue === null || this.queue.length === 0) return;
    this.connection.backlog.remove(this, this.queue.length);
    this.queue.clear();
  }

  protected openQueue(): ByteQueue {
    this.queue ??= new ByteQueue();
    return this.queue;
  }

  private endRemote(): boolean {
    this.remoteEnded = true;
    const expected = this.head.contentLength;
    if (expected === undefined || expected === this.bodyBytes) return true;
    this.reset(ErrorCode.protocolError);
    return false;
  }
}
