import { objectStoreContract } from "../contract/objects.ts";
import { SimStorage, someStoreFaults } from "./object-store.ts";
import { createSimulation } from "./simulation.ts";

/** The suite runs in real time beside the world, which goes on until its store is closed. */
function contract(name: string, seed: number, faulty: boolean): void {
  objectStoreContract(name, async () => {
    const simulation = createSimulation(seed);
    const storage = new SimStorage(simulation);
    if (faulty) Object.assign(storage.faults, { slow: someStoreFaults.slow, slowMsMax: 500 });
    const node = simulation.machine("a").start();
    const closed = Promise.withResolvers<void>();
    const ended = simulation.run(() => closed.promise, { drivenFromOutside: true });
    return {
      store: storage.storeOf(node),
      runtime: node.runtime,
      close: async () => {
        closed.resolve();
        await ended;
      },
    };
  });
}

contract("of the simulation", 1, false);
contract("of the simulation, slow", 2, true);
