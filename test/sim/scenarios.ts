import { branchesScenario } from "./scenario-branches.ts";
import { collectionScenario } from "./scenario-collection.ts";
import { databaseLocal, databaseObject, databaseSettings, databaseTakeover } from "./scenario-database.ts";
import { fencingScenario } from "./scenario-fencing.ts";
import { journalScenario } from "./scenario-journal.ts";
import { leadershipBucket, leadershipLocal, leadershipTerm } from "./scenario-leadership.ts";
import { localLogScenario } from "./scenario-local-log.ts";
import { registerScenario } from "./scenario-register.ts";
import type { SimulationOptions } from "./simulation.ts";

/**
 * Tells one story from a seed and checks it; fails with a SimulationFailure or an assertion. Resolves with its trace's
 * hash.
 */
export type Scenario = (seed: number, options: SimulationOptions) => Promise<string>;

/** What `npm run sim` runs, by name. */
export const scenarios: ReadonlyMap<string, Scenario> = new Map<string, Scenario>([
  ["register", registerScenario],
  ["journal", journalScenario],
  ["leadership-term", leadershipTerm],
  ["leadership-bucket", leadershipBucket],
  ["leadership-local", leadershipLocal],
  ["fencing", fencingScenario],
  ["local-log", localLogScenario],
  ["collection", collectionScenario],
  ["branches", branchesScenario],
  ["database-object", databaseObject],
  ["database-local", databaseLocal],
  ["database-takeover", databaseTakeover],
  ["database-settings", databaseSettings],
]);
