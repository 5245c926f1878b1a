import { notEqual } from "node:assert/strict";
import { test } from "node:test";
import { mutants, runDatabaseMutant } from "./database-mutants.ts";
import { firstSeed } from "./mutants.ts";

/** The quick ones; `t4-node test/sim/database-mutants.ts` tries all. */
const quick = [
  "takes an unknown outcome for a success",
  "forgets what only its disk has",
  "lets go of what it did not freeze",
  "skips what a slow watcher has missed",
  "forgets which alarms are raised",
];
const SEEDS = 15;

for (const name of quick) {
  test(`a database that ${name} is noticed`, async () => {
    notEqual(await firstSeed(runDatabaseMutant, mutants[name]!, { seeds: SEEDS }), null);
  });
}
