import { setTimeout as sleep } from "node:timers/promises";
import { noNotices } from "../../src/engine/host/notices.ts";
import { OfflineBranches } from "../../src/engine/host/offline-branches.ts";
import { Repository } from "../../src/gen/t4/v1/repository_pb.ts";
import { lookForRepository } from "../../src/leadership/repository.ts";
import { MeteredStore } from "../../src/objects/metered.ts";
import { openStore } from "../../src/objects/open-store.ts";
import { parseStoreUrl } from "../../src/objects/store-url.ts";
import { createNodeRuntime } from "../../src/runtime/node.ts";
import { benchmark } from "../bench/loads.ts";
import { run } from "../bench/measure.ts";
import { requestsOf } from "../bench-storage/database.ts";
import type { Figures } from "../bench-storage/library-cases.ts";
import { type Database, median, quantile, type Served, timedMs } from "./place.ts";

const { method } = Repository;
const CREATIONS = 20;
let made = 0;
const nextName = (): string => `b-${++made}`;

/** Through the server that leads the parent, one after the other. */
export async function createOnline(served: Served): Promise<Figures> {
  const client = served.client();
  const create = (): Promise<unknown> => client.repository(["main"], method.branchCreate, { name: nextName() });
  await create();
  const [times, requests]: [number[], number[]] = [[], []];
  for (let i = 0; i < CREATIONS; i++) {
    const before = await served.requests();
    times.push(await timedMs(create));
    requests.push((await served.requests()) - before);
  }
  return { createRequests: median(requests), createMs: median(times), createMaxMs: Math.max(...times) };
}

/** On the bucket, while the server goes on. */
export async function createOffline(database: Database): Promise<Figures> {
  const runtime = createNodeRuntime();
  const request = { timeoutMs: 30_000 };
  const credentials = {
    accessKeyId: process.env["AWS_ACCESS_KEY_ID"] ?? "",
    secretAccessKey: process.env["AWS_SECRET_ACCESS_KEY"] ?? "",
  };
  const inner = await openStore(parseStoreUrl(database.store), runtime, { credentials: async () => credentials });
  const repository = (await lookForRepository(inner, request))!;
  const [times, requests]: [number[], number[]] = [[], []];
  try {
    for (let i = 0; i < CREATIONS; i++) {
      const store = new MeteredStore(inner, runtime.clock);
      const parts = { store, runtime, repository, request, dataDirectory: null, graceMs: 0, notices: noNotices };
      const asked = { name: nextName(), from: "main", moment: { kind: "newest" }, expiresInMs: null } as const;
      const branches = new OfflineBranches(parts);
      times.push(await timedMs(() => branches.create({ ...asked, stripAuth: false, stripLeases: false })));
      requests.push(requestsOf(store).requests);
    }
  } finally {
    await inner.close();
  }
  return { createRequests: median(requests), createMs: median(times), createMaxMs: Math.max(...times) };
}

const ROUNDS = 7;
/** In each round. */
const CREATIONS_A_ROUND = 15;
const LOAD = { clients: 100, connections: 10 };
const VALUE = ["--val-size=256", "--key-space-size=100000", "--sequential-keys"];

/** Puts at full speed, each round once alone and once with creations beside it, evenly over its time. */
export async function parentUndisturbed(served: Served, seconds: number): Promise<Figures> {
  const pid = served.process.pid!;
  const puts = (total: number) =>
    benchmark(served.process.endpoint, LOAD, ["put", ...VALUE, `--total=${total}`], total);
  const client = served.client();
  const warm = await run(puts(20_000), pid);
  const total = Math.round(warm.opsPerSecond * seconds);
  const [alone, beside, times]: [number[], number[], number[]] = [[], [], []];
  const rates = { alone: [] as number[], beside: [] as number[] };
  for (let round = 0; round < ROUNDS; round++) {
    const before = await run(puts(total), pid);
    alone.push(before.p99Ms!);
    rates.alone.push(before.opsPerSecond);
    const load = run(puts(total), pid);
    for (let i = 0; i < CREATIONS_A_ROUND; i++) {
      const pause = sleep((seconds * 900) / CREATIONS_A_ROUND);
      times.push(await timedMs(() => client.repository(["main"], method.branchCreate, { name: nextName() })));
      await pause;
    }
    const during = await load;
    beside.push(during.p99Ms!);
    rates.beside.push(during.opsPerSecond);
  }
  return {
    putsPerSecond: median(rates.alone),
    putsPerSecondDuring: median(rates.beside),
    p99Ms: median(alone),
    p99MsDuring: median(beside),
    p99Ratio: median(beside) / median(alone),
    // Of each pair: one phase has a checkpoint, or none.
    p99PairRatio: median(beside.map((each, round) => each / alone[round]!)),
    createMs: median(times),
    createP99Ms: quantile(times, 0.99),
  };
}
