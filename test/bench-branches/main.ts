import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { emptied, havePeer } from "../bench/systems.ts";
import type { Figures } from "../bench-storage/library-cases.ts";
import { type Measured, table } from "../bench-storage/table.ts";
import { createOffline, createOnline, parentUndisturbed } from "./creation.ts";
import { differences } from "./differences.ts";
import { fairness } from "./fairness.ts";
import { firstUse, memoryOfMany } from "./opening.ts";
import { type Database, haveS3, makeDatabase, Served, sizeText } from "./place.ts";
import { targets } from "./targets.ts";

/** `npm run bench:branches -- [--scale 1] [--only TEXT]`: what branches cost, in a directory and on an S3 server. */
const { values: options } = parseArgs({
  options: {
    /** 1: beside 10 MB a database of 1 GB. */
    scale: { type: "string", default: "1" },
    only: { type: "string", default: "" },
    /** Of each phase of a load. */
    seconds: { type: "string", default: "5" },
    out: { type: "string", default: "bench-out/branches.json" },
  },
});
const [scale, seconds] = [Number(options.scale), Number(options.seconds)];
if (!(scale > 0)) throw new Error(`--scale: expected a number above 0, not ${options.scale}`);
if (!(seconds >= 1)) throw new Error(`--seconds: expected a number from 1, not ${options.seconds}`);
const directory = emptied(join(tmpdir(), `t4-bench-branches-${process.pid}`));
const [small, large] = [10_000_000, Math.max(20_000_000, Math.round(1e9 * scale))];
const measured: Measured[] = [];

const wanted = (name: string): boolean => name.includes(options.only);

async function measure(name: string, take: () => Promise<Figures>): Promise<void> {
  if (!wanted(name)) return;
  const one = { name, figures: await take() };
  measured.push(one);
  console.error(table([one], targets).split("\n").slice(2).join("\n"));
}

interface Case {
  readonly name: string;
  take(database: Database, served: Served): Promise<Figures>;
}

const CHANGED = [0, 10, 1000];
/** On a server of their own on the database, after each other. */
const onServer: readonly Case[] = [
  { name: "create online", take: (_database, served) => createOnline(served) },
  { name: "create offline", take: (database) => createOffline(database) },
  ...CHANGED.map((changed) => ({
    name: `diff of ${changed.toLocaleString("en")}`,
    take: (database: Database, served: Served) => differences(database, served, changed),
  })),
  ...(havePeer("benchmark") ? [{ name: "written at full speed", take: writtenWhileCut }] : []),
];

function writtenWhileCut(_database: Database, served: Served): Promise<Figures> {
  return parentUndisturbed(served, seconds);
}

async function casesOf(kind: "directory" | "S3", bytes: number): Promise<void> {
  const prefix = `${sizeText(bytes)}, ${kind}`;
  const cases = onServer.filter(({ name }) => wanted(`${prefix}: ${name}`));
  const alone: [string, (database: Database) => Promise<Figures>][] = [
    [`${prefix}: first use`, (database) => firstUse(database, join(directory, `first-${kind}-${bytes}`))],
  ];
  if (bytes === small) {
    const many = { known: 1000, open: 100 };
    alone.push([`${prefix}: 1,000 known, 100 open`, (database) => memoryOfMany(database, many)]);
    if (havePeer("benchmark")) alone.push([`${prefix}: fairness`, (database) => fairness(database, seconds)]);
  }
  if (cases.length === 0 && !alone.some(([name]) => wanted(name))) return;
  const database = await makeDatabase(kind, directory, bytes);
  try {
    for (const [name, take] of alone) await measure(name, () => take(database));
    if (cases.length === 0) return;
    const served = await Served.start(database);
    try {
      for (const { name, take } of cases) await measure(`${prefix}: ${name}`, () => take(database, served));
    } finally {
      await served.stop();
    }
  } finally {
    await database.stop();
  }
}

try {
  for (const bytes of [small, large]) {
    await casesOf("directory", bytes);
    if (haveS3) await casesOf("S3", bytes);
  }
  if (!haveS3) console.error("versitygw is not built (test/peers/build.sh): nothing was measured on S3");
  if (!havePeer("benchmark")) console.error("benchmark is not built (test/peers/build.sh): nothing was loaded");
} finally {
  rmSync(directory, { recursive: true, force: true });
}
console.log(table(measured, targets));
mkdirSync(dirname(options.out), { recursive: true });
const machine = { cores: cpus().length, model: cpus()[0]?.model ?? "" };
writeFileSync(options.out, `${JSON.stringify({ scale, seconds, machine, measured }, null, 2)}\n`);
