import { ok } from "node:assert/strict";
import type { ByteStream } from "../../src/runtime/runtime.ts";

/**
 * The server's end of a connection in memory. What it writes is copied only when the write is settled, so that a buffer
 * that is used again too early shows as wrong bytes.
 */
export class MemoryStream implements ByteStream {
  readonly remoteAddress = "192.0.2.1:4711";
  onData: (chunk: Buffer) => void = () => {};
  onEnd: () => void = () => {};
  onClose: (error?: Error) => void = () => {};
  pendingBytes = 0;
  paused = false;
  ended = false;
  destroyed = false;
  /** Calls of `write`. */
  writes = 0;
  /** The peer does not read. */
  stuck = false;
  private writing: { bytes: Uint8Array; written: (() => void) | undefined }[] = [];
  private received: Buffer[] = [];

  write(bytes: Uint8Array, written?: () => void): void {
    ok(!this.ended, "nothing is written after the end");
    this.writes++;
    this.pendingBytes += bytes.length;
    this.writing.push({ bytes, written });
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  end(): void {
    this.ended = true;
  }

  destroy(): void {
    this.destroyed = true;
  }

  /** The system takes what was written, unless the peer is stuck. */
  settle(): void {
    while (!this.stuck && this.writing.length > 0) {
      const writing = this.writing;
      this.writing = [];
      for (const { bytes } of writing) this.received.push(Buffer.from(bytes));
      for (const { bytes, written } of writing) {
        this.pendingBytes -= bytes.length;
        written?.();
      }
    }
  }

  /** What the peer has got since it was last asked. */
  take(): Buffer {
    this.settle();
    const received = Buffer.concat(this.received);
    this.received = [];
    return received;
  }
}
