import { notEqual } from "node:assert/strict";
import { test } from "node:test";
import { collectionMutants, runCollectionMutant } from "./collection-mutants.ts";
import { firstSeed } from "./mutants.ts";

const SEEDS = 6;

/** The quick ones; `t4-node test/sim/collection-mutants.ts` tries all. */
for (const [name, mutant] of Object.entries(collectionMutants)) {
  if (mutant.seed === null) continue;
  test(`a program that ${name} is noticed`, async () => {
    notEqual(await firstSeed(runCollectionMutant, mutant, { seeds: SEEDS }), null);
  });
}
