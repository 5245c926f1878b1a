/**
 * npm run soak -- [--minutes 30] [--durability local|object] [--seed N] [--keys N] [--workers N] [--pause MS]: random
 * load, merging, checkpoints, collection and kills of a real process, all of it held against what clients saw, and
 * memory, files and objects sampled. Ends with 1 when anything was lost or grew.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { noS3Server } from "../contract/s3-server.ts";
import { reportOf } from "./report.ts";
import { soak } from "./soak.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "30" },
    durability: { type: "string", default: "local" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    keys: { type: "string", default: "5000" },
    workers: { type: "string", default: "8" },
    pause: { type: "string", default: "8" },
    out: { type: "string", default: "bench-out" },
  },
});
const durability = values.durability === "object" ? "object" : "local";
if (durability === "object" && noS3Server !== false) {
  console.error(noS3Server);
  process.exit(1);
}
console.log(`seed ${values.seed}`);
const result = await soak({
  directory: join(tmpdir(), `t4-soak-${process.pid}`),
  durability,
  minutes: Number(values.minutes),
  seed: Number(values.seed),
  keys: Number(values.keys),
  workers: Number(values.workers),
  pauseMs: Number(values.pause),
  log: (line) => console.log(line),
});
mkdirSync(values.out, { recursive: true });
const path = join(values.out, `soak-${durability}.json`);
writeFileSync(path, JSON.stringify(result));
console.log(reportOf(result));
console.log(`all samples: ${path}`);
process.exit(result.faults.length === 0 ? 0 : 1);
