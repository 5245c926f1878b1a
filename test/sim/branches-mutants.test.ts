import { notEqual } from "node:assert/strict";
import { test } from "node:test";
import { branchesMutants, runBranchesMutant } from "./branches-mutants.ts";
import { firstSeed } from "./mutants.ts";

const SEEDS = 6;

for (const [name, mutant] of Object.entries(branchesMutants)) {
  if (mutant.seed === null) continue;
  test(`a program that ${name} is noticed`, async () => {
    notEqual(await firstSeed(runBranchesMutant, mutant, { seeds: SEEDS }), null);
  });
}
