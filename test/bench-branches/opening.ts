import { join } from "node:path";
import { KV } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { Repository } from "../../src/gen/t4/v1/repository_pb.ts";
import { memoryMiB } from "../bench/measure.ts";
import type { Figures } from "../bench-storage/library-cases.ts";
import { type Database, keyOf, median, Served, timedMs } from "./place.ts";

const { method } = Repository;
const OPENED = 10;

async function make(served: Served, names: readonly string[]): Promise<void> {
  const client = served.client();
  for (const name of names) await client.repository(["main"], method.branchCreate, { name });
}

/** From the call to the answer of the first linearizable read, of branches that were never open. */
async function firstReads(served: Served, names: readonly string[]): Promise<number[]> {
  const times: number[] = [];
  for (const name of names) {
    const client = served.client(name);
    // The connection is there before. A call that named the branch would open it, to ask who may.
    await client.repository([], method.branchList, {});
    times.push(await timedMs(() => client.unary(KV.method.range, { key: Buffer.from(keyOf(17)) })));
  }
  return times;
}

const namesOf = (prefix: string): string[] => Array.from({ length: OPENED }, (_, n) => `${prefix}-${n}`);

/** On a server that has its caches, and on one that has nothing. */
export async function firstUse(database: Database, directory: string): Promise<Figures> {
  const [warmNames, coldNames] = [namesOf("warm"), namesOf("cold")];
  let served = await Served.start(database);
  await make(served, [...warmNames, ...coldNames]);
  const warm = await firstReads(served, warmNames);
  await served.stop();
  const cold: number[] = [];
  for (const [n, name] of coldNames.slice(0, 3).entries()) {
    served = await Served.start(database, { dataDirectory: join(directory, `empty-${n}`) });
    cold.push(...(await firstReads(served, [name])));
    await served.stop();
  }
  return {
    warmMs: median(warm),
    warmMaxMs: Math.max(...warm),
    emptyDiskMs: median(cold),
    emptyDiskMaxMs: Math.max(...cold),
  };
}

/** Resident memory of a server with so many branches known, and so many of them written and read. */
export async function memoryOfMany(
  database: Database,
  { known, open }: { known: number; open: number },
): Promise<Figures> {
  const served = await Served.start(database);
  try {
    const pid = served.process.pid!;
    const before = memoryMiB(pid, "VmRSS");
    const names = Array.from({ length: known }, (_, n) => `many-${n}`);
    await make(served, names);
    // Main is open, too.
    for (const name of names.slice(0, open - 1)) {
      const client = served.client(name);
      await client.unary(KV.method.put, { key: Buffer.from("/own"), value: Buffer.alloc(256) });
      await client.unary(KV.method.range, { key: Buffer.from(keyOf(17)) });
    }
    const text = await (await fetch(`${served.process.url}/metrics`)).text();
    const openNow = Number(/^t4_branches_open (\d+)$/m.exec(text)?.[1] ?? Number.NaN);
    return {
      openBranches: openNow,
      beforeMiB: before,
      afterMiB: memoryMiB(pid, "VmRSS"),
      peakMiB: memoryMiB(pid, "VmHWM"),
    };
  } finally {
    await served.stop();
  }
}
