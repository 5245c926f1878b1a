import { assert } from "../base/assert.ts";
import type { Version } from "./storage.ts";

/**
 * A hash of a multiset of entries: the sum, in four lanes modulo 2^32, of a 128-bit hash of each entry without its
 * effect. It does not depend on order, and what is added can be compared with what was taken away: over a merge, inputs
 * = outputs + dropped. It finds mistakes, not forgers. The hash of an entry is part of the table format
 * (docs/formats/table.md).
 */
const HEAD_BYTES = 24;

const state = new Uint32Array(4);
let scratch = Buffer.alloc(1024);

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

function hashEntry(space: number, version: Version): void {
  const { key, main, sub, bytes, start, end } = version;
  const headBytes = HEAD_BYTES + key.length;
  if (headBytes > scratch.length) scratch = Buffer.alloc(headBytes * 2);
  writeWord(0, space | (version.tombstone ? 0x100 : 0));
  writeWord(4, key.length);
  writeWord(8, main % 0x1_0000_0000);
  writeWord(12, Math.floor(main / 0x1_0000_0000));
  writeWord(16, sub);
  writeWord(20, end - start);
  scratch.latin1Write(key, HEAD_BYTES, key.length);
  state[0] = 0x243f6a88;
  state[1] = 0x85a308d3;
  state[2] = 0x13198a2e;
  state[3] = 0x03707344;
  absorb(scratch, 0, headBytes);
  absorb(bytes, start, end);
  finish();
}

function writeWord(at: number, value: number): void {
  scratch[at] = value;
  scratch[at + 1] = value >>> 8;
  scratch[at + 2] = value >>> 16;
  scratch[at + 3] = value >>> 24;
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
