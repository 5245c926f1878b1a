import { comparePast } from "../branches/past-revisions.ts";
import { authContest } from "../compat/differential/auth-contest.ts";
import { bodyContest } from "../compat/differential/gateway-bodies.ts";
import { contest } from "../compat/differential/run.ts";
import { watchContest } from "../compat/differential/watch-contest.ts";
import type { Endpoint } from "../compat/endpoint.ts";
import { startEtcd } from "../compat/etcd-process.ts";
import { startServer } from "../compat/server-runner.ts";
import { sides } from "../compat/sides.ts";
import { fuzzMethods, services } from "../fuzz/method-fuzz.ts";
import { branchesScenario } from "../sim/scenario-branches.ts";
import { propertiesFail, propertyFiles, seedOf } from "./properties.ts";

/** What a slice of a job is given. `enough` is asked with how much was done so far. */
export interface Slice {
  readonly seed: number;
  readonly enough: (done: number) => boolean;
}

/** Null, or what was found. Throws what nobody expected. */
export type Job = (slice: Slice) => Promise<string | null>;

interface Planned {
  readonly job: Job;
  /** What is done of it altogether before a run is called complete. */
  readonly target: number;
}

/** Contests wait for the servers most of the time, and changed messages for timers: so many go on side by side. */
const LANES = 4;

/** The same job with seeds of their own, side by side; the first finding is told. */
const inLanes =
  (job: Job): Job =>
  async ({ seed, enough }) => {
    const done = Array.from({ length: LANES }, () => 0);
    const found = await Promise.all(
      done.map(async (_none, lane) => {
        const laneSeed = seed * LANES + lane;
        const what = await job({
          seed: laneSeed,
          enough: (soFar) => {
            done[lane] = soFar;
            return enough(done.reduce((sum, each) => sum + each));
          },
        });
        return what === null ? null : `by seed ${laneSeed}: ${what}`;
      }),
    );
    return found.find((what) => what !== null) ?? null;
  };

const UNBOUNDED = Number.MAX_SAFE_INTEGER;

const keysOn =
  (left: keyof typeof sides, right: keyof typeof sides): Job =>
  async ({ seed, enough }) => {
    const found = await contest({ seed, operations: UNBOUNDED, left: sides[left], right: sides[right], enough });
    return found === null ? null : `${found.what}\n${found.operations.map((each) => JSON.stringify(each)).join("\n")}`;
  };

const authOn =
  (left: keyof typeof sides, right: keyof typeof sides): Job =>
  async ({ seed, enough }) => {
    const open: Endpoint[] = await Promise.all([sides[left](), sides[right]()]);
    try {
      return await authContest({ seed, operations: UNBOUNDED, left: open[0]!, right: open[1]!, enough });
    } finally {
      await Promise.all(open.map((side) => side.close()));
    }
  };

const watchesOn =
  (left: keyof typeof sides, right: keyof typeof sides): Job =>
  async ({ seed, enough }) => {
    const open: Endpoint[] = await Promise.all([sides[left](), sides[right]()]);
    try {
      return await watchContest({ seed, left: open[0]!, right: open[1]!, enough });
    } finally {
      await Promise.all(open.map((side) => side.close()));
    }
  };

/** Raw JSON for the gateway, on servers with empty stores. */
const bodies: Job = async ({ seed, enough }) => {
  const [left, right] = await Promise.all([startServer(["--store", "memory:"]), startEtcd()]);
  try {
    return await bodyContest({ seed, bodies: UNBOUNDED, left: left.address, right: right.address, enough });
  } finally {
    await Promise.all([left.stop(), right.stop()]);
  }
};

const fuzz =
  (service: string): Job =>
  async ({ seed, enough }) => {
    await fuzzMethods({ requests: UNBOUNDED, seed, service, enough });
    return null;
  };

/** Simulated worlds of branches, one behind the other; a failure names its seed. */
const simulatedBranches: Job = async ({ seed, enough }) => {
  for (let done = 0; !enough(done); done++) await branchesScenario(seed * SEEDS_A_SLICE + done);
  return null;
};
const SEEDS_A_SLICE = 10_000;

/** Branches cut at random revisions of random histories. */
const pastRevisions: Job = async ({ seed, enough }) => {
  for (let [done, history] = [0, 0]; !enough(done); history++) {
    const { equal } = await comparePast(seed * SEEDS_A_SLICE + history, 25);
    done += equal;
  }
  return null;
};

/** Each slice begins with another file; one that has failed is not run again in it. */
const properties: Job = async ({ seed, enough }) => {
  const files = propertyFiles();
  const found = new Map<string, string>();
  for (let done = 0; !enough(done) && found.size < files.length; done++) {
    const file = files[(seed * FILES_A_SLICE + done) % files.length]!;
    const what = found.has(file) ? null : await propertiesFail(file, seedOf(seed, done));
    if (what !== null) found.set(file, what);
  }
  return found.size === 0 ? null : [...found.values()].join("\n");
};
/** About so many are run in a slice. */
const FILES_A_SLICE = 100;

/** By name; those that come first are taken first where as much of them is done. */
export const jobs: ReadonlyMap<string, Planned> = new Map<string, Planned>([
  ["differential keys", { job: inLanes(keysOn("engine", "etcd")), target: 600_000 }],
  ["differential keys, server", { job: inLanes(keysOn("server", "etcd")), target: 100_000 }],
  ["differential keys, gateway", { job: inLanes(keysOn("gateway", "etcd-gateway")), target: 100_000 }],
  ["differential auth", { job: inLanes(authOn("engine", "etcd")), target: 150_000 }],
  ["differential auth, gateway", { job: inLanes(authOn("gateway", "etcd-gateway")), target: 50_000 }],
  ["differential watches", { job: inLanes(watchesOn("server", "etcd")), target: 20_000 }],
  ["properties", { job: properties, target: 3000 }],
  ["branches, simulated", { job: simulatedBranches, target: 5000 }],
  ["branches, past revisions", { job: pastRevisions, target: 1000 }],
  ["differential gateway bodies", { job: bodies, target: 100_000 }],
  ...services.map(({ typeName }) => [`fuzz ${typeName}`, { job: inLanes(fuzz(typeName)), target: 1_000_000 }] as const),
]);
