import { assert } from "../base/assert.ts";
import type { Version } from "./storage.ts";

/**
 * A hash of a multiset of entries: the sum, in four lanes modulo 2^32, of a 128-bit hash of each entry without its
 * effect. It does not depend on order, and what is added can be compared with what was taken away: over a merge, inputs
 * = outputs + dropped. It finds mistakes, not forgers. The hash of an entry is part of the table format
 * (docs/formats/table.md).
 */
export const BEFORE_KEY_BYTES = 24;
const TOMBSTONE = 0x100;

const viewOf = (bytes: Buffer): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

const state = new Uint32Array(4);
let scratch = Buffer.alloc(1024);
let scratchView = viewOf(scratch);

export class ContentHash {
  readonly lanes = new Uint32Array(4);

  add(space: number, version: Version): void {
    hashEntry(space, version);
    for (let i = 0; i < 4; i++) this.lanes[i] = this.lanes[i]! + state[i]!;
  }

  addAll(other: ContentHash): void {
    for (let i = 0; i < 4; i++) this.lanes[i] = this.lanes[i]! + other.lanes[i]!;
  }

  equals(other: ContentHash): boolean {
    return this.lanes.every((lane, i) => lane === other.lanes[i]);
  }

  /** 32 digits: the lanes, each as its little-endian bytes. */
  hex(): string {
    const bytes = Buffer.alloc(16);
    for (let i = 0; i < 4; i++) bytes.writeUInt32LE(this.lanes[i]!, 4 * i);
    return bytes.toString("hex");
  }

  static fromHex(hex: string): ContentHash {
    const bytes = Buffer.from(hex, "hex");
    assert(bytes.length === 16, "a content hash is 32 hex digits");
    const hash = new ContentHash();
    for (let i = 0; i < 4; i++) hash.lanes[i] = bytes.readUInt32LE(4 * i);
    return hash;
  }
}

/** An entry as it stands in a block: its value is [start, end) of the block's bytes. */
export interface EntryHead {
  readonly space: number;
  keyBytes: number;
  tombstone: boolean;
  main: number;
  sub: number;
  start: number;
  end: number;
}

/** Adds an entry of a block to `lanes`; its key stands in `keyScratch`. */
export function hashEncoded(entry: EntryHead, block: DataView, lanes: Uint32Array): void {
  const { space, keyBytes, tombstone, main, sub, start, end } = entry;
  writeHead(space | (tombstone ? TOMBSTONE : 0), keyBytes, main, sub, end - start);
  begin();
  absorbWords(scratchView, 0, BEFORE_KEY_BYTES + keyBytes);
  absorbWords(block, start, end);
  finish();
  for (let i = 0; i < 4; i++) lanes[i] = lanes[i]! + state[i]!;
}

/**
 * Bytes with room for a key of so many, from BEFORE_KEY_BYTES on. What is there stays until an entry is hashed
 * otherwise.
 */
export function keyScratch(keyBytes: number): Buffer {
  if (BEFORE_KEY_BYTES + keyBytes > scratch.length) {
    const larger = Buffer.alloc((BEFORE_KEY_BYTES + keyBytes) * 2);
    scratch.copy(larger);
    scratch = larger;
    scratchView = viewOf(larger);
  }
  return scratch;
}

function hashEntry(space: number, version: Version): void {
  const { key, main, sub, bytes, start, end } = version;
  keyScratch(key.length);
  writeHead(space | (version.tombstone ? TOMBSTONE : 0), key.length, main, sub, end - start);
  scratch.latin1Write(key, BEFORE_KEY_BYTES, key.length);
  begin();
  absorb(scratch, 0, BEFORE_KEY_BYTES + key.length);
  absorb(bytes, start, end);
  finish();
}

function writeHead(kind: number, keyBytes: number, main: number, sub: number, valueBytes: number): void {
  scratchView.setInt32(0, kind, true);
  scratchView.setInt32(4, keyBytes, true);
  scratchView.setInt32(8, main % 0x1_0000_0000, true);
  scratchView.setInt32(12, Math.floor(main / 0x1_0000_0000), true);
  scratchView.setInt32(16, sub, true);
  scratchView.setInt32(20, valueBytes, true);
}

function begin(): void {
  state[0] = 0x243f6a88;
  state[1] = 0x85a308d3;
  state[2] = 0x13198a2e;
  state[3] = 0x03707344;
}

/** Takes in words of four bytes, round and round the four lanes; bytes that are missing at the end count as 0. */
function absorb(bytes: Uint8Array, start: number, end: number): void {
  let a = state[0]!;
  let b = state[1]!;
  let c = state[2]!;
  let d = state[3]!;
  let at = start;
  for (const whole = end - 15; at < whole; at += 16) {
    a = step(a, bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    b = step(b, bytes[at + 4]! | (bytes[at + 5]! << 8) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 24));
    c = step(c, bytes[at + 8]! | (bytes[at + 9]! << 8) | (bytes[at + 10]! << 16) | (bytes[at + 11]! << 24));
    d = step(d, bytes[at + 12]! | (bytes[at + 13]! << 8) | (bytes[at + 14]! << 16) | (bytes[at + 15]! << 24));
  }
  if (at < end) {
    a = step(a, wordAt(bytes, at, end));
    b = step(b, wordAt(bytes, at + 4, end));
    c = step(c, wordAt(bytes, at + 8, end));
    d = step(d, wordAt(bytes, at + 12, end));
  }
  state[0] = a;
  state[1] = b;
  state[2] = c;
  state[3] = d;
}

/** The same of a view, four bytes at a time: twice as fast, but a view must be at hand. */
function absorbWords(view: DataView, start: number, end: number): void {
  let a = state[0]!;
  let b = state[1]!;
  let c = state[2]!;
  let d = state[3]!;
  let at = start;
  for (const whole = end - 15; at < whole; at += 16) {
    a = step(a, view.getInt32(at, true));
    b = step(b, view.getInt32(at + 4, true));
    c = step(c, view.getInt32(at + 8, true));
    d = step(d, view.getInt32(at + 12, true));
  }
  if (at < end) {
    a = step(a, lastWordAt(view, at, end));
    b = step(b, lastWordAt(view, at + 4, end));
    c = step(c, lastWordAt(view, at + 8, end));
    d = step(d, lastWordAt(view, at + 12, end));
  }
  state[0] = a;
  state[1] = b;
  state[2] = c;
  state[3] = d;
}

function lastWordAt(view: DataView, at: number, end: number): number {
  if (at + 4 <= end) return view.getInt32(at, true);
  let word = 0;
  for (let i = 0; at + i < end; i++) word |= view.getUint8(at + i) << (8 * i);
  return word;
}

function wordAt(bytes: Uint8Array, at: number, end: number): number {
  let word = 0;
  for (let i = 0; i < 4 && at + i < end; i++) word |= bytes[at + i]! << (8 * i);
  return word;
}

function step(lane: number, word: number): number {
  let w = Math.imul(word, 0xcc9e2d51);
  w = Math.imul((w << 15) | (w >>> 17), 0x1b873593);
  const h = lane ^ w;
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

/** Mixes the lanes, so that each depends on all. */
function finish(): void {
  for (let round = 0; round < 2; round++) {
    state[0] = state[0]! + state[1]! + state[2]! + state[3]!;
    for (let i = 1; i < 4; i++) state[i] = state[i]! + state[0]!;
    for (let i = 0; i < 4; i++) state[i] = mix(state[i]!);
  }
}

function mix(word: number): number {
  let h = word ^ (word >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}
