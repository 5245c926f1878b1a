import { assert } from "../base/assert.ts";

const CHUNK_BYTES_MIN = 32 << 10;
const CHUNK_BYTES_MAX = 1 << 20;
/** Below this many bytes a loop costs less than a call that makes a view. */
const LOOP_BYTES_MAX = 64;

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
