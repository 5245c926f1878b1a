import type { Simulation } from "./simulation.ts";

/** So often what must succeed is begun anew. */
const TRIES_MAX = 10;
const PAUSE_MS = 1000;

/** With nothing in the way a request still takes longer than its time, now and then: what failed of it begins anew. */
export async function surely<T>(
  simulation: Simulation,
  work: () => Promise<T>,
  isOrdinary: (error: unknown) => boolean,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (!isOrdinary(error) || tries === TRIES_MAX) throw error;
      await simulation.sleep(PAUSE_MS);
    }
  }
}
