/**
 * npm run bench -- [--runs N] [--scale F] [--only TEXT] [--out FILE] [local] [secure] [scale] [object] [start]
 *
 * Starts t4 and its peer on this machine, drives both in turn with the same load tools, and prints a table; FILE gets
 * it as JSON. Each figure is the median of the runs.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Case, localCases, objectCases, secureCases } from "./cases.ts";
import { median, memoryMiB, run, type Sample } from "./measure.ts";
import { type Memory, memoryLine, type Row, type StartTimes, startLine, table } from "./report.ts";
import { scaleResults, scaleText } from "./scale.ts";
import {
  emptied,
  etcd,
  goT4OnS3,
  havePeer,
  nothing,
  type System,
  type SystemSpec,
  stop,
  t4,
  t4OnS3,
  t4WithTls,
  t4WithUsers,
} from "./systems.ts";

const { values: options, positionals } = parseArgs({
  options: {
    runs: { type: "string", default: "3" },
    scale: { type: "string", default: "1" },
    only: { type: "string", default: "" },
    out: { type: "string", default: "bench-out/bench.json" },
  },
  allowPositionals: true,
});
const runs = Number(options.runs);
const scale = Number(options.scale);
const parts = positionals.length > 0 ? positionals : ["local", "secure", "scale", "object", "start"];
const directory = emptied(join(tmpdir(), "t4-bench"));

for (const peer of ["etcd", "etcdctl", "benchmark", "kvload", "scaleload"]) {
  if (!havePeer(peer)) {
    console.error(`${peer} is not built: run test/peers/build.sh`);
    process.exit(1);
  }
}

/** All systems run throughout and idle while another is measured; runs alternate between them. */
async function compare(specs: readonly SystemSpec[], cases: readonly Case[]): Promise<Row[]> {
  const systems: System[] = [];
  const rows: Row[] = [];
  try {
    for (const [n, spec] of specs.entries()) systems.push(await spec.start(join(directory, `${n}`), 23_000 + 10 * n));
    for (const one of cases.filter((c) => c.name.includes(options.only))) {
      rows.push(await measureCase(one, systems));
      console.error(table(rows.slice(-1)).split("\n").slice(2).join("\n"));
    }
  } finally {
    for (const system of systems) await stop(system);
  }
  return rows;
}

async function measureCase(one: Case, systems: readonly System[]): Promise<Row> {
  const taking = systems.filter((system) => system.name !== "nothing" || one.limit === true);
  const samples = new Map<string, Sample[]>(taking.map((system) => [system.name, []]));
  for (const { name, endpoint, processes, scheme, headers } of taking) {
    // The tool that fills a store speaks plain HTTP and has no token: such a system has put what is read.
    const isPlain = scheme === undefined && headers === undefined;
    if (one.prepare !== undefined && name !== "nothing" && isPlain)
      await run(one.prepare(endpoint), processes[0]!.pid!);
  }
  for (let n = 0; n < runs; n++) {
    for (const system of taking) {
      const { name, endpoint, processes } = system;
      samples.get(name)!.push(await run(one.load(endpoint, scale, system), processes[0]!.pid!));
      await sleep(200);
    }
  }
  const results = taking.map(({ name }) => {
    const all = samples.get(name)!;
    return { system: name, median: median(all), rates: all.map((s) => s.opsPerSecond) };
  });
  return { case: one, results };
}

async function startTimes(spec: SystemSpec, port: number): Promise<StartTimes> {
  const place = emptied(join(directory, `start-${port}`));
  const times: StartTimes = { afterStopMs: [], afterKillMs: [] };
  let system = await spec.start(place, port);
  for (let n = 0; n < 2 * runs; n++) {
    const killed = n % 2 === 1;
    await sleep(500);
    await stop(system, killed ? "SIGKILL" : "SIGTERM");
    const begun = performance.now();
    system = await spec.start(place, port);
    (killed ? times.afterKillMs : times.afterStopMs).push(performance.now() - begun);
  }
  await stop(system);
  return times;
}

/** Of a fresh server: at rest, then at the most during the put cases. */
async function memory(spec: SystemSpec, port: number): Promise<Memory> {
  const system = await spec.start(emptied(join(directory, `memory-${port}`)), port);
  const pid = system.processes[0]!.pid!;
  try {
    await sleep(2000);
    const idleMiB = memoryMiB(pid, "VmRSS");
    let peakMiB = idleMiB;
    for (const one of localCases.filter((c) => c.name.startsWith("put ") && !c.name.includes("h2load"))) {
      peakMiB = Math.max(peakMiB, (await run(one.load(system.endpoint, scale, system), pid)).peakMiB);
    }
    return { idleMiB, peakMiB };
  } finally {
    await stop(system);
  }
}

const report: Record<string, unknown> = { node: process.version, runs, scale };
if (parts.includes("local")) {
  const rows = await compare([etcd, t4, nothing], localCases);
  report["local"] = rows;
  console.log(`\nlocal durability, 256 B values, median of ${runs}\n\n${table(rows)}`);
}
if (parts.includes("object") && havePeer("versitygw") && havePeer("t4")) {
  const rows = await compare([goT4OnS3, t4OnS3], objectCases);
  report["object"] = rows;
  console.log(`\nobject durability on an S3 server on loopback, median of ${runs}\n\n${table(rows)}`);
}
if (parts.includes("secure")) {
  const rows = await compare([t4, t4WithUsers, t4WithTls], secureCases);
  report["secure"] = rows;
  console.log(`\nauthentication and TLS, median of ${runs}\n\n${table(rows)}`);
}
if (parts.includes("scale")) {
  const results = await scaleResults(directory, { scale, only: options.only });
  report["scale"] = results;
  console.log(`\nvery many watchers and leases\n\n${scaleText(results)}`);
}
if (parts.includes("start")) {
  const times = { etcd: await startTimes(etcd, 23_500), t4: await startTimes(t4, 23_600) };
  const sizes = { etcd: await memory(etcd, 23_700), t4: await memory(t4, 23_800) };
  report["start"] = times;
  report["memory"] = sizes;
  for (const name of ["etcd", "t4"] as const) {
    console.log(`\n${startLine(name, times[name])}\n${memoryLine(name, sizes[name])}`);
  }
}
mkdirSync(dirname(options.out), { recursive: true });
writeFileSync(options.out, JSON.stringify(report, null, 2));
