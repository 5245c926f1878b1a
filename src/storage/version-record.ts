import { assert } from "../base/assert.ts";
import type { Effect, Version } from "./storage.ts";
import { StoredVersion } from "./stored-version.ts";

/**
 * A version in a scratch file: main (low, high), sub, length of the key, length of the value (four bytes each, little
 * endian), flags, key, value. Never read by another process: checked all the same, for disks fail.
 */
const HEAD_BYTES = 21;
const TOMBSTONE = 1;
const EFFECT_SHIFT = 1;
const TWO_TO_32 = 0x1_0000_0000;

export const recordBytes = (version: Version): number => HEAD_BYTES + version.key.length + version.end - version.start;

/** Writes recordBytes(version) bytes at `at`; returns the place behind them. */
export function writeRecord(buffer: Buffer, at: number, version: Version): number {
  const { key, main, sub, tombstone, effect, bytes, start, end } = version;
  buffer.writeUInt32LE(main % TWO_TO_32, at);
  buffer.writeUInt32LE(Math.floor(main / TWO_TO_32), at + 4);
  buffer.writeUInt32LE(sub, at + 8);
  buffer.writeUInt32LE(key.length, at + 12);
  buffer.writeUInt32LE(end - start, at + 16);
  buffer[at + 20] = (tombstone ? TOMBSTONE : 0) | ((effect + 1) << EFFECT_SHIFT);
  at += HEAD_BYTES;
  at += buffer.latin1Write(key, at, key.length);
  buffer.set(bytes.subarray(start, end), at);
  return at + end - start;
}

/** The end of the record at `at`. */
export const recordEnd = (buffer: Buffer, at: number): number =>
  at + HEAD_BYTES + buffer.readUInt32LE(at + 12) + buffer.readUInt32LE(at + 16);

export const mainAt = (buffer: Buffer, at: number): number =>
  buffer.readUInt32LE(at + 4) * TWO_TO_32 + buffer.readUInt32LE(at);

export const subAt = (buffer: Buffer, at: number): number => buffer.readUInt32LE(at + 8);

/** The version at `at`; its value is a part of `buffer`. */
export function readRecord(buffer: Buffer, at: number): StoredVersion {
  const keyStart = at + HEAD_BYTES;
  const start = keyStart + buffer.readUInt32LE(at + 12);
  const end = start + buffer.readUInt32LE(at + 16);
  assert(end <= buffer.length, "a record ends within its piece");
  const flags = buffer[at + 20]!;
  const effect = ((flags >>> EFFECT_SHIFT) - 1) as Effect;
  const tombstone = (flags & TOMBSTONE) !== 0;
  const key = buffer.latin1Slice(keyStart, start);
  return new StoredVersion(key, mainAt(buffer, at), subAt(buffer, at), tombstone, effect, buffer, start, end);
}
