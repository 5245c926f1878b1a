import { type ChildProcess, spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { kvload } from "../bench/loads.ts";
import { memoryMiB, run } from "../bench/measure.ts";
import {
  answering,
  emptied,
  etcd,
  goT4OnS3,
  havePeer,
  type System,
  type SystemSpec,
  stop,
  t4,
  t4Args,
  t4Command,
  t4OnS3,
} from "../bench/systems.ts";
import { storeUrlOf } from "../contract/s3-server.ts";
import type { Figures } from "./library-cases.ts";

/** Each loaded by the same tool, killed, and started again; where its data is in a store, also on an empty disk. */
export const served: readonly SystemSpec[] = [etcd, t4, t4OnS3, ...(havePeer("t4") ? [goT4OnS3] : [])];

const BATCH = 100;

function loadArgs(keys: number): string[] {
  return ["load", "-n", String(keys), "-batch", String(BATCH), "-clients", "20", "-conns", "4"];
}

export async function serverCase(spec: SystemSpec, directory: string, keys: number): Promise<Figures> {
  const port = 24_000 + Math.floor(Math.random() * 5000) * 2;
  let system: System = await spec.start(emptied(directory), port);
  const figures: Figures = {};
  try {
    const sample = await run(kvload(system.endpoint, loadArgs(keys), keys / BATCH), system.processes[0]!.pid!);
    figures["keysPerSecond"] = sample.opsPerSecond * BATCH;
    figures["loadP99Ms"] = sample.p99Ms ?? Number.NaN;
    figures["peakMiB"] = sample.peakMiB;
    figures["afterMiB"] = memoryMiB(system.processes[0]!.pid!, "VmRSS");
    if (spec === t4OnS3) {
      await endFirst(system);
      const begun = performance.now();
      const child = startAgain(system, emptied(join(directory, "other")), port);
      await answering(`http://127.0.0.1:${port}/health`, child);
      await firstRead(system.endpoint);
      figures["emptyDiskToFirstReadMs"] = performance.now() - begun;
      system = { ...system, processes: [child] };
    }
    if (spec === t4 || spec === etcd) {
      await stop(system, "SIGKILL");
      const begun = performance.now();
      // The client was there before, as clients are: it asks for the port every 2 ms, and reads as soon as it can.
      const read = firstRead(system.endpoint);
      system = await spec.start(directory, port);
      await read;
      figures["restartToFirstReadMs"] = performance.now() - begun;
    }
  } finally {
    await stop(system);
    rmSync(join(directory), { recursive: true, force: true });
  }
  return figures;
}

/** Loads and looks at the memory, all the while; no more than that. */
export async function loadCase(spec: SystemSpec, directory: string, keys: number): Promise<Figures> {
  const system = await spec.start(emptied(directory), 24_000 + Math.floor(Math.random() * 5000) * 2);
  try {
    const pid = system.processes[0]!.pid!;
    const sample = await run(kvload(system.endpoint, loadArgs(keys), keys / BATCH), pid);
    return {
      keysPerSecond: sample.opsPerSecond * BATCH,
      loadP99Ms: sample.p99Ms ?? Number.NaN,
      cpuUsPerKey: sample.serverCpuUs / BATCH,
      rssMaxMiB: sample.peakMiB,
      rssAfterMiB: memoryMiB(pid, "VmRSS"),
    };
  } finally {
    await stop(system);
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Stops the server alone: the store that it is on goes on. */
async function endFirst({ processes }: System): Promise<void> {
  const child = processes[0]!;
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill("SIGTERM");
  await ended;
}

function startAgain({ s3 }: System, dataDirectory: string, port: number): ChildProcess {
  const args = t4Args(dataDirectory, port, [`--store=${storeUrlOf(s3!)}`]);
  return spawn(t4Command, args, { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, ...s3!.env } });
}

async function firstRead(endpoint: string): Promise<void> {
  const load = kvload(endpoint, ["ready", "-key", "k00000000", "-timeout", "60s"], 1);
  await run({ ...load, parse: () => ({ opsPerSecond: 1, p50Ms: null, p99Ms: null }) }, process.pid);
}
