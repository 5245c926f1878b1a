import { assert } from "../base/assert.ts";
import { SLAB_BYTES, type Slab, type SlabPool } from "./slab-pool.ts";

const CHUNK_BYTES_MIN = 4096;

/**
 * Bytes that wait to be sent, in order; small ones are gathered, so that many small messages cost what their bytes do.
 */
export class ByteQueue {
  length = 0;
  private chunks: Buffer[] = [];
  /** Those among the chunks that go back to their pool, in order. */
  private slabs: Slab[] = [];
  /** The first byte of chunks[head] that is still wanted; chunks before it are gone. */
  private head = 0;
  private at = 0;
  /** The end of what is filled in the last chunk. */
  private tail = 0;

  /** Makes room for `bytes` in one piece; returns where, and counts them as queued. Who calls fills them at once. */
  append(bytes: number): { buffer: Buffer; at: number } {
    let last = this.chunks.length > this.head ? this.chunks[this.chunks.length - 1] : undefined;
    if (last === undefined || last.length - this.tail < bytes) {
      // What is left of a chunk is cut off, so that all but the last are full.
      if (last !== undefined) this.chunks[this.chunks.length - 1] = last.subarray(0, this.tail);
      last = Buffer.allocUnsafeSlow(Math.max(bytes, CHUNK_BYTES_MIN));
      this.chunks.push(last);
      this.tail = 0;
    }
    const at = this.tail;
    this.tail += bytes;
    this.length += bytes;
    return { buffer: last, at };
  }

  /** Takes over `bytes`, which nobody changes any more. */
  push(bytes: Buffer): void {
    const last = this.chunks.length - 1;
    if (last >= this.head) this.chunks[last] = this.chunks[last]!.subarray(0, this.tail);
    this.chunks.push(bytes);
    this.tail = bytes.length;
    this.length += bytes.length;
  }

  /** Copies bytes[start, end) into slabs: what is queued often and for a short time makes no garbage. */
  copyIn(bytes: Buffer, start: number, end: number, pool: SlabPool): void {
    while (start < end) {
      const slab = pool.take(SLAB_BYTES);
      const some = Math.min(end - start, SLAB_BYTES);
      bytes.copy(slab.buffer, 0, start, start + some);
      this.slabs.push(slab);
      this.push(some === SLAB_BYTES ? slab.buffer : slab.buffer.subarray(0, some));
      start += some;
    }
  }

  /** Moves the first `count` bytes to `into` at `to`. */
  take(into: Buffer, to: number, count: number): void {
    assert(count <= this.length, "no more is taken than is queued");
    this.length -= count;
    while (count > 0) {
      const chunk = this.chunks[this.head]!;
      const end = this.head === this.chunks.length - 1 ? this.tail : chunk.length;
      const some = Math.min(count, end - this.at);
      chunk.copy(into, to, this.at, this.at + some);
      to += some;
      count -= some;
      this.at += some;
      if (this.at === end) this.drop();
    }
    if (this.length === 0) this.clear();
  }

  clear(): void {
    for (const slab of this.slabs) slab.release();
    this.slabs = [];
    this.chunks = [];
    this.head = 0;
    this.at = 0;
    this.tail = 0;
    this.length = 0;
  }

  private drop(): void {
    const first = this.slabs[0];
    if (first !== undefined && first.buffer.buffer === this.chunks[this.head]!.buffer) {
      this.slabs.shift();
      first.release();
    }
    this.chunks[this.head] = EMPTY;
    this.head++;
    this.at = 0;
    // Moved up now and then, so that a long queue costs no more than its bytes.
    if (this.head < 64 || this.head * 2 < this.chunks.length) return;
    this.chunks = this.chunks.slice(this.head);
    this.head = 0;
  }
}

const EMPTY = Buffer.alloc(0);
