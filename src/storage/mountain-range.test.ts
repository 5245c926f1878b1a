import { equal } from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { appendLeaf, emptyRange, type LeafProof, type MountainRange, peakCount, provesLeaf } from "./mountain-range.ts";

const idOf = (n: number): string => createHash("sha256").update(String(n)).digest("hex");

function grow(count: number): { range: MountainRange; proofs: LeafProof[] } {
  let grown: { range: MountainRange; proofs: LeafProof[] } = { range: emptyRange, proofs: [] };
  for (let n = 0; n < count; n++) grown = appendLeaf(grown.range, idOf(n), grown.proofs);
  return grown;
}

test("every leaf of every range is proved, and proves no other id and no other place", () => {
  for (let count = 1; count <= 40; count++) {
    const { range, proofs } = grow(count);
    equal(range.peaks.length, peakCount(count));
    equal(proofs.length, count);
    for (const [n, proof] of proofs.entries()) {
      equal(proof.leaf, n);
      equal(provesLeaf(range, idOf(n), proof), true);
      equal(provesLeaf(range, idOf(n + 1), proof), false);
      equal(provesLeaf(range, idOf(n), { ...proof, leaf: (n + 1) % (count + 1) }), false);
    }
  }
});

test("proofs that are kept while others are dropped stay right as the range grows", () => {
  let range = emptyRange;
  let proofs: LeafProof[] = [];
  for (let n = 0; n < 200; n++) {
    ({ range, proofs } = appendLeaf(range, idOf(n), proofs));
    proofs = proofs.filter((proof) => proof.leaf % 7 === 0 || proof.leaf > n - 5);
    for (const proof of proofs) equal(provesLeaf(range, idOf(proof.leaf), proof), true);
  }
});

test("the range of three known ids is the one written down", () => {
  const leaf = (n: number): Buffer =>
    createHash("sha256")
      .update(Buffer.of(0))
      .update(Buffer.from(idOf(n), "hex"))
      .digest();
  const pair = createHash("sha256").update(Buffer.of(1)).update(leaf(0)).update(leaf(1)).digest("hex");
  const { range } = grow(3);
  equal(range.peaks.join(), [pair, leaf(2).toString("hex")].join());
});
