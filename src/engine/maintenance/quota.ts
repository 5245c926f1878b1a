import type { PutRequest, RequestOp, TxnRequest } from "../engine.ts";

/** What a change costs beyond its bytes, as etcd reckons (M3). */
const PUT_OVERHEAD_BYTES = 256;
export const LEASE_COST = 64;

export const putCost = ({ key, value }: PutRequest): number => key.length + value.length + PUT_OVERHEAD_BYTES;

/** Of the dearer branch; 0 where neither can put (T16). */
export function txnCost(txn: TxnRequest): number {
  const { plain } = txn;
  if (plain !== undefined) return plain.pairBytes + plain.keys.length * PUT_OVERHEAD_BYTES;
  return Math.max(costOf(txn.success), costOf(txn.failure));
}

function costOf(ops: readonly RequestOp[]): number {
  let sum = 0;
  for (const op of ops) {
    if (op.kind === "put") sum += putCost(op);
    else if (op.kind === "txn") sum += txnCost(op);
  }
  return sum;
}

/**
 * Whether there is room for a change, before it is sequenced: live versions count, so deleting always makes room, and
 * what is merged away later never was in the way. Without a quota nothing is asked.
 */
export class Quota {
  readonly bytes: number | null;
  readonly #used: () => number;

  constructor(bytes: number | null, used: () => number) {
    this.bytes = bytes;
    this.#used = used;
  }

  hasRoomFor(cost: number): boolean {
    return this.bytes === null || cost === 0 || this.#used() + cost < this.bytes;
  }
}
