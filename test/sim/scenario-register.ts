import { deepEqual, equal, ok } from "node:assert/strict";
import { isDbError } from "../../src/base/errors.ts";
import { encodeEnvelope } from "../../src/objects/envelope.ts";
import { prefixes, sessionKey } from "../../src/objects/keys.ts";
import type { ObjectStore, PutCondition } from "../../src/objects/objects.ts";
import { Register, type RegisterState } from "../../src/objects/register.ts";
import { chaos } from "./chaos.ts";
import type { SimMachine } from "./machine.ts";
import type { SimNode } from "./node.ts";
import { SimStorage, someStoreFaults } from "./object-store.ts";
import { createSimulation, type SimulationOptions } from "./simulation.ts";

const ATTEMPTS_PER_NODE = 12;
const key = sessionKey("counter");

/** Ways to get it wrong, for the test that such a program is caught. */
export type RegisterMutant = "unknown is failure" | "unknown is success" | "no condition";

interface Attempt {
  token: string;
  outcome: "swapped" | "conflict" | "unknown" | "nothing" | "pending";
}

interface Body {
  tokens: string[];
}

function decode(json: unknown): Body {
  const { tokens } = json as Body;
  if (!Array.isArray(tokens)) throw new Error("tokens are a list");
  return { tokens };
}

/**
 * Processes on three machines append tokens to one object by compare-and-swap, through every fault of the store and
 * mishap of the machines. Whatever a process was told must be what the bucket's history shows: swapped means there,
 * once and for ever; conflict and failure mean never there.
 */
export async function registerScenario(
  seed: number,
  options: SimulationOptions,
  mutant?: RegisterMutant,
): Promise<string> {
  const simulation = createSimulation(seed, options);
  const storage = new SimStorage(simulation, someStoreFaults);
  const machines = ["a", "b", "c"].map((name, n) => simulation.machine(name, { clockRate: 1 + n * 0.001 }));
  const attempts: Attempt[] = [];
  const running = new Set<SimNode>();
  let last = 0;

  const program = async (node: SimNode): Promise<void> => {
    const { runtime } = node;
    const register = new Register(storage.storeOf(node), key, { runtime, decode });
    for (let n = 0; n < ATTEMPTS_PER_NODE; n++) {
      let state: RegisterState<Body> | null;
      try {
        state = await register.read({ timeoutMs: 5000 });
      } catch (error) {
        ok(isDbError(error, "storeUnavailable"), String(error));
        continue;
      }
      // Most of the time two read the same state and race.
      await new Promise<void>((resolve) => runtime.timers.set(runtime.random.float() * 100, resolve));
      const attempt: Attempt = { token: `${++last}`, outcome: "pending" };
      attempts.push(attempt);
      try {
        const tokens = [...(state?.body.tokens ?? []), attempt.token];
        attempt.outcome =
          mutant === undefined
            ? (await register.swap(state, { tokens }, { timeoutMs: 5000 })).kind
            : await naiveSwap(storage.storeOf(node), state, { tokens, mutant });
      } catch (error) {
        ok(isDbError(error), String(error));
        attempt.outcome = "nothing";
      }
    }
    running.delete(node);
  };

  const start = (machine: SimMachine): void => {
    const node = machine.start();
    running.add(node);
    node.onKilled.push(() => void running.delete(node));
    void program(node);
  };

  await simulation.run(async () => {
    for (const machine of machines) start(machine);
    await chaos(simulation, { machines, storage, durationMs: 20_000, everyMs: 1000, start });
    for (let n = 0; n < 600 && running.size > 0; n++) await simulation.sleep(1000);
    equal(running.size, 0, "with everything healed every program comes to its end");
    // What is late may still come.
    await simulation.sleep(2 * 3_600_000);
  });

  const states = storage.bucket.history.filter((change) => change.key === key).map(({ body }) => tokensIn(body!));
  for (let n = 1; n < states.length; n++) deepEqual(states[n]!.slice(0, -1), states[n - 1], "no swap undoes another");
  const written = new Set(states.at(-1) ?? []);
  for (const { token, outcome } of attempts) {
    if (outcome === "swapped") ok(written.has(token), `token ${token} was acknowledged and is there`);
    if (outcome === "conflict" || outcome === "nothing")
      ok(!written.has(token), `token ${token} was refused and is there`);
  }
  deepEqual(storage.bucket.keys(prefixes.sessions), written.size > 0 ? [key] : []);
  return simulation.trace.digest();
}

/** One PUT, and a guess where its outcome is not known. */
async function naiveSwap(
  store: ObjectStore,
  state: RegisterState<Body> | null,
  { tokens, mutant }: { tokens: string[]; mutant: RegisterMutant },
): Promise<Attempt["outcome"]> {
  const condition: PutCondition = state === null ? { kind: "absent" } : { kind: "match", etag: state.etag };
  const body = encodeEnvelope(key, { counter: (state?.counter ?? 0) + 1, body: { tokens } });
  const unconditional = mutant === "no condition";
  const put = { timeoutMs: 5000, condition: unconditional ? ({ kind: "none" } as const) : condition };
  const { kind } = await store.put(key, body, put);
  if (kind === "written") return "swapped";
  if (kind === "unknown" && !unconditional) return mutant === "unknown is success" ? "swapped" : "nothing";
  return kind === "unknown" ? "unknown" : "nothing";
}

/** Without the register's own decoder: the checker does not trust what it checks. */
function tokensIn(body: Buffer): string[] {
  const found = /"tokens":\[([^\]]*)\]/.exec(body.toString("latin1"));
  return found === null || found[1] === "" ? [] : found[1]!.split(",").map((token) => JSON.parse(token) as string);
}
