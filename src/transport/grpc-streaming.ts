import { assert } from "../base/assert.ts";
import { ByteQueue } from "./byte-queue.ts";
import { Flag, FRAME_HEADER_BYTES, FrameType, writeFrameHeader, writeUint32 } from "./frames.ts";
import { GrpcCall } from "./grpc-call.ts";
import { MESSAGE_PREFIX_BYTES } from "./grpc-deframer.ts";
import { GrpcCode } from "./grpc-status.ts";
import { FRAME_BYTES_MAX, TurnCost } from "./limits.ts";
import type { Encodable, GrpcStream, StreamHandler, StreamTraffic } from "./transport.ts";

const nothing = (): void => {};
/** Most streams never pause: what a pause needs is made when there is one. */
const noMessages: Buffer[] = [];
Object.freeze(noMessages);

/**
 * A call with any number of messages either way. Bounds:
 *  - in: while messages are paused, what arrives is not given back as window, so the inbox ends with the stream's
 *    window;
 *  - out: `send` says stop at `streamQueueBytesMax` queued, or as soon as anything is while the connection is over its
 *    bound; who asks `hasRoom` before queues nothing at all then, but what leaves at once.
 */
export class StreamingCall extends GrpcCall implements GrpcStream {
  onMessage: (message: Buffer) => void = nothing;
  onHalfClose: () => void = nothing;
  onDrain: () => void = nothing;
  traffic: StreamTraffic | null = null;
  /** Messages of the frame during which messages were paused, and the bytes of the frames that came after it. */
  private inbox = noMessages;
  private unread: ByteQueue | null = null;
  private paused = false;
  private delivering = false;
  private halfCloseDue = false;
  /** Received while paused, and kept from the peer's window. */
  private heldBytes = 0;
  private drainDue = false;

  /** Lets the handler set its callbacks. */
  open(handler: StreamHandler): void {
    try {
      handler(this);
    } catch (error) {
      this.fail(error);
    }
  }

  get completes(): boolean {
    return false;
  }

  get unfinishedSinceMs(): number {
    // While we take nothing the client cannot go on.
    return this.paused ? Number.POSITIVE_INFINITY : this.messageSinceMs;
  }

  get busy(): boolean {
    return false;
  }

  send(message: Encodable): boolean {
    if (this.closed) return false;
    if (this.traffic !== null) this.traffic.sent++;
    assert(!this.ending, "nothing is sent after the end");
    const { sender } = this.connection;
    if (!this.headersSent) {
      sender.output.headers(this.id, sender.encoder.grpcHeaders(), false);
      this.headersSent = true;
    }
    const length = message.byteLength();
    if (sender.mayLeave(this, length + MESSAGE_PREFIX_BYTES)) this.sendAtOnce(message, length);
    else this.enqueue(message, length);
    this.connection.touch();
    if (this.closed) return false;
    this.drainDue = this.queuedBytes > this.queueBytesMax;
    return !this.drainDue;
  }

  protected override onRoom(): void {
    if (!this.ending) this.call(() => this.onDrain());
  }

  end(code: number, message = ""): void {
    this.finish(code, message);
  }

  pauseMessages(): void {
    this.paused = true;
  }

  resumeMessages(): void {
    this.paused = false;
    if (Number.isFinite(this.messageSinceMs)) this.messageSinceMs = this.connection.turnMs;
    if (this.delivering || this.closed) return;
    this.deliver();
    if (this.paused || this.closed || this.heldBytes === 0) return;
    const bytes = this.heldBytes;
    this.heldBytes = 0;
    this.connection.receiveWindow.release(bytes);
    this.giveBack(bytes);
    this.connection.touch();
  }

  protected override receive(bytes: Buffer, start: number, end: number): void {
    if (!this.paused && !this.delivering && this.inbox.length === 0) super.receive(bytes, start, end);
    else {
      this.unread ??= new ByteQueue();
      const room = this.unread.append(end - start);
      bytes.copy(room.buffer, room.at, start, end);
    }
  }

  protected override accept(message: Buffer): void {
    if (this.traffic !== null) this.traffic.received++;
    this.connection.input.spend(TurnCost.message);
    if (!this.paused) this.onMessage(message);
    else if (this.inbox === noMessages) this.inbox = [message];
    else this.inbox.push(message);
  }

  protected override receiveEnd(): void {
    this.halfCloseDue = true;
    if (!this.paused && !this.delivering) this.deliver();
  }

  protected override giveBack(bytes: number): void {
    if (!this.paused) super.giveBack(bytes);
    else {
      this.heldBytes += bytes;
      this.connection.receiveWindow.hold(bytes);
    }
  }

  override onClosed(): void {
    super.onClosed();
    this.inbox = noMessages;
    this.unread = null;
    this.connection.receiveWindow.release(this.heldBytes);
    this.heldBytes = 0;
  }

  onSent(bytes: number): void {
    this.connection.backlog.remove(this, bytes);
    if (!this.drainDue || this.queuedBytes > this.queueBytesMax / 2) return;
    this.drainDue = false;
    if (!this.ending) this.call(() => this.onDrain());
  }

  private get queueBytesMax(): number {
    return this.connection.room.isFull ? 0 : this.connection.context.settings.streamQueueBytesMax;
  }

  private get wanted(): boolean {
    return !this.paused && !this.closed && !this.ending;
  }

  /** Gives out what waits, for as long as it is wanted; then the half-close. */
  private deliver(): void {
    this.delivering = true;
    try {
      while (this.wanted && (this.inbox.length > 0 || (this.unread !== null && this.unread.length > 0))) {
        const inbox = this.inbox;
        this.inbox = noMessages;
        let given = 0;
        while (given < inbox.length && this.wanted) this.onMessage(inbox[given++]!);
        if (this.closed || this.ending) return;
        this.inbox = inbox.slice(given);
        if (this.wanted && this.unread !== null) this.readUnread(this.unread);
      }
    } catch (error) {
      this.fail(error);
    } finally {
      this.delivering = false;
    }
    if (this.halfCloseDue && this.wanted) this.halfClose();
  }

  private readUnread(unread: ByteQueue): void {
    const bytes = Buffer.allocUnsafeSlow(Math.min(unread.length, FRAME_BYTES_MAX));
    unread.take(bytes, 0, bytes.length);
    if (bytes.length > 0) super.receive(bytes, 0, bytes.length);
  }

  private halfClose(): void {
    this.halfCloseDue = false;
    if (this.midMessage) this.finish(GrpcCode.internal, "unexpected EOF");
    else this.call(() => this.onHalfClose());
  }

  /** What a callback throws ends the call. */
  private call(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.fail(error);
    }
  }

  private sendAtOnce(message: Encodable, length: number): void {
    const { sender } = this.connection;
    const { output } = sender;
    const framed = length + MESSAGE_PREFIX_BYTES;
    const start = output.reserve(FRAME_HEADER_BYTES + framed);
    const { buffer } = output;
    let at = writeFrameHeader(buffer, start, framed, FrameType.data, Flag.none, this.id);
    buffer[at++] = 0;
    at = writeUint32(buffer, at, length);
    assert(message.encodeInto(buffer, at) === at + length, "a message is as long as it said");
    output.length = at + length;
    sender.left(this, framed);
    this.progressMs = this.connection.turnMs;
  }

  private enqueue(message: Encodable, length: number): void {
    const { sender } = this.connection;
    const framed = length + MESSAGE_PREFIX_BYTES;
    const { buffer, at } = this.openQueue().append(framed);
    this.connection.backlog.add(this, framed);
    buffer[at] = 0;
    const start = writeUint32(buffer, at + 1, length);
    try {
      assert(message.encodeInto(buffer, start) === start + length, "a message is as long as it said");
    } catch (error) {
      // Its place in the queue holds whatever the memory held before: nothing of it leaves.
      this.dropQueue();
      throw error;
    }
    sender.ready(this);
    sender.pump();
  }
}
