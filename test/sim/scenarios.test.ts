import { equal, notEqual, ok, rejects } from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type JournalMutant, journalScenario } from "./scenario-journal.ts";
import { type RegisterMutant, registerScenario } from "./scenario-register.ts";
import { scenarios } from "./scenarios.ts";

/** Every mutant is caught by some seed among so many. */
const MUTANT_SEEDS = 12;

for (const [name, scenario] of scenarios) {
  test(`${name}: holds for two seeds; one seed is one trace, another seed is another`, async () => {
    const digest = await scenario(1, {});
    equal(await scenario(1, {}), digest);
    notEqual(await scenario(2, {}), digest);
  });
}

test("one seed is one trace, whatever ran before it in the process", async () => {
  const names = ["collection", "database-object"];
  const main = fileURLToPath(new URL("main.ts", import.meta.url));
  const alone = spawnSync(process.execPath, [...process.execArgv, main, "--seed", "5", ...names], { encoding: "utf8" });
  const expected = [...alone.stdout.matchAll(/^ok +--seed 5 (\S+): trace (\S+)$/gm)].map(([, name, trace]) => [
    name,
    trace,
  ]);
  equal(expected.length, names.length, alone.stdout);
  await scenarios.get("database-local")!(6, {});
  for (const [name, trace] of expected.toReversed()) {
    ok((await scenarios.get(name!)!(5, {})).startsWith(trace!), `${name}: not the trace of a process of its own`);
  }
});

const journalMutants: JournalMutant[] = [
  "records not synced",
  "names not synced",
  "replaced in place",
  "found and not synced",
];
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
