import { notEqual } from "node:assert/strict";
import { test } from "node:test";
import { collectionMutants, collectionNoticed } from "./collection-mutants.ts";

/** The quick ones; `t4-node test/sim/collection-mutants.ts` tries all. */
for (const [name, { seed }] of Object.entries(collectionMutants)) {
  if (seed === null) continue;
  test(`a program that ${name} is noticed`, async () => {
    notEqual(await collectionNoticed(collectionMutants[name]!, seed), null);
  });
}
