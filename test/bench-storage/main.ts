import { execFile } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { emptied, havePeer } from "../bench/systems.ts";
import type { Order, Place } from "./database.ts";
import type { Figures, LibraryJob } from "./library-cases.ts";
import { served, serverCase } from "./servers.ts";
import { type Measured, table } from "./table.ts";

/** `npm run bench:storage -- [--scale 0.1] [--only NAME]`: the storage engine, in the library and in servers. */
const { values: options } = parseArgs({
  options: {
    /** 1: 10 million keys in the library, 1 million in servers. */
    scale: { type: "string", default: "0.1" },
    only: { type: "string", default: "" },
    out: { type: "string", default: "bench-out/storage.json" },
  },
});
const scale = Number(options.scale);
if (!(scale > 0)) throw new Error(`--scale: expected a number above 0, not ${options.scale}`);
const directory = emptied(join(tmpdir(), `t4-bench-storage-${process.pid}`));
const work = new URL("work.ts", import.meta.url).pathname;
const measured: Measured[] = [];
const LIMIT_MS = 30 * 60_000;

async function library(what: string, job: LibraryJob): Promise<Figures> {
  const { stdout } = await promisify(execFile)(process.execPath, [work, what, JSON.stringify(job)], {
    timeout: LIMIT_MS,
    maxBuffer: 1 << 20,
  });
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as Figures;
}

async function measure(name: string, take: () => Promise<Figures>): Promise<void> {
  if (!name.includes(options.only)) return;
  const one = { name, figures: await take() };
  measured.push(one);
  console.error(table([one]).split("\n").slice(2).join("\n"));
}

async function libraryCases(): Promise<void> {
  const large = Math.max(1000, Math.round(10_000_000 * scale));
  for (const order of ["in order", "random"] as const satisfies readonly Order[]) {
    const keys = order === "in order" ? large : Math.max(1000, Math.round(large / 5));
    const place: Place = {
      store: `file://${join(directory, `${keys}`, "bucket")}`,
      dataDirectory: join(directory, `${keys}`, "node"),
    };
    const job: LibraryJob = { place, keys, order, seconds: 8 };
    const name = `${keys.toLocaleString("en")} keys ${order}`;
    await measure(`${name}: load`, () => library("load", job));
    if (options.only !== "" && measured.length === 0) continue;
    await measure(`${name}: open, warm disk`, () => library("openAndRead", job));
    // Everything is in the bucket after a clean stop: the node's own directory may go.
    rmSync(place.dataDirectory, { recursive: true, force: true });
    await measure(`${name}: open, empty disk`, () => library("openAndRead", job));
    await measure(`${name}: reads`, () => library("reads", job));
    await measure(`${name}: put latency`, () => library("latency", job));
    emptied(join(directory, `${keys}`));
  }
}

async function sizeCases(): Promise<void> {
  for (const keys of [Math.round(40_000 * Math.max(scale, 0.1)), Math.round(4_000_000 * scale)]) {
    const base = join(directory, `size-${keys}`);
    const place: Place = { store: `file://${join(base, "bucket")}`, dataDirectory: join(base, "node") };
    const job: LibraryJob = { place, keys, order: "in order", seconds: 1 };
    const name = `size, ${keys.toLocaleString("en")} keys: open`;
    if (!name.includes(options.only)) continue;
    await library("load", job);
    rmSync(place.dataDirectory, { recursive: true, force: true });
    await measure(name, () => library("openAndRead", job));
    emptied(base);
  }
}

async function serverCases(): Promise<void> {
  const keys = Math.max(1000, Math.round(1_000_000 * scale));
  for (const spec of served) {
    const name = `${spec.name}: ${keys.toLocaleString("en")} keys by kvload`;
    await measure(name, () => serverCase(spec, join(directory, "server"), keys));
  }
}

try {
  await libraryCases();
  await sizeCases();
  if (havePeer("kvload") && havePeer("etcd")) await serverCases();
  else console.error("kvload or etcd is not built (test/peers/build.sh): no comparison of servers");
} finally {
  rmSync(directory, { recursive: true, force: true });
}
console.log(table(measured));
mkdirSync(dirname(options.out), { recursive: true });
const machine = { cores: cpus().length, model: cpus()[0]?.model ?? "" };
writeFileSync(options.out, `${JSON.stringify({ scale, machine, measured }, null, 2)}\n`);
