import { execFile } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs, promisify } from "node:util";
import { emptied, havePeer, t4 } from "../bench/systems.ts";
import { type Order, type Place, VALUE_BYTES } from "./database.ts";
import type { Figures, LibraryJob } from "./library-cases.ts";
import { loadCase, served, serverCase } from "./servers.ts";
import { streamCase } from "./stream-case.ts";
import { type Measured, table } from "./table.ts";

/** `npm run bench:storage -- [--scale 0.1] [--only NAME]`: the storage engine, in the library and in servers. */
const { values: options } = parseArgs({
  options: {
    /** 1: 10 million keys in the library, 1 million in servers. */
    scale: { type: "string", default: "0.1" },
    only: { type: "string", default: "" },
    out: { type: "string", default: "bench-out/storage.json" },
    /** Databases are left here, and a run that leaves `load` out goes on with them: a case at a time. */
    directory: { type: "string" },
  },
});
const scale = Number(options.scale);
if (!(scale > 0)) throw new Error(`--scale: expected a number above 0, not ${options.scale}`);
const directory = resolve(options.directory ?? join(tmpdir(), `t4-bench-storage-${process.pid}`));
if (options.directory === undefined) emptied(directory);
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

const chosen = (name: string): boolean => name.includes(options.only);

async function measure(name: string, take: () => Promise<Figures>): Promise<void> {
  if (!chosen(name)) return;
  const one = { name, figures: await take() };
  measured.push(one);
  console.error(table([one]).split("\n").slice(2).join("\n"));
}

function placeIn(base: string): Place {
  return { store: `file://${join(base, "bucket")}`, dataDirectory: join(base, "node") };
}

/** Whether there is a database to go on with: loaded by this run, or left by one before. */
const isLoaded = (base: string): boolean => existsSync(join(base, "bucket"));

async function libraryCases(): Promise<void> {
  const large = Math.max(1000, Math.round(10_000_000 * scale));
  for (const order of ["in order", "random"] as const satisfies readonly Order[]) {
    const keys = order === "in order" ? large : Math.max(1000, Math.round(large / 5));
    const base = join(directory, `${keys} ${order}`.replaceAll(" ", "-"));
    const place = placeIn(base);
    const job: LibraryJob = { place, keys, order, seconds: 8, valueBytes: VALUE_BYTES };
    const name = `${keys.toLocaleString("en")} keys ${order}`;
    await measure(`${name}: load`, () => {
      emptied(base);
      return library("load", job);
    });
    if (!isLoaded(base)) continue;
    await measure(`${name}: open, warm disk`, () => library("openAndRead", job));
    await measure(`${name}: open, empty disk`, () => {
      // Everything is in the bucket after a clean stop: the node's own directory may go.
      rmSync(place.dataDirectory, { recursive: true, force: true });
      return library("openAndRead", job);
    });
    await measure(`${name}: reads`, () => library("reads", job));
    await measure(`${name}: reads, all over`, () => library("readsAllOver", job));
    await measure(`${name}: reads, disk cache`, () => library("readsFromDiskCache", job));
    await measure(`${name}: RangeStream`, () => streamCase(place));
    await measure(`${name}: put latency`, () => library("latency", job));
    if (options.directory === undefined) emptied(base);
  }
}

/** 10 MB and 10 GB of values: what opening costs must not depend on them. */
async function sizeCases(): Promise<void> {
  const valueBytes = 4096;
  for (const keys of [2500, Math.round(2_500_000 * scale)]) {
    const base = join(directory, `size-${keys}`);
    const place = placeIn(base);
    const job: LibraryJob = { place, keys, order: "in order", seconds: 1, valueBytes };
    const name = `size, ${keys.toLocaleString("en")} values of ${valueBytes} bytes`;
    await measure(`${name}: load`, () => {
      emptied(base);
      return library("load", job);
    });
    if (!isLoaded(base)) continue;
    await measure(`${name}: open, empty disk`, () => {
      rmSync(place.dataDirectory, { recursive: true, force: true });
      return library("openAndRead", job);
    });
    if (options.directory === undefined) emptied(base);
  }
}

async function serverCases(): Promise<void> {
  const keys = Math.max(1000, Math.round(1_000_000 * scale));
  for (const spec of served) {
    const name = `${spec.name}: ${keys.toLocaleString("en")} keys by kvload`;
    await measure(name, () => serverCase(spec, join(directory, "server"), keys));
  }
  const many = 10 * keys;
  await measure(`${t4.name}: ${many.toLocaleString("en")} keys by kvload, load alone`, () =>
    loadCase(t4, join(directory, "server"), many),
  );
}

try {
  await libraryCases();
  await sizeCases();
  if (havePeer("kvload") && havePeer("etcd")) await serverCases();
  else console.error("kvload or etcd is not built (test/peers/build.sh): no comparison of servers");
} finally {
  if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
}
console.log(table(measured));
mkdirSync(dirname(options.out), { recursive: true });
const machine = { cores: cpus().length, model: cpus()[0]?.model ?? "" };
writeFileSync(options.out, `${JSON.stringify({ scale, machine, measured }, null, 2)}\n`);
