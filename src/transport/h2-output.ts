import { assert } from "../base/assert.ts";
import type { ByteStream } from "../runtime/runtime.ts";
import type { TransportContext } from "./context.ts";
import { Flag, FRAME_HEADER_BYTES, FrameType, writeFrameHeader, writeUint32 } from "./frames.ts";
import { FRAME_BYTES_MAX, SOCKET_BACKLOG_BYTES_MAX } from "./limits.ts";
import { SLAB_BYTES, type Slab } from "./slab-pool.ts";
import { SocketShare } from "./unsent.ts";

const EMPTY = Buffer.alloc(0);

/**
 * All frames that a connection sends in one turn, gathered in one buffer and written at once. Invariants:
 *  1. A frame is complete in the buffer before `length` covers it: whoever fails half-way leaves nothing behind.
 *  2. A buffer given to the socket is not touched until its write is done.
 */
export class H2Output {
  buffer: Buffer = EMPTY;
  /** Bytes of `buffer` that are complete frames. */
  length = 0;
  /** The socket has more than its share unsent: responses stay in their streams' queues. */
  congested = false;
  /** HEADERS and DATA so far. */
  responseFrames = 0;
  /** When the socket last took something, or had nothing to take. */
  progressMs: number;
  private readonly context: TransportContext;
  private readonly bytes: ByteStream;
  private readonly onRelieved: () => void;
  private readonly backlogBytesMax: number;
  readonly share: SocketShare;
  private slab: Slab | null = null;
  private closed = false;
  private readonly afterWrite = (): void => {
    this.progressMs = this.context.clock.monotonicMs();
    this.share.note();
    if (!this.congested || this.closed || this.bytes.pendingBytes > this.backlogBytes / 2) return;
    this.congested = false;
    this.onRelieved();
  };

  /** `onRelieved` is called when the socket is no longer congested. */
  constructor(context: TransportContext, bytes: ByteStream, onRelieved: () => void) {
    this.context = context;
    this.bytes = bytes;
    this.onRelieved = onRelieved;
    this.backlogBytesMax = Math.min(SOCKET_BACKLOG_BYTES_MAX, context.settings.connectionQueueBytesMax);
    this.share = new SocketShare(context.socketBytes, bytes);
    this.progressMs = context.clock.monotonicMs();
  }

  /** Handed to the socket and not yet taken by the system. */
  get pendingBytes(): number {
    return this.bytes.pendingBytes;
  }

  /** What the socket may have unsent just now. */
  private get backlogBytes(): number {
    return this.context.share(this.backlogBytesMax);
  }

  /** Makes room for `count` bytes at `length` in `buffer`, and returns `length`. */
  reserve(count: number): number {
    if (this.buffer.length - this.length < count) this.exchange(count);
    return this.length;
  }

  flush(): void {
    if (this.length === 0 || this.closed) return;
    const { bytes, length } = this;
    const slab = this.slab!;
    this.context.bytesSent += length;
    this.length = 0;
    const behind = bytes.pendingBytes > 0;
    if (!behind) this.progressMs = this.context.clock.monotonicMs();
    if (behind && length <= slab.buffer.length / 2) {
      // A slow reader pins no more than twice what it was sent.
      bytes.write(Buffer.from(slab.buffer.subarray(0, length)), this.afterWrite);
    } else {
      this.slab = null;
      this.buffer = EMPTY;
      slab.onWritten = this.afterWrite;
      const whole = slab.buffer.subarray(0, length);
      if (bytes.writeAtOnce === undefined) bytes.write(whole, slab.written);
      else if (bytes.writeAtOnce(whole, slab.written)) slab.release();
    }
    this.share.note();
    if (bytes.pendingBytes === 0) return;
    this.context.unsentGrew();
    if (bytes.pendingBytes > this.backlogBytes) this.congested = true;
  }

  get isClosed(): boolean {
    return this.closed;
  }

  /** Nothing is written any more. */
  close(): void {
    this.closed = true;
    this.length = 0;
    this.buffer = EMPTY;
    if (this.slab !== null) this.context.slabs.give(this.slab);
    this.slab = null;
  }

  /** The connection has gone, and what its socket had with it. */
  gone(): void {
    this.close();
    this.share.close();
  }

  /** A frame with a payload of one 32-bit number: RST_STREAM, WINDOW_UPDATE. */
  uint32Frame(type: number, streamId: number, value: number): void {
    const at = this.reserve(FRAME_HEADER_BYTES + 4);
    const end = writeFrameHeader(this.buffer, at, 4, type, Flag.none, streamId);
    this.length = writeUint32(this.buffer, end, value);
  }

  /** A frame on the connection itself with the given payload, which is small. */
  controlFrame(type: number, flags: number, payload: Uint8Array): void {
    const at = this.reserve(FRAME_HEADER_BYTES + payload.length);
    const end = writeFrameHeader(this.buffer, at, payload.length, type, flags, 0);
    this.buffer.set(payload, end);
    this.length = end + payload.length;
  }

  /** HEADERS, with CONTINUATION where the block is larger than a frame. */
  headers(streamId: number, block: Buffer, endStream: boolean): void {
    this.responseFrames++;
    let type: number = FrameType.headers;
    let start = 0;
    do {
      const some = Math.min(block.length - start, FRAME_BYTES_MAX);
      const last = start + some === block.length;
      const flags = (last ? Flag.endHeaders : 0) | (endStream && start === 0 ? Flag.endStream : 0);
      const at = this.reserve(FRAME_HEADER_BYTES + some);
      const end = writeFrameHeader(this.buffer, at, some, type, flags, streamId);
      block.copy(this.buffer, end, start, start + some);
      this.length = end + some;
      start += some;
      type = FrameType.continuation;
    } while (start < block.length);
  }

  private exchange(count: number): void {
    assert(count <= SLAB_BYTES, "what is reserved fits a slab");
    assert(!this.closed, "a closed connection writes nothing");
    const { slab, length } = this;
    const { slabs } = this.context;
    if (slab !== null && slab.buffer.length < SLAB_BYTES && length + count <= SLAB_BYTES) {
      // The turn's output outgrows a small slab: it moves, so that it still leaves in one write.
      const large = slabs.take(SLAB_BYTES);
      slab.buffer.copy(large.buffer, 0, 0, length);
      slabs.give(slab);
      this.hold(large);
      return;
    }
    this.flush();
    if (this.slab !== null && this.slab.buffer.length >= count) return;
    if (this.slab !== null) slabs.give(this.slab);
    this.hold(slabs.take(length > 0 ? SLAB_BYTES : count));
  }

  private hold(slab: Slab): void {
    this.slab = slab;
    this.buffer = slab.buffer;
  }
}
