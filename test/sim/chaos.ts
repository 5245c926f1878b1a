import type { SimMachine } from "./machine.ts";
import { type SimStorage, STORE_HOST } from "./object-store.ts";
import type { Simulation } from "./simulation.ts";

export interface ChaosOptions {
  machines: readonly SimMachine[];
  storage?: SimStorage;
  /** How long it goes on, and the mean time between two mishaps. */
  durationMs: number;
  everyMs: number;
  /** Starts the program on a machine on which no process runs any more. */
  start: (machine: SimMachine) => void;
}

/**
 * Mishaps by the seed: kills, power failures, stalls, cuts, outages, jumps of clocks. When it has ended, everything is
 * healed and every machine runs a process that is awake: what does not get done then never will be.
 */
export async function chaos(simulation: Simulation, options: ChaosOptions): Promise<void> {
  const random = simulation.random.fork("chaos");
  const endMs = simulation.nowMs + options.durationMs;
  while (simulation.nowMs < endMs) {
    await simulation.sleep(random.between(0, 2 * options.everyMs));
    await mishap(simulation, options, random.pick(options.machines), random.integer(0, 6));
  }
  for (const machine of options.machines) {
    simulation.network.heal(machine.name, STORE_HOST);
    for (const other of options.machines) if (other !== machine) simulation.network.heal(machine.name, other.name);
    for (const node of machine.nodes) node.resume();
    if (machine.nodes.length === 0) options.start(machine);
  }

  async function mishap(
    simulation: Simulation,
    options: ChaosOptions,
    machine: SimMachine,
    kind: number,
  ): Promise<void> {
    const lastsMs = random.between(0, random.pick([50, 1000, 30_000]));
    const restart = async (): Promise<void> => {
      await simulation.sleep(random.between(0, 500));
      if (machine.nodes.length === 0) options.start(machine);
    };
    switch (kind) {
      case 0:
        for (const node of machine.nodes) node.kill();
        return restart();
      case 1:
        machine.crash();
        return restart();
      case 2:
        for (const node of machine.nodes) if (!node.stalled) node.stallFor(lastsMs);
        return;
      case 3:
        options.storage?.outage(lastsMs);
        return;
      case 4:
        return cutFor(machine.name, STORE_HOST, lastsMs);
      case 5: {
        const other = random.pick(options.machines);
        if (other !== machine) cutFor(machine.name, other.name, lastsMs);
        return;
      }
      default:
        machine.jumpWallClock(random.integer(-5000, 5000));
    }
  }

  function cutFor(a: string, b: string, lastsMs: number): void {
    if (simulation.network.isCut(a, b)) return;
    simulation.network.cut(a, b);
    simulation.schedule(lastsMs, null, `the cut between ${a} and ${b} ends`, () => simulation.network.heal(a, b));
  }
}
