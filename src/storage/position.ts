import type { ByteReader } from "../base/varint.ts";
import type { ByteWriter } from "./byte-writer.ts";

/**
 * A place in the order of all entries: space and key upwards, then main and sub downwards (newest first).
 * Not every position is an entry's: it may lie between two.
 */
export interface Position {
  readonly space: number;
  readonly key: string;
  readonly main: number;
  readonly sub: number;
}

/** The main and sub of the position before all of a key's versions. No entry has them. */
export const MAIN_NEWEST = Number.MAX_SAFE_INTEGER;
export const SUB_NEWEST = 0xffff_ffff;
/** Bounds of tables are shortened to about this many bytes of key. */
const BOUND_BYTES_MAX = 128;

/** The position before all versions of `key`. */
export const startOf = (space: number, key: string): Position => ({ space, key, main: MAIN_NEWEST, sub: SUB_NEWEST });

/** The position before the versions of `key` that are not newer than `main`. */
export const startAt = (space: number, key: string, main: number): Position => ({ space, key, main, sub: SUB_NEWEST });

/** Whether no key's versions lie on both sides of it. */
export const isBetweenKeys = (position: Position): boolean => position.main === MAIN_NEWEST;

export function comparePositions(a: Position, b: Position): number {
  if (a.space !== b.space) return a.space - b.space;
  if (a.key !== b.key) return a.key < b.key ? -1 : 1;
  if (a.main !== b.main) return a.main > b.main ? -1 : 1;
  return b.sub - a.sub;
}

/**
 * A short position above the entry `last` and not above the entry `next`, its successor. Where `last` is a bound
 * instead, at which something else ends, it is not below that: and between keys where that is.
 */
export function separate(last: Position, next: Position): Position {
  if (last.space !== next.space) return startOf(next.space, "");
  if (last.key === next.key) {
    const { space, key, main, sub } = isBetweenKeys(last) ? last : next;
    return { space, key, main, sub };
  }
  const shared = sharedLength(last.key, next.key);
  return startOf(next.space, next.key.slice(0, shared + 1));
}

/** A short position not above the entry `first`. */
export const shortStart = (first: Position): Position => startOf(first.space, first.key.slice(0, BOUND_BYTES_MAX));

/** A short position above all versions of the entry `last`'s key. */
export function shortEnd(last: Position): Position {
  if (last.key.length < BOUND_BYTES_MAX) return startOf(last.space, `${last.key}\0`);
  for (let length = BOUND_BYTES_MAX; length > 0; length--) {
    const byte = last.key.charCodeAt(length - 1);
    if (byte < 0xff) return startOf(last.space, last.key.slice(0, length - 1) + String.fromCharCode(byte + 1));
  }
  return startOf(last.space + 1, "");
}

/** Number of characters at the start that two strings share. */
export function sharedLength(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  let at = 0;
  while (at < most && a.charCodeAt(at) === b.charCodeAt(at)) at++;
  return at;
}

export function writePosition(writer: ByteWriter, position: Position): void {
  writer.u8(position.space);
  writer.text(position.key);
  writeVersionPlace(writer, position);
}

/** Main and sub; a single 0 for the position before all versions of a key. */
export function writeVersionPlace(writer: ByteWriter, position: Position): void {
  if (isBetweenKeys(position)) {
    writer.u8(0);
    return;
  }
  writer.varint(position.main);
  writer.varint(position.sub);
}

export function readVersionPlace(reader: ByteReader): { main: number; sub: number } {
  const main = reader.varint();
  if (main === 0) return { main: MAIN_NEWEST, sub: SUB_NEWEST };
  const sub = reader.varint();
  if (main === MAIN_NEWEST || sub >= SUB_NEWEST) throw new RangeError(`main ${main}, sub ${sub}`);
  return { main, sub };
}

export function readPosition(reader: ByteReader): Position {
  const space = reader.u8();
  const key = readText(reader);
  return { space, key, ...readVersionPlace(reader) };
}

/** Length, then characters: a latin1 string. */
function readText(reader: ByteReader): string {
  const length = reader.varint();
  const start = reader.skip(length);
  const { buffer, byteOffset } = reader.bytes;
  return Buffer.from(buffer, byteOffset + start, length).latin1Slice();
}
