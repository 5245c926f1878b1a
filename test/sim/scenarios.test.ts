import { equal, notEqual, rejects } from "node:assert/strict";
import { test } from "node:test";
import { type JournalMutant, journalScenario } from "./scenario-journal.ts";
import { type RegisterMutant, registerScenario } from "./scenario-register.ts";
import { scenarios } from "./scenarios.ts";

const SEEDS = [1, 2, 3];
/** Every mutant is caught by some seed among so many. */
const MUTANT_SEEDS = 12;

for (const [name, scenario] of scenarios) {
  test(`${name}: holds for a few seeds`, async () => {
    for (const seed of SEEDS) await scenario(seed, {});
  });

  test(`${name}: one seed is one trace, another seed is another`, async () => {
    const digest = await scenario(7, {});
    equal(await scenario(7, {}), digest);
    notEqual(await scenario(8, {}), digest);
  });
}

const journalMutants: JournalMutant[] = ["records not synced", "names not synced", "replaced in place"];
for (const mutant of journalMutants) {
  test(`journal: a program with ${mutant} is caught`, async () => {
    await rejects(
      allSeeds((seed) => journalScenario(seed, {}, mutant)),
      /acknowledged|begun/,
    );
  });
}

const registerMutants: RegisterMutant[] = ["unknown is failure", "unknown is success", "no condition"];
for (const mutant of registerMutants) {
  test(`register: a program with ${mutant} is caught`, async () => {
    await rejects(
      allSeeds((seed) => registerScenario(seed, {}, mutant)),
      /acknowledged|refused|no swap undoes/,
    );
  });
}

async function allSeeds(run: (seed: number) => Promise<string>): Promise<void> {
  for (let seed = 0; seed < MUTANT_SEEDS; seed++) await run(seed);
}
