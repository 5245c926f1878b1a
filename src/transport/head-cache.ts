import type { RequestHead } from "./request-head.ts";

const SLOTS = 16;
/** Blocks longer than this are not kept: sixteen of them are what a connection may hold. */
const BLOCK_BYTES_MAX = 512;

interface Slot {
  readonly generation: number;
  readonly block: Buffer;
  readonly head: RequestHead;
}

/**
 * Header blocks of one connection and what they meant. A block that puts nothing into the dynamic table means the same
 * for as long as the table is the same (its generation); clients send one such block for each call of a method.
 */
export class HeadCache {
  private readonly slots: (Slot | undefined)[] = new Array(SLOTS).fill(undefined);

  find(bytes: Buffer, start: number, end: number, generation: number): RequestHead | undefined {
    const slot = this.slots[slotOf(bytes, start, end)];
    if (slot === undefined || slot.generation !== generation) return undefined;
    const block = slot.block;
    if (block.length !== end - start) return undefined;
    for (let i = 0; i < block.length; i++) if (block[i] !== bytes[start + i]) return undefined;
    return slot.head;
  }

  keep(bytes: Buffer, start: number, end: number, generation: number, head: RequestHead): void {
    if (end - start > BLOCK_BYTES_MAX) return;
    this.slots[slotOf(bytes, start, end)] = { generation, block: Buffer.from(bytes.subarray(start, end)), head };
  }
}

/** Methods of one client differ in the path, whose bytes lie somewhere in the middle. */
function slotOf(bytes: Buffer, start: number, end: number): number {
  let hash = end - start;
  for (let at = start + 2; at < end; at += 3) hash = (Math.imul(hash, 31) + bytes[at]!) | 0;
  return (hash ^ (hash >>> 7)) & (SLOTS - 1);
}
