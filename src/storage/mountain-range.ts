import { hash } from "node:crypto";
import { assert } from "../base/assert.ts";

/**
 * A Merkle mountain range: a hash over a growing list of ids, such that it grows by one id without the earlier ones at
 * hand, and that an id's place in it is proved by a few hashes. Its mountains are perfect trees, the largest first, one
 * for each bit of the number of leaves.
 *
 *   leaf = SHA-256(0x00, id)    inner node = SHA-256(0x01, left, right)
 */
export interface MountainRange {
  readonly leaves: number;
  /** SHA-256, hex, of each mountain, the largest first. */
  readonly peaks: readonly string[];
}

/** That an id is leaf number `leaf` (from 0): the hashes beside its path, from the leaf up to its peak. */
export interface LeafProof {
  readonly leaf: number;
  readonly path: readonly string[];
}

export const emptyRange: MountainRange = { leaves: 0, peaks: [] };

/** Number of peaks of a range of `leaves`. */
export function peakCount(leaves: number): number {
  let count = 0;
  for (let rest = leaves; rest > 0; rest = Math.floor(rest / 2)) count += rest % 2;
  return count;
}

/**
 * Appends an id; `proofs` are of the range before, and come back as of the range after, with the new leaf's own at the
 * end.
 */
export function appendLeaf(
  range: MountainRange,
  id: string,
  proofs: readonly LeafProof[],
): { range: MountainRange; proofs: LeafProof[] } {
  assert(range.peaks.length === peakCount(range.leaves), "a range has a peak for each bit of its leaves");
  const peaks = [...range.peaks];
  const grown = [...proofs, { leaf: range.leaves, path: [] }];
  let right = leafHash(id);
  let size = 1;
  // Each pair of mountains of one size becomes one of twice the size, as in adding one to a binary number.
  for (let rest = range.leaves; rest % 2 === 1; rest = Math.floor(rest / 2)) {
    const left = peaks.pop()!;
    const firstOfRight = range.leaves + 1 - size;
    const firstOfLeft = firstOfRight - size;
    for (const [i, proof] of grown.entries()) {
      if (proof.leaf < firstOfLeft) continue;
      grown[i] = { leaf: proof.leaf, path: [...proof.path, proof.leaf < firstOfRight ? right : left] };
    }
    right = nodeHash(left, right);
    size *= 2;
  }
  peaks.push(right);
  return { range: { leaves: range.leaves + 1, peaks }, proofs: grown };
}

/** Whether `proof` shows that `id` is in `range`, at the place that it names. */
export function provesLeaf(range: MountainRange, id: string, proof: LeafProof): boolean {
  if (!(proof.leaf >= 0 && proof.leaf < range.leaves)) return false;
  let first = 0;
  for (const [i, height] of mountainHeights(range.leaves).entries()) {
    const size = 2 ** height;
    if (proof.leaf >= first + size) {
      first += size;
      continue;
    }
    if (proof.path.length !== height) return false;
    let found = leafHash(id);
    let place = proof.leaf - first;
    for (const beside of proof.path) {
      found = place % 2 === 1 ? nodeHash(beside, found) : nodeHash(found, beside);
      place = Math.floor(place / 2);
    }
    return found === range.peaks[i];
  }
  return false;
}

/** Of each mountain, the largest first. */
function mountainHeights(leaves: number): number[] {
  const heights: number[] = [];
  for (let height = 0, rest = leaves; rest > 0; height++, rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) heights.unshift(height);
  }
  return heights;
}

const leafBytes = Buffer.alloc(33, 0);
const nodeBytes = Buffer.alloc(65, 1);

function leafHash(id: string): string {
  assert(id.length === 64 && leafBytes.write(id, 1, "hex") === 32, "an id is 64 hex digits");
  return hash("sha256", leafBytes, "hex");
}

function nodeHash(left: string, right: string): string {
  assert(left.length === 64 && right.length === 64, "hashes are 64 hex digits");
  nodeBytes.write(left, 1, "hex");
  nodeBytes.write(right, 33, "hex");
  return hash("sha256", nodeBytes, "hex");
}
