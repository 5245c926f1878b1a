import { FRAME_HEADER_BYTES, frameSizeError, readUint31 } from "./frames.ts";
import { FRAME_BYTES_MAX } from "./limits.ts";

export interface FrameSink {
  /** The payload is `bytes[start, end)`, which stays unchanged for as long as it is referenced. */
  frame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void;
  /** True when nothing more is wanted of this connection, now or ever. */
  readonly stopped: boolean;
}

/**
 * Cuts a byte stream into frames. Frames that lie within one chunk are given in place; one that spans chunks is put
 * together once, in a buffer of its own size, which is known and checked before it is allocated.
 */
export class FrameReader {
  private readonly sink: FrameSink;
  private readonly header = Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES);
  /** The frame that spans chunks: its header goes to `header` first, then all of it to `partial`. */
  private partial: Buffer | null = null;
  private filled = 0;

  constructor(sink: FrameSink) {
    this.sink = sink;
  }

  /**
   * Returns how much of the chunk was taken: all, unless the sink stopped before. Throws a ConnectionError for a frame
   * that is too large, and whatever the sink throws.
   */
  push(chunk: Buffer): number {
    const end = chunk.length;
    let at = this.filled === 0 ? 0 : this.complete(chunk);
    while (end - at >= FRAME_HEADER_BYTES) {
      if (this.sink.stopped) return at;
      const length = frameLength(chunk, at);
      const next = at + FRAME_HEADER_BYTES + length;
      if (next > end) break;
      this.sink.frame(chunk[at + 3]!, chunk[at + 4]!, readUint31(chunk, at + 5), chunk, at + FRAME_HEADER_BYTES, next);
      at = next;
    }
    if (at === end) return end;
    if (this.sink.stopped) return at;
    this.keep(chunk, at);
    return end;
  }

  /** True between the first byte of a frame and its last. */
  get midFrame(): boolean {
    return this.filled > 0;
  }

  private keep(chunk: Buffer, at: number): void {
    const kept = chunk.length - at;
    if (kept < FRAME_HEADER_BYTES) chunk.copy(this.header, 0, at);
    else {
      this.partial = Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES + frameLength(chunk, at));
      chunk.copy(this.partial, 0, at);
    }
    this.filled = kept;
  }

  /** Adds to the frame begun before; gives it out when it is whole. Returns what it took of the chunk. */
  private complete(chunk: Buffer): number {
    let at = 0;
    if (this.partial === null) {
      at = chunk.copy(this.header, this.filled);
      this.filled += at;
      if (this.filled < FRAME_HEADER_BYTES) return at;
      this.partial = Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES + frameLength(this.header, 0));
      this.header.copy(this.partial);
    }
    const partial = this.partial;
    const copied = chunk.copy(partial, this.filled, at);
    this.filled += copied;
    at += copied;
    if (this.filled < partial.length) return at;
    this.partial = null;
    this.filled = 0;
    this.sink.frame(partial[3]!, partial[4]!, readUint31(partial, 5), partial, FRAME_HEADER_BYTES, partial.length);
    return at;
  }
}

function frameLength(bytes: Buffer, at: number): number {
  const length = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
  if (length > FRAME_BYTES_MAX) throw frameSizeError(`frame of ${length} bytes, over ${FRAME_BYTES_MAX}`);
  return length;
}
