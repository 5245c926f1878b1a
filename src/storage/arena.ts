import { assert } from "../base/assert.ts";

const CHUNK_BYTES_MIN = 32 << 10;
const CHUNK_BYTES_MAX = 1 << 20;
/** Below this many bytes a loop costs less than a call that makes a view. */
const LOOP_BYTES_MAX = 64;
/** Of memory that is kept whole for the values in it: Node's own pool is smaller, a place in it is 31 bits. */
const KEPT_BYTES_MIN = 64 << 10;
const KEPT_BYTES_MAX = 1 << 30;

/**
 * Values, copied one behind the other into chunks that never move or change, so that a stored version is (chunk, start,
 * end) without a buffer object of its own. A large value gets a chunk for itself.
 */
export class Arena {
  readonly chunks: Uint8Array[] = [];
  /** Where the last value went: bytes [start, end) of a chunk. */
  chunk = 0;
  start = 0;
  end = 0;
  /** Bytes of all values. */
  used = 0;

  /** The chunk being filled. */
  #open = -1;
  #at = 0;
  #left = 0;
  #nextBytes = CHUNK_BYTES_MIN;
  /** The memory that was kept last, and the chunk that it is. */
  #kept: ArrayBufferLike | null = null;
  #keptChunk = NO_CHUNK;
  /** What `keep` was last given: its chunk, or that it has none, and where in that it begins. */
  #source: Uint8Array | null = null;
  #sourceChunk = NO_CHUNK;
  #sourceAt = 0;

  /** Copies source[start, end); the place is in `chunk`, `start`, `end`. */
  add(source: Uint8Array, start: number, end: number): void {
    const length = end - start;
    assert(start >= 0 && length >= 0 && end <= source.length, "a value lies within its bytes");
    this.used += length;
    if (length > this.#left && !this.#makeRoom(length)) {
      const own = Buffer.allocUnsafeSlow(length);
      own.set(source.subarray(start, end));
      this.chunk = this.chunks.push(own) - 1;
      this.start = 0;
      this.end = length;
      return;
    }
    const bytes = this.chunks[this.#open] ?? EMPTY;
    const at = this.#at;
    if (length <= LOOP_BYTES_MAX) {
      for (let i = 0; i < length; i++) bytes[at + i] = source[start + i]!;
    } else if (source instanceof Buffer) {
      source.copy(bytes, at, start, end);
    } else {
      bytes.set(source.subarray(start, end), at);
    }
    this.#at = at + length;
    this.#left -= length;
    this.chunk = Math.max(0, this.#open);
    this.start = at;
    this.end = at + length;
  }

  /**
   * Takes the place where a value lies, instead of copying it: for bytes that never change, in memory that is mostly
   * such values, because all of it is kept with them. A small value is copied.
   */
  keep(source: Uint8Array, start: number, end: number): void {
    const isSmall = end - start <= LOOP_BYTES_MAX;
    if (!isSmall && source !== this.#source) this.#keepSource(source);
    if (isSmall || this.#sourceChunk === NO_CHUNK) {
      this.add(source, start, end);
      return;
    }
    assert(start >= 0 && end <= source.length, "a value lies within its bytes");
    this.used += end - start;
    this.chunk = this.#sourceChunk;
    this.start = this.#sourceAt + start;
    this.end = this.#sourceAt + end;
  }

  /** Once for all values of one record: looking behind a view takes as long as copying a value. */
  #keepSource(source: Uint8Array): void {
    this.#source = source;
    const whole = source.buffer;
    this.#sourceAt = source.byteOffset;
    if (whole.byteLength < KEPT_BYTES_MIN || whole.byteLength > KEPT_BYTES_MAX) {
      this.#sourceChunk = NO_CHUNK;
      return;
    }
    if (whole !== this.#kept) {
      this.#kept = whole;
      this.#keptChunk = this.chunks.push(Buffer.from(whole)) - 1;
    }
    this.#sourceChunk = this.#keptChunk;
  }

  /** Opens a chunk; false for a value that is so large that it gets one for itself. */
  #makeRoom(length: number): boolean {
    if (length > this.#nextBytes >> 2) return false;
    this.#open = this.chunks.push(Buffer.allocUnsafeSlow(this.#nextBytes)) - 1;
    this.#at = 0;
    this.#left = this.#nextBytes;
    this.#nextBytes = Math.min(this.#nextBytes * 2, CHUNK_BYTES_MAX);
    return true;
  }
}

const EMPTY = new Uint8Array(0);
const NO_CHUNK = -1;
