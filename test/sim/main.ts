import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { type Scenario, scenarios } from "./scenarios.ts";

/**
 * npm run sim -- [--seed N] [--rounds K] [scenario …]
 *
 * Runs each scenario (default: all) with the seeds N, N+1 … N+K−1, and each of them twice where `--twice` is given, to
 * see that the two traces are equal. Without a seed takes a random one; the seed is printed first, so that what fails
 * can be replayed.
 */
const USAGE = `usage: npm run sim -- [--seed N] [--rounds K] [--twice] [scenario ...]
scenarios: ${[...scenarios.keys()].join(", ")}`;

interface Plan {
  seed: number;
  rounds: number;
  twice: boolean;
  chosen: [string, Scenario][];
}

function plan(): Plan {
  const { values, positionals } = parseArgs({
    options: { seed: { type: "string" }, rounds: { type: "string" }, twice: { type: "boolean" } },
    allowPositionals: true,
  });
  const seed = values.seed === undefined ? randomInt(2 ** 32) : Number(values.seed);
  const rounds = Number(values.rounds ?? "1");
  if (!Number.isSafeInteger(seed) || seed < 0) throw new Error(`--seed is a whole number, not ${values.seed}`);
  if (!Number.isSafeInteger(rounds) || rounds < 1)
    throw new Error(`--rounds is a whole number from 1, not ${values.rounds}`);
  const names = positionals.length > 0 ? positionals : [...scenarios.keys()];
  const chosen = names.map((name): [string, Scenario] => {
    const scenario = scenarios.get(name);
    if (scenario === undefined) throw new Error(`there is no scenario "${name}"`);
    return [name, scenario];
  });
  return { seed, rounds, twice: values.twice === true, chosen };
}

async function run({ seed, rounds, twice, chosen }: Plan): Promise<boolean> {
  console.log(`seed ${seed}, ${rounds} rounds of ${chosen.map(([name]) => name).join(", ")}`);
  for (let round = 0; round < rounds; round++) {
    for (const [name, scenario] of chosen) {
      try {
        const digest = await scenario(seed + round, {});
        if (twice && (await scenario(seed + round, {})) !== digest) throw new Error("two runs of one seed differ");
        console.log(`ok    --seed ${seed + round} ${name}: trace ${digest.slice(0, 16)}`);
      } catch (error) {
        console.log(`FAIL  --seed ${seed + round} ${name}`);
        console.log(error instanceof Error ? (error.stack ?? error.message) : error);
        return false;
      }
    }
  }
  return true;
}

let planned: Plan;
try {
  planned = plan();
} catch (error) {
  console.error(`${error instanceof Error ? error.message : error}\n${USAGE}`);
  process.exit(2);
}
process.exitCode = (await run(planned)) ? 0 : 1;
