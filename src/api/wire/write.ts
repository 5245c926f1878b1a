/**
 * Protobuf's encoding, in the order and with the omissions of etcd's own encoder: fields by number, zero values
 * left out. Each
 * `…Size` function foretells what its `write…` writes; both give nothing for a zero. Tags are the encoded field
 * number and
 * type, below 0x80 (one byte) but for what names itself otherwise.
 */

/** Bytes of an unsigned varint, up to 2^53 − 1. */
export function varintSize(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x200000) return 3;
  if (value < 0x10000000) return 4;
  let size = 5;
  for (let rest = value / 0x800000000; rest >= 1; rest /= 0x80) size++;
  return size;
}

export function writeVarint(buffer: Uint8Array, at: number, value: number): number {
  while (value >= 0x80) {
    if (value < 0x80000000) {
      buffer[at++] = (value & 0x7f) | 0x80;
      value >>>= 7;
    } else {
      buffer[at++] = (value % 0x80) | 0x80;
      value = Math.floor(value / 0x80);
    }
  }
  buffer[at++] = value;
  return at;
}

/** A non-negative number's field. */
export const numberSize = (value: number): number => (value === 0 ? 0 : 1 + varintSize(value));

export function writeNumber(buffer: Uint8Array, at: number, tag: number, value: number): number {
  if (value === 0) return at;
  buffer[at++] = tag;
  return writeVarint(buffer, at, value);
}

/** What a number holds of a bigint that no number holds: each step with a bigint makes a new one. */
const LOW_BYTES = 7;
const LOW_BITS = 7 * LOW_BYTES;
const highOf = (value: bigint): number => Number(BigInt.asUintN(64, value) >> BigInt(LOW_BITS));

/** An int64's or uint64's field: negative int64s take ten bytes. */
export function bigSize(value: bigint): number {
  if (value === 0n) return 0;
  if (value < 0n) return 11;
  if (value <= 0x1fffffffffffffn) return numberSize(Number(value));
  return 1 + LOW_BYTES + varintSize(highOf(value));
}

export function writeBig(buffer: Uint8Array, at: number, tag: number, value: bigint): number {
  if (value === 0n) return at;
  buffer[at++] = tag;
  if (value > 0n && value <= 0x1fffffffffffffn) return writeVarint(buffer, at, Number(value));
  let low = Number(BigInt.asUintN(LOW_BITS, value));
  for (let n = 0; n < LOW_BYTES; n++) {
    buffer[at++] = (low % 0x80) | 0x80;
    low = Math.floor(low / 0x80);
  }
  return writeVarint(buffer, at, highOf(value));
}

/** An int64's field held as a number: −1 and the like take ten bytes. */
export const signedSize = (value: number): number => (value < 0 ? 11 : numberSize(value));

export const writeSigned = (buffer: Uint8Array, at: number, tag: number, value: number): number =>
  value < 0 ? writeBig(buffer, at, tag, BigInt(value)) : writeNumber(buffer, at, tag, value);

export const boolSize = (value: boolean): number => (value ? 2 : 0);

export function writeBool(buffer: Uint8Array, at: number, tag: number, value: boolean): number {
  if (!value) return at;
  buffer[at++] = tag;
  buffer[at++] = 1;
  return at;
}

/**
 * A field of `length` bytes, tag and length included; for repeated fields and messages, which are written even when
 * empty.
 */
export const lengthDelimitedSize = (length: number): number => 1 + varintSize(length) + length;

export function writeLength(buffer: Uint8Array, at: number, tag: number, length: number): number {
  buffer[at++] = tag;
  return writeVarint(buffer, at, length);
}

export function textSize(text: string): number {
  return text === "" ? 0 : lengthDelimitedSize(Buffer.byteLength(text));
}

export function writeText(buffer: Buffer, at: number, tag: number, text: string): number {
  if (text === "") return at;
  at = writeLength(buffer, at, tag, Buffer.byteLength(text));
  return at + buffer.write(text, at);
}

/** Below this many bytes a loop costs less than the call into native code. */
const NATIVE_COPY_BYTES_MIN = 64;
const nativeCopy = Buffer.prototype.copy;

/** Copies from[start, end) to `at`; returns the place behind it. */
export function writeBytes(buffer: Buffer, at: number, from: Uint8Array, start: number, end: number): number {
  if (end - start < NATIVE_COPY_BYTES_MIN) {
    while (start < end) buffer[at++] = from[start++]!;
    return at;
  }
  return at + nativeCopy.call(from, buffer, at, start, end);
}
