import { diskContract } from "../contract/disk.ts";
import { createSimulation } from "./simulation.ts";

let seed = 0;

/** Each test has a world of its own, which goes on beside it in real time until the test has ended. */
diskContract("of the simulation", async () => {
  const simulation = createSimulation(++seed);
  const { disk } = simulation.machine("a").start().runtime;
  const closed = Promise.withResolvers<void>();
  const ended = simulation.run(() => closed.promise, { drivenFromOutside: true });
  await disk.makeDirectory("/data");
  const close = async (): Promise<void> => {
    closed.resolve();
    await ended;
  };
  return { disk, directory: "/data", close };
});
