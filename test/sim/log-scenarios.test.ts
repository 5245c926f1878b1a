import { rejects } from "node:assert/strict";
import { test } from "node:test";
import { type FencingMutant, fencingScenario } from "./scenario-fencing.ts";
import { type LocalLogMutant, localLogScenario } from "./scenario-local-log.ts";

/** Every mutant is caught by some seed among so many; the rarest needs about 10. */
const MUTANT_SEEDS = 80;

const fencingMutants: FencingMutant[] = [
  "no fence",
  "narrow fence",
  "no second look",
  "window beyond the fence",
  "unknown is written",
  "fences collected",
];
for (const mutant of fencingMutants) {
  test(`fencing: a program with ${mutant} is caught`, async () => {
    await rejects(
      allSeeds((seed) => fencingScenario(seed, {}, mutant)),
      /acknowledged by|does not follow|came back|replay ends|is missing/,
    );
  });
}

const localMutants: LocalLogMutant[] = ["frames not synced", "names not synced", "tail forgotten"];
for (const mutant of localMutants) {
  test(`local log: a program with ${mutant} is caught`, async () => {
    await rejects(
      allSeeds((seed) => localLogScenario(seed, {}, mutant)),
      /acknowledged by|local log|rolled back/,
    );
  });
}

async function allSeeds(run: (seed: number) => Promise<string>): Promise<void> {
  for (let seed = 0; seed < MUTANT_SEEDS; seed++) await run(seed);
}
