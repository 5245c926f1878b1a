import { assert } from "../base/assert.ts";
import { writeVarint } from "../base/varint.ts";

/** Up to so many characters a loop is cheaper than the call into native code. */
const LATIN1_LOOP_LENGTH_MAX = 24;

/** Bytes being written, in a buffer that grows. What was written stays put only until the next write. */
export class ByteWriter {
  bytes: Buffer;
  /** Where the next byte goes. */
  at = 0;

  /** Begins in memory of this size, or in bytes that nobody else uses any more. */
  constructor(room: number | Buffer = 1024) {
    this.bytes = typeof room === "number" ? Buffer.allocUnsafeSlow(room) : room;
  }

  /** Makes room for `count` more bytes. */
  reserve(count: number): void {
    if (count <= this.bytes.length - this.at) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.bytes.length * 2, this.at + count));
    this.bytes.copy(larger, 0, 0, this.at);
    this.bytes = larger;
  }

  u8(value: number): void {
    this.reserve(1);
    this.bytes[this.at++] = value;
  }

  u32(value: number): void {
    this.reserve(4);
    this.at = this.bytes.writeUInt32LE(value, this.at);
  }

  varint(value: number): void {
    // The text is made only where it is needed: this is called for each entry of a table.
    if (!Number.isSafeInteger(value) || value < 0) assert(false, `a varint is a safe integer >= 0, not ${value}`);
    this.reserve(8);
    this.at = writeVarint(this.bytes, this.at, value);
  }

  /** A signed number, in zigzag order 0, -1, 1, -2 … */
  zigzag(value: number): void {
    this.varint(value < 0 ? -2 * value - 1 : 2 * value);
  }

  /** bytes[start, end) as they are. */
  raw(bytes: Uint8Array, start = 0, end = bytes.length): void {
    this.reserve(end - start);
    // Copying a part out of a Buffer makes no view of it.
    if (bytes instanceof Buffer) bytes.copy(this.bytes, this.at, start, end);
    else this.bytes.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), this.at);
    this.at += end - start;
  }

  /** Characters from `from` on of a latin1 string, one byte each. */
  latin1(text: string, from = 0): void {
    const length = text.length - from;
    this.reserve(length);
    const { bytes, at } = this;
    if (length > LATIN1_LOOP_LENGTH_MAX) bytes.latin1Write(from === 0 ? text : text.slice(from), at, length);
    else for (let i = 0; i < length; i++) bytes[at + i] = text.charCodeAt(from + i);
    this.at = at + length;
  }

  /** Length, then the characters of a latin1 string. */
  text(text: string): void {
    this.varint(text.length);
    this.latin1(text);
  }

  hex(text: string, byteCount: number): void {
    assert(text.length === 2 * byteCount, `${byteCount} bytes in hex`);
    this.reserve(byteCount);
    assert(this.bytes.write(text, this.at, "hex") === byteCount, "hex digits only");
    this.at += byteCount;
  }

  /** A view of all that was written. */
  view(): Buffer {
    return this.bytes.subarray(0, this.at);
  }
}

/** The inverse of `zigzag`. */
export const unzigzag = (value: number): number => (value % 2 === 0 ? value / 2 : -(value + 1) / 2);
