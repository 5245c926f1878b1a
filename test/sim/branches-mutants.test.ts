import { ok } from "node:assert/strict";
import { test } from "node:test";
import { branchesMutants, branchesNoticed } from "./branches-mutants.ts";

/** Which seed notices one changes with whatever the program does otherwise: it is one among so many. */
const SEEDS = 6;

for (const [name, mutant] of Object.entries(branchesMutants)) {
  const { seed } = mutant;
  if (seed === null) continue;
  test(`a program that ${name} is noticed`, async () => {
    let how: string | null = null;
    for (let n = 0; how === null && n < SEEDS; n++) how = await branchesNoticed(mutant, seed + n);
    ok(how !== null, `${SEEDS} seeds from ${seed} on do not notice it`);
  });
}
