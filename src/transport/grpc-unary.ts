import { assert } from "../base/assert.ts";
import { isPromise } from "../base/maybe-promise.ts";
import { Flag, FRAME_HEADER_BYTES, FrameType, writeFrameHeader, writeUint32 } from "./frames.ts";
import { GrpcCall } from "./grpc-call.ts";
import { MESSAGE_PREFIX_BYTES } from "./grpc-deframer.ts";
import { GrpcCode } from "./grpc-status.ts";
import type { H2Connection } from "./h2-connection.ts";
import { OK_BLOCK_BYTES_MAX } from "./hpack-encoder.ts";
import { FRAME_BYTES_MAX, TURN_COST_ANSWER_BYTES, TurnCost } from "./limits.ts";
import type { RequestHead } from "./request-head.ts";
import { type Encodable, GrpcError, inPieces, type Pieces, type UnaryHandler } from "./transport.ts";

/** What every client's library can take, and grpc-go sends at most. */
const RESPONSE_BYTES_MAX = 0x7fffffff;

/** An answer of many frames, up to so long, is written here first: its place is used again by the next one. */
const LONG_BYTES_MAX = 1 << 20;
let longAnswer: Buffer | null = null;

/** A response in pieces is asked for more when less than this is queued. */
const PIECES_QUEUED_BYTES = 128 << 10;

/**
 * One request message, one response message. The handler runs when the request is complete; an answer that it has at
 * hand goes into the connection's buffer before the next frame is read, as headers, message and trailers in one piece.
 */
export class UnaryCall extends GrpcCall {
  private readonly handler: UnaryHandler;
  private message: Buffer | null = null;
  /** The handler's promise is pending, or the call is parked. */
  private pending = false;
  private responding = false;
  /** Where the rest of a large response comes from, and how many bytes that is. */
  private pieces: Pieces | null = null;
  private piecesLeft = 0;
  private filling = false;
  /** Reserved of the connection's budget while a message is held: of a call that is not complete, or is parked. */
  private heldBytes = 0;

  constructor(connection: H2Connection, id: number, head: RequestHead, handler: UnaryHandler) {
    super(connection, id, head);
    this.handler = handler;
  }

  get completes(): boolean {
    return true;
  }

  get busy(): boolean {
    return this.pending;
  }

  protected override get cutsAnswer(): boolean {
    // Pieces are sent as they come: none may be queued now.
    return this.headersSent;
  }

  get takesPieces(): boolean {
    return true;
  }

  get takesAnyPieces(): boolean {
    return true;
  }

  /**
   * A request that arrives in one DATA frame, not compressed, is taken as it lies; all else goes through the deframer.
   */
  protected override receive(bytes: Buffer, start: number, end: number): void {
    if (this.message === null && isWholeMessage(bytes, start, end, this.connection.context.settings.messageBytesMax)) {
      if (!this.midMessage && !this.ending) {
        this.keep(bytes.subarray(start + MESSAGE_PREFIX_BYTES, end));
        return;
      }
    }
    super.receive(bytes, start, end);
  }

  protected override accept(message: Buffer): void {
    if (this.message !== null) {
      throw new GrpcError(
        GrpcCode.internal,
        "cardinality violation: received multiple request messages for non-client-streaming RPC",
      );
    }
    this.keep(message);
  }

  /** Until the request ends, which may be never: then it counts in the connection's budget. */
  private keep(message: Buffer): void {
    if (this.remoteEnded) this.message = message;
    else if (!this.hold(message)) {
      this.finish(GrpcCode.resourceExhausted, "grpc: too many bytes in unfinished messages of one connection");
    }
  }

  /** What may have to be kept for long holds no more than twice itself. */
  private hold(message: Buffer): boolean {
    if (!this.connection.assemblyBudget.reserve(message.length)) return false;
    this.heldBytes = message.length;
    this.message = message.length * 2 >= message.buffer.byteLength ? message : Buffer.from(message);
    return true;
  }

  get unfinishedSinceMs(): number {
    return this.remoteEnded ? Number.POSITIVE_INFINITY : this.openedMs;
  }

  override giveUpRequest(): void {
    if (this.heldBytes === 0 && !this.midMessage) return;
    this.releaseHeld();
    this.message = null;
    this.finish(GrpcCode.resourceExhausted, "grpc: too many bytes in unfinished messages");
  }

  protected override receiveEnd(): void {
    if (this.ending) return;
    if (this.midMessage) this.finish(GrpcCode.internal, "unexpected EOF");
    else if (this.message === null) {
      this.finish(
        GrpcCode.internal,
        "cardinality violation: received no request message from non-client-streaming RPC",
      );
    } else if (this.connection.backlog.mustPark) this.park();
    else this.run();
  }

  /** The connection has room for a response again. */
  unpark(): void {
    this.pending = false;
    if (this.closed) this.connection.streams.settled();
    else if (!this.ending) this.run();
  }

  private run(): void {
    const message = this.message!;
    this.message = null;
    this.releaseHeld();
    this.connection.input.spend(TurnCost.call);
    if (this.deadlineMs <= this.connection.turnMs) {
      this.expire();
      return;
    }
    try {
      const result = this.handler(message, this);
      if (isPromise(result)) this.wait(result);
      else this.respond(result);
    } catch (error) {
      this.fail(error);
    }
  }

  onSent(bytes: number): void {
    this.connection.backlog.remove(this, bytes);
    if (this.pieces !== null) this.fill(this.pieces);
  }

  override onClosed(): void {
    super.onClosed();
    this.releaseHeld();
    this.endPieces();
  }

  private endPieces(): void {
    const { pieces } = this;
    this.pieces = null;
    if (pieces !== null) this.connection.tell(() => pieces.close());
  }

  private releaseHeld(): void {
    if (this.heldBytes > 0) this.connection.assemblyBudget.release(this.heldBytes);
    this.heldBytes = 0;
  }

  private park(): void {
    if (this.heldBytes === 0 && !this.hold(this.message!)) {
      this.finish(GrpcCode.resourceExhausted, "too many requests of one connection wait for responses to be read");
      return;
    }
    this.pending = true;
    this.connection.backlog.park(this);
  }

  private wait(result: Promise<Encodable>): void {
    this.pending = true;
    // Both handlers are total: what they throw is a bug, told by `guard`.
    result.then(
      (message) => {
        if (this.closed && inPieces(message)) message.close();
        this.settle(() => this.respond(message));
      },
      (error: unknown) => this.settle(() => this.fail(error)),
    );
  }

  private settle(answer: () => void): void {
    this.pending = false;
    if (this.closed) {
      this.connection.streams.settled();
      return;
    }
    this.connection.guard(() => {
      try {
        answer();
      } catch (error) {
        this.fail(error);
      }
    });
  }

  private respond(message: Encodable): void {
    // The handler itself may have let the connection go.
    if (this.closed) {
      if (inPieces(message)) message.close();
      return;
    }
    assert(!this.responding, "a unary call is answered once");
    this.responding = true;
    const length = message.byteLength();
    if (inPieces(message)) {
      this.respondInPieces(message, length);
      return;
    }
    if (length > RESPONSE_BYTES_MAX) {
      this.finish(GrpcCode.resourceExhausted, tooLong(length));
      return;
    }
    const { sender } = this.connection;
    this.connection.input.spend((length / TURN_COST_ANSWER_BYTES) | 0);
    if (sender.mayLeave(this, length + MESSAGE_PREFIX_BYTES)) this.respondAtOnce(message, length);
    else if (length >= FRAME_BYTES_MAX && length <= LONG_BYTES_MAX) this.respondLong(message, length);
    else this.respondQueued(message, length);
    this.connection.touch();
  }

  private respondAtOnce(message: Encodable, length: number): void {
    const { sender } = this.connection;
    const { output, encoder } = sender;
    const framed = length + MESSAGE_PREFIX_BYTES;
    // Room for all three frames, so that the buffer stays the same between them.
    output.reserve(framed + FRAME_HEADER_BYTES + 2 * (FRAME_HEADER_BYTES + OK_BLOCK_BYTES_MAX));
    const { buffer } = output;
    output.length = writeBlock(buffer, output.length, encoder.grpcHeaders(), this.id, Flag.endHeaders);
    this.headersSent = true;
    let at = writeFrameHeader(buffer, output.length, framed, FrameType.data, Flag.none, this.id);
    buffer[at++] = 0;
    at = writeUint32(buffer, at, length);
    assert(message.encodeInto(buffer, at) === at + length, "a message is as long as it said");
    output.length = at + length;
    sender.left(this, framed);
    const flags = Flag.endHeaders | Flag.endStream;
    output.length = writeBlock(buffer, output.length, encoder.okTrailers(), this.id, flags);
    this.endLocal();
  }

  /**
   * An answer of many frames is written to a place that all share, and cut from there: what the client takes now needs
   * no memory of its own. What it does not is queued.
   */
  private respondLong(message: Encodable, length: number): void {
    const { sender, context } = this.connection;
    const framed = length + MESSAGE_PREFIX_BYTES;
    longAnswer ??= Buffer.allocUnsafeSlow(LONG_BYTES_MAX + MESSAGE_PREFIX_BYTES);
    const bytes = longAnswer;
    bytes[0] = 0;
    const at = writeUint32(bytes, 1, length);
    assert(message.encodeInto(bytes, at) === framed, "a message is as long as it said");
    sender.output.headers(this.id, sender.encoder.grpcHeaders(), false);
    this.headersSent = true;
    const sent = sender.mayFlow(this) ? sender.flow(this, bytes, framed) : 0;
    if (sent < framed) {
      this.openQueue().copyIn(bytes, sent, framed, context.slabs);
      this.connection.backlog.add(this, framed - sent);
    }
    this.finish(GrpcCode.ok, "");
    if (sent === framed) return;
    sender.ready(this);
    sender.pump();
  }

  /** Headers and the message's length now, its bytes as the client takes them. */
  private respondInPieces(message: Pieces, length: number): void {
    const { sender } = this.connection;
    this.pieces = message;
    if (length > RESPONSE_BYTES_MAX) {
      this.endPieces();
      this.finish(GrpcCode.resourceExhausted, tooLong(length));
      return;
    }
    this.piecesLeft = length;
    sender.output.headers(this.id, sender.encoder.grpcHeaders(), false);
    this.headersSent = true;
    const { buffer, at } = this.openQueue().append(MESSAGE_PREFIX_BYTES);
    this.connection.backlog.add(this, MESSAGE_PREFIX_BYTES);
    buffer[at] = 0;
    writeUint32(buffer, at + 1, length);
    this.fill(message);
    sender.pump();
    this.connection.touch();
  }

  /** Queues pieces until enough are, or one has to be waited for; each gets further, to the message's end. */
  private fill(pieces: Pieces): void {
    if (this.filling || this.pending || this.ending) return;
    this.filling = true;
    try {
      while (this.pieces !== null && this.queuedBytes < PIECES_QUEUED_BYTES) {
        const piece = pieces.nextPiece();
        if (isPromise(piece)) {
          this.waitForPiece(piece);
          break;
        }
        this.takePiece(piece);
      }
    } catch (error) {
      this.failInPieces(error);
    } finally {
      this.filling = false;
    }
  }

  private takePiece(piece: Buffer): void {
    assert(piece.length <= this.piecesLeft && piece.length > 0, "the pieces make up the message");
    this.piecesLeft -= piece.length;
    this.openQueue().push(piece);
    this.connection.backlog.add(this, piece.length);
    this.connection.sender.ready(this);
    if (this.piecesLeft > 0) return;
    this.endPieces();
    this.finish(GrpcCode.ok, "");
  }

  private waitForPiece(piece: Promise<Buffer>): void {
    this.pending = true;
    const settle = (take: () => void): void => {
      this.pending = false;
      if (this.closed) this.connection.streams.settled();
      else this.connection.guard(take);
    };
    piece.then(
      (bytes) =>
        settle(() => {
          try {
            this.takePiece(bytes);
            if (this.pieces !== null) this.fill(this.pieces);
          } catch (error) {
            this.failInPieces(error);
          }
          this.connection.sender.pump();
        }),
      (error: unknown) => settle(() => this.failInPieces(error)),
    );
  }

  /** What was sent of the message is of no use: the status says why. */
  private failInPieces(error: unknown): void {
    this.endPieces();
    this.dropQueue();
    this.fail(error);
  }

  private respondQueued(message: Encodable, length: number): void {
    const { sender } = this.connection;
    const { buffer, at } = this.openQueue().append(length + MESSAGE_PREFIX_BYTES);
    this.connection.backlog.add(this, length + MESSAGE_PREFIX_BYTES);
    buffer[at] = 0;
    writeUint32(buffer, at + 1, length);
    const start = at + MESSAGE_PREFIX_BYTES;
    try {
      assert(message.encodeInto(buffer, start) === start + length, "a message is as long as it said");
    } catch (error) {
      this.dropQueue();
      throw error;
    }
    sender.output.headers(this.id, sender.encoder.grpcHeaders(), false);
    this.headersSent = true;
    this.finish(GrpcCode.ok, "");
    sender.ready(this);
    sender.pump();
  }
}

const tooLong = (bytes: number): string =>
  `trying to send message larger than max (${bytes} vs. ${RESPONSE_BYTES_MAX})`;

function isWholeMessage(bytes: Buffer, start: number, end: number, bytesMax: number): boolean {
  const length = end - start - MESSAGE_PREFIX_BYTES;
  if (length < 0 || length > bytesMax || bytes[start] !== 0) return false;
  return (
    bytes[start + 1] === 0 && ((bytes[start + 2]! << 16) | (bytes[start + 3]! << 8) | bytes[start + 4]!) === length
  );
}

/** A HEADERS frame with a short block. */
function writeBlock(buffer: Buffer, at: number, block: Buffer, streamId: number, flags: number): number {
  const start = writeFrameHeader(buffer, at, block.length, FrameType.headers, flags, streamId);
  for (let i = 0; i < block.length; i++) buffer[start + i] = block[i]!;
  return start + block.length;
}
