import { assert } from "../base/assert.ts";

const CHUNK_BYTES_MIN = 32 << 10;
const CHUNK_BYTES_MAX = 1 << 20;
/** Below this many bytes a loop costs less than a call that makes a view. */
const LOOP_BYTES_MAX = 40;

/**
 * Values, copied one behind the other into chunks that never move or change, so that a stored version is (chunk, start, end)
 * without a buffer object of its own. A large value gets a chunk for itself.
 */
export class Arena {
  /** Where the last value went: bytes[start, end). */
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;
  /** Bytes of all chunks' used parts. */
  used = 0;

  #chunk: Uint8Array = new Uint8Array(0);
  #at = 0;
  #nextBytes = CHUNK_BYTES_MIN;

  /** Copies source[start, end); the place is in `bytes`, `start`, `end`. */
  add(source: Uint8Array, start: number, end: number): void {
    const length = end - start;
    assert(start >= 0 && length >= 0 && end <= source.length, "a value lies within its bytes");
    this.used += length;
    if (length > this.#chunk.length - this.#at) {
      if (length > this.#nextBytes >> 2) {
        this.bytes = Buffer.allocUnsafeSlow(length);
        this.start = 0;
        this.end = length;
        this.bytes.set(source.subarray(start, end));
        return;
      }
      this.#chunk = Buffer.allocUnsafeSlow(this.#nextBytes);
      this.#at = 0;
      this.#nextBytes = Math.min(this.#nextBytes * 2, CHUNK_BYTES_MAX);
    }
    const chunk = this.#chunk;
    const at = this.#at;
    if (length <= LOOP_BYTES_MAX) {
      for (let i = 0; i < length; i++) chunk[at + i] = source[start + i]!;
    } else {
      chunk.set(source.subarray(start, end), at);
    }
    this.#at = at + length;
    this.bytes = chunk;
    this.start = at;
    this.end = at + length;
  }
}
