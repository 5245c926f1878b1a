/**
 * Unsigned LEB128, as protobuf's varint, for values up to 2^53 - 1. A reader is a cursor over bytes that it does not
 * own; whatever is malformed throws a RangeError, which the owner of the format turns into its own error.
 */
export const VARINT_BYTES_MAX = 8;

export function varintSize(value: number): number {
  let size = 1;
  while (value >= 0x80) {
    value = Math.floor(value / 0x80);
    size++;
  }
  return size;
}

/** Writes `value` at `at`; returns the place behind it. */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  while (value >= 0x80) {
    bytes[at++] = (value % 0x80) | 0x80;
    value = value < 0x80000000 ? value >>> 7 : Math.floor(value / 0x80);
  }
  bytes[at++] = value;
  return at;
}

export class ByteReader {
  readonly bytes: Uint8Array;
  at: number;
  readonly end: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get left(): number {
    return this.end - this.at;
  }

  u8(): number {
    if (this.at >= this.end) throw new RangeError("ends early");
    return this.bytes[this.at++]!;
  }

  u32(): number {
    const at = this.skip(4);
    const b = this.bytes;
    return (b[at]! | (b[at + 1]! << 8) | (b[at + 2]! << 16) | (b[at + 3]! << 24)) >>> 0;
  }

  /** Little-endian, at most 2^53 - 1. */
  u64(): number {
    const low = this.u32();
    const value = this.u32() * 0x100000000 + low;
    if (!Number.isSafeInteger(value)) throw new RangeError("a number is over 2^53 - 1");
    return value;
  }

  varint(): number {
    const { at, bytes } = this;
    // Most are of one byte or two.
    if (at + 1 < this.end) {
      const first = bytes[at]!;
      if (first < 0x80) {
        this.at = at + 1;
        return first;
      }
      const second = bytes[at + 1]!;
      if (second < 0x80) {
        this.at = at + 2;
        return (first & 0x7f) | (second << 7);
      }
    }
    return this.#longVarint();
  }

  #longVarint(): number {
    let value = 0;
    let scale = 1;
    for (let n = 0; n < VARINT_BYTES_MAX; n++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
      scale *= 0x80;
    }
    throw new RangeError("a varint is over 2^53 - 1");
  }

  /** Passes over `count` bytes; returns where they begin. */
  skip(count: number): number {
    const at = this.at;
    if (count > this.end - at) throw new RangeError("ends early");
    this.at = at + count;
    return at;
  }

  /** A view, not a copy. */
  take(count: number): Uint8Array {
    const at = this.skip(count);
    return this.bytes.subarray(at, at + count);
  }
}
