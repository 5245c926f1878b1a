import { grown } from "./memtable-versions.ts";

const KEYS_MIN = 16;

/**
 * Numbers keys 0, 1, 2 … in the order of their coming: a hash table with open addressing over columns. Measured against
 * a Map of strings: twice as fast to fill, and nothing for the collector of garbage but the keys themselves.
 */
export class KeyTable {
  readonly keys: string[] = [];
  readonly #seed: number;
  #hashes = new Uint32Array(KEYS_MIN);
  #slots = new Int32Array(2 * KEYS_MIN).fill(-1);

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** The key's number, or −1. */
  find(key: string): number {
    const hash = hashOf(key, this.#seed);
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const id = slots[slot]!;
      if (id < 0 || (this.#hashes[id] === hash && this.keys[id] === key)) return id;
    }
  }

  /** Adds a key that is not there; returns its number. */
  add(key: string): number {
    const id = this.keys.push(key) - 1;
    if (id === this.#hashes.length) this.#hashes = grown(this.#hashes, new Uint32Array(2 * id));
    const hash = hashOf(key, this.#seed);
    this.#hashes[id] = hash;
    if (2 * this.keys.length > this.#slots.length) this.#rehash();
    else this.#place(hash, id);
    return id;
  }

  #place(hash: number, id: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = hash & mask;
    while (slots[slot]! >= 0) slot = (slot + 1) & mask;
    slots[slot] = id;
  }

  #rehash(): void {
    this.#slots = new Int32Array(this.#slots.length * 2).fill(-1);
    for (let id = 0; id < this.keys.length; id++) this.#place(this.#hashes[id]!, id);
  }
}

/** Continued from a random seed, so that nobody can choose keys that all collide. */
function hashOf(key: string, seed: number): number {
  let hash = seed;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
