import { hash } from "node:crypto";
import { assert } from "../../src/base/assert.ts";
import type { Random } from "../../src/runtime/runtime.ts";

/**
 * Numbers that are a function of a name (which holds the seed). A fork has a stream of its own: what one part of a
 * simulation draws does not shift what the others get, so a small change of a program leaves most of a run as it was.
 * The generator is xoshiro128** (Blackman, Vigna 2018).
 */
export class SimRandom implements Random {
  readonly name: string;
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(name: string) {
    this.name = name;
    const state = hash("sha256", name, "buffer");
    this.#a = state.readInt32LE(0) | 1;
    this.#b = state.readInt32LE(4);
    this.#c = state.readInt32LE(8);
    this.#d = state.readInt32LE(12);
  }

  fork(name: string): SimRandom {
    return new SimRandom(`${this.name}/${name}`);
  }

  uint32(): number {
    const scrambled = Math.imul(rotate(Math.imul(this.#b, 5), 7), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = rotate(this.#d, 11);
    return scrambled;
  }

  float(): number {
    return ((this.uint32() >>> 6) * 2 ** 27 + (this.uint32() >>> 5)) / 2 ** 53;
  }

  bytes(count: number): Buffer {
    const bytes = Buffer.alloc(count);
    for (let at = 0; at < count; at++) bytes[at] = this.uint32() >>> 24;
    return bytes;
  }

  chance(probability: number): boolean {
    return this.float() < probability;
  }

  /** A whole number, least <= n <= most. */
  integer(least: number, most: number): number {
    assert(Number.isInteger(least) && most >= least, "least <= most");
    return least + Math.floor(this.float() * (most - least + 1));
  }

  between(least: number, most: number): number {
    return least + this.float() * (most - least);
  }

  pick<T>(from: readonly T[]): T {
    assert(from.length > 0, "there is something to pick from");
    return from[this.integer(0, from.length - 1)]!;
  }

  /** Mostly near `typicalMs`, now and then ten times that: what waits for others looks like this. */
  latencyMs(typicalMs: number): number {
    const exponential = -Math.log(1 - this.float()) * 0.5 + 0.5;
    return typicalMs * (this.chance(0.02) ? exponential * 10 : exponential);
  }
}

const rotate = (value: number, by: number): number => (value << by) | (value >>> (32 - by));
