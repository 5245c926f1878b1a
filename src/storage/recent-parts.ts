/** Of memory, what a slot stands for: about a block, unpacked. */
const SLOT_STANDS_FOR_BYTES = 16 << 10;
const SLOTS_MIN = 64;

/**
 * Which parts of tables were asked for lately and not kept: about as many as a cache has room for. It may forget one
 * early, and rarely takes one for another: what is kept then for its first use costs nothing but room.
 */
export class RecentParts {
  readonly #slots: Uint32Array;

  /** Of a cache of so many bytes. */
  constructor(bytesMax: number) {
    const slots = Math.max(SLOTS_MIN, bytesMax / SLOT_STANDS_FOR_BYTES);
    this.#slots = new Uint32Array(1 << (31 - Math.clz32(slots)));
  }

  /** Whether the part at `offset` of table number `table` was met lately; it is from now on. */
  meet(table: number, offset: number): boolean {
    let hash = Math.imul(table + 1, 0x9e3779b1) ^ Math.imul(offset, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 15), 0xc2b2ae35);
    hash = (hash ^ (hash >>> 13)) >>> 0;
    const slot = hash & (this.#slots.length - 1);
    if (this.#slots[slot] === hash) return true;
    this.#slots[slot] = hash;
    return false;
  }
}
