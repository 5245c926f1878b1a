import { deepEqual, ok } from "node:assert/strict";
import { staleLeases } from "./check-leases.ts";
import { checkHistory } from "./checkers.ts";
import type { Changes } from "./database-node.ts";
import { DatabaseWorld } from "./database-world.ts";
import { createSimulation, type SimulationOptions } from "./simulation.ts";

export type Story = "object" | "local" | "takeover";

/** How long mishaps go on; and how long it may take until every client succeeds once they have ended. */
const TROUBLE_MS = 80_000;
const HEALED_MS = 60_000;
/** Longer than any lease lives on. */
const EXPIRY_MS = 40_000;

/**
 * The whole database: processes over simulated disks and a simulated bucket, clients that do everything that clients
 * do, and every mishap. Then all is healed, and everything must work again; all processes stop cleanly; a fresh node
 * builds the branch from a copy of the bucket alone. All that anybody was ever told must fit what the bucket says in
 * the end (checkers.ts).
 *
 *   object     one node after another: killed, unplugged, stalled, its disk lost, its bucket away
 *   local      one disk; a second node that must be refused; at last, for some seeds, the disk is lost and another
 *   node is forced
 *   takeover   two nodes on one bucket, both wanting to lead; who leads stalls for seconds to hours
 */
export async function databaseScenario(
  story: Story,
  seed: number,
  options: SimulationOptions,
  { changes = {}, settings = false }: { changes?: Changes; settings?: boolean } = {},
): Promise<string> {
  const simulation = createSimulation(seed, options);
  const world = new DatabaseWorld(simulation, story, { changes, settings });
  await simulation.run(async () => {
    await world.begin();
    await world.trouble(TROUBLE_MS);
    world.heal();
    if (story === "takeover" && world.random.chance(0.3)) await world.stallLong();
    if (story === "local" && world.random.chance(0.3)) await world.loseDisk();
    await world.allSucceed(HEALED_MS);
    await world.settle(EXPIRY_MS);
    await world.stop();
    await world.rebuild();
  });
  changes.mend?.();
  const history = world.history();
  deepEqual(checkHistory(history).slice(0, 10), []);
  deepEqual(staleLeases(history, world.leasesInTheEnd, { nowMs: world.settledMs, slackMs: EXPIRY_MS / 2 }), []);
  ok(history.records.length > 5, `only ${history.records.length} records`);
  return simulation.trace.digest();
}

const scenario = (story: Story) => (seed: number, options: SimulationOptions) => databaseScenario(story, seed, options);

export const databaseObject = scenario("object");
export const databaseLocal = scenario("local");
export const databaseTakeover = scenario("takeover");

/** The same with a client that changes users, roles, alarms and members (settings-keeper.ts). */
export const databaseSettings = (seed: number, options: SimulationOptions): Promise<string> =>
  databaseScenario(stories[seed % stories.length]!, seed, options, { settings: true });

const stories: readonly Story[] = ["takeover", "local", "object"];
