import { assert } from "../base/assert.ts";

/**
 * A bloom filter over (space, key), in partitions, each small enough to be a cached block; a key's hash chooses its
 * partition (docs/formats/table.md). About one in a hundred missing keys is taken for present.
 */
const BITS_PER_KEY = 10;
const PROBES = 7;
const PARTITION_BYTES_MAX = 8192;

export interface BloomShape {
  readonly partitions: number;
  readonly partitionBytes: number;
}

export function bloomShape(keys: number): BloomShape {
  const bytes = Math.max(8, Math.ceil((keys * BITS_PER_KEY) / 8));
  const partitions = Math.ceil(bytes / PARTITION_BYTES_MAX);
  return { partitions, partitionBytes: Math.ceil(bytes / partitions) };
}

/** The two 32-bit hashes of a key. */
export class KeyHash {
  first = 0;
  second = 0;

  of(space: number, key: string): this {
    let a = 0x811c9dc5 ^ space;
    let b = 0x9e3779b9 ^ space;
    for (let i = 0; i < key.length; i++) {
      const byte = key.charCodeAt(i);
      a = Math.imul(a ^ byte, 0x01000193);
      b = Math.imul(b + byte, 0x85ebca6b) ^ (b >>> 15);
    }
    this.first = mix(a ^ key.length);
    this.second = mix(b);
    return this;
  }

  /** The same, of a key that is bytes[start, end). */
  ofBytes(space: number, bytes: Uint8Array, start: number, end: number): this {
    let a = 0x811c9dc5 ^ space;
    let b = 0x9e3779b9 ^ space;
    for (let i = start; i < end; i++) {
      const byte = bytes[i]!;
      a = Math.imul(a ^ byte, 0x01000193);
      b = Math.imul(b + byte, 0x85ebca6b) ^ (b >>> 15);
    }
    this.first = mix(a ^ (end - start));
    this.second = mix(b);
    return this;
  }
}

/** The first hash, of a key that is put together from bytes: continued from what its beginning gave. */
export const FirstHash = {
  of: (space: number): number => 0x811c9dc5 ^ space,
  go(state: number, bytes: Uint8Array, start: number, end: number): number {
    for (let a = state; ; a = Math.imul(a ^ bytes[start++]!, 0x01000193)) if (start === end) return a;
  },
  end: (state: number, length: number): number => mix(state ^ length),
};

function mix(word: number): number {
  let h = word ^ (word >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

export const partitionOf = (hash: KeyHash, shape: BloomShape): number => hash.first % shape.partitions;

/** Sets the key's bits in the partitions, which lie one behind the other. */
export function addToBloom(bytes: Uint8Array, shape: BloomShape, hash: KeyHash): void {
  const start = partitionOf(hash, shape) * shape.partitionBytes;
  assert(start + shape.partitionBytes <= bytes.length, "a bloom filter has all its partitions");
  const bits = shape.partitionBytes * 8;
  for (let probe = 0; probe < PROBES; probe++) {
    const bit = bitOf(hash, probe, bits);
    bytes[start + (bit >>> 3)]! |= 1 << (bit & 7);
  }
}

/** False: the key is not there for sure. `partition` is the one that `partitionOf` names. */
export function mayHold(partition: Uint8Array, hash: KeyHash): boolean {
  const bits = partition.length * 8;
  for (let probe = 0; probe < PROBES; probe++) {
    const bit = bitOf(hash, probe, bits);
    if ((partition[bit >>> 3]! & (1 << (bit & 7))) === 0) return false;
  }
  return true;
}

/** The first hash, turned, so that bits do not follow from the partition that it chose. */
const bitOf = (hash: KeyHash, probe: number, bits: number): number =>
  ((Math.imul(hash.second, 2 * probe + 1) + Math.imul(hash.first, 0x9e3779b1) + probe * probe) >>> 0) % bits;
