import { notEqual } from "node:assert/strict";
import { test } from "node:test";
import { branchesMutants, branchesNoticed } from "./branches-mutants.ts";

for (const [name, mutant] of Object.entries(branchesMutants)) {
  const { seed } = mutant;
  if (seed === null) continue;
  test(`a program that ${name} is noticed`, async () => {
    notEqual(await branchesNoticed(mutant, seed), null);
  });
}
