import { benchmark, h2load, kvload, type Shape, watchBenchmark } from "./loads.ts";
import type { Load } from "./measure.ts";
import type { System } from "./systems.ts";

/** What is asked of t4 in a case; `ratio` is against the reference system's median rate in the same run. */
export interface Target {
  ratioMin?: number;
  cpuUsMax?: number;
  /** t4's p99 against the reference's. */
  p99RatioMax?: number;
}

export interface Case {
  name: string;
  /** Fills the store with what the load reads. */
  prepare?: (endpoint: string) => Load;
  load: (endpoint: string, scale: number, system: System) => Load;
  target: Target;
  /** "nothing" can answer it: the load tool's own limit is measured too. */
  limit?: boolean;
}

const shape = (clients: number, connections: number): Shape => ({ clients, connections });
const times = (operations: number, scale: number): number => Math.max(100, Math.round(operations * scale));

const fill = (prefix: string) => (endpoint: string) =>
  kvload(endpoint, ["load", "-n", "1000", "-batch", "1", "-prefix", prefix, "-clients", "20"], 1000);

function h2(what: "range" | "put", clients: number, connections: number, operations: number, target: Target): Case {
  return {
    name: `${what} by h2load, ${connections} × ${clients / connections}`,
    ...(what === "range" ? { prepare: fill("g") } : {}),
    load: (_endpoint, scale, system) => h2load(system, what, shape(clients, connections), times(operations, scale)),
    target,
    limit: true,
  };
}

function get(clients: number, connections: number, operations: number, target: Target): Case {
  const args = (n: number) => ["range", "g00000000", "--consistency=l", `--total=${n}`];
  return {
    name: `get ${clients}/${connections}`,
    prepare: fill("g"),
    load: (endpoint, scale) => {
      const n = times(operations, scale);
      return benchmark(endpoint, shape(clients, connections), args(n), n);
    },
    target,
    limit: true,
  };
}

function put(clients: number, connections: number, operations: number, target: Target): Case {
  const fixed = ["put", "--key-size=8", "--val-size=256", "--sequential-keys", "--key-space-size=100000"];
  return {
    name: `put ${clients}/${connections}`,
    load: (endpoint, scale) => {
      const n = times(operations, scale);
      return benchmark(endpoint, shape(clients, connections), [...fixed, `--total=${n}`], n);
    },
    target,
    limit: true,
  };
}

const mixed: Case = {
  name: "txn-mixed 1:1 100/10",
  load: (endpoint, scale) => {
    const n = times(20_000, scale);
    const args = [
      "txn-mixed",
      "--key-space-size=1000",
      "--val-size=256",
      "--limit=10",
      "--rw-ratio=1",
      `--total=${n}`,
      "x",
    ];
    return benchmark(endpoint, shape(100, 10), args, n);
  },
  target: { ratioMin: 1.5, cpuUsMax: 45 },
};

const rangeOfThousand: Case = {
  name: "range of 1,000 keys 100/10",
  prepare: fill("r/"),
  load: (endpoint, scale) => {
    const n = times(2_500, scale);
    return benchmark(endpoint, shape(100, 10), ["range", "r/", "r0", "--limit=1000", `--total=${n}`], n);
  },
  target: { cpuUsMax: 500 },
};

const watch: Case = {
  name: "watch: 1,000 watchers on 10 keys, events",
  load: (endpoint, scale) => watchBenchmark(endpoint, times(10_000, scale)),
  target: { ratioMin: 1.5 },
};

const leaseGrant: Case = {
  name: "lease grant 100/10",
  load: (endpoint, scale) => {
    const n = times(20_000, scale);
    return kvload(endpoint, ["lease", "-n", `${n}`, "-clients", "100", "-conns", "10"], n);
  },
  target: { cpuUsMax: 45 },
};

const leaseKeepAlive: Case = {
  name: "lease keep-alive 100/10",
  load: (endpoint, scale) => {
    const n = times(20_000, scale);
    return benchmark(endpoint, shape(100, 10), ["lease-keepalive", `--total=${n}`], n);
  },
  target: { cpuUsMax: 25 },
};

/**
 * In `local` durability beside etcd. The mix comes first: its ranges start at the first key, so the store should be
 * small.
 */
export const localCases: readonly Case[] = [
  mixed,
  h2("range", 100, 100, 100_000, { ratioMin: 4, cpuUsMax: 18 }),
  h2("range", 1000, 10, 200_000, { ratioMin: 8, cpuUsMax: 8 }),
  h2("put", 100, 100, 60_000, { ratioMin: 4, cpuUsMax: 35 }),
  h2("put", 1000, 10, 100_000, { ratioMin: 5, cpuUsMax: 16 }),
  get(100, 10, 60_000, { ratioMin: 1.8, cpuUsMax: 20, p99RatioMax: 0.5 }),
  get(1000, 100, 60_000, { ratioMin: 1.8, cpuUsMax: 20, p99RatioMax: 0.5 }),
  put(100, 10, 40_000, { ratioMin: 2, cpuUsMax: 40, p99RatioMax: 0.5 }),
  put(1000, 100, 40_000, { ratioMin: 1.6, cpuUsMax: 40, p99RatioMax: 0.5 }),
  put(1, 1, 2_000, { ratioMin: 1.2 }),
  get(1, 1, 8_000, { ratioMin: 1.3 }),
  rangeOfThousand,
  watch,
  leaseGrant,
  leaseKeepAlive,
];

/** What a user's token and TLS cost: the reference is t4 without either. */
export const secureCases: readonly Case[] = [h2("range", 100, 100, 100_000, {}), h2("range", 1000, 10, 200_000, {})];

/** In `object` durability on an S3 server beside the Go system on the same. */
export const objectCases: readonly Case[] = [
  put(1, 1, 1_000, { ratioMin: 1.2 }),
  put(100, 10, 40_000, { ratioMin: 1.5, cpuUsMax: 60 }),
  put(1000, 100, 40_000, { ratioMin: 1.4, cpuUsMax: 60 }),
];
