/**
 * npm run faults -- [--rounds 200] [--durability local|object] [--lose-disk-every N] [--seed N]: the nightly run of
 * kill.test.ts.
 */

import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { noS3Server } from "../contract/s3-server.ts";
import { killRounds } from "./rounds.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "200" },
    durability: { type: "string", default: "local" },
    "lose-disk-every": { type: "string", default: "0" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
  },
});
const durability = values.durability === "object" ? "object" : "local";
if (durability === "object" && noS3Server !== false) {
  console.error(noS3Server);
  process.exit(1);
}
console.log(`seed ${values.seed}`);

/** mulberry32 */
let state = Number(values.seed) >>> 0;
const random = (): number => {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), state | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
};

const directory = join(tmpdir(), `t4-faults-${process.pid}`);
const result = await killRounds({
  directory,
  durability,
  s3: durability === "object",
  rounds: Number(values.rounds),
  loseDiskEvery: Number(values["lose-disk-every"]),
  random,
  log: (line) => console.log(line),
});
rmSync(directory, { recursive: true, force: true });
console.log(
  `${result.rounds} rounds on ${durability}: ${result.acknowledged} acknowledged and ${result.observed} observed ` +
    `writes all there, head ${result.revision}, slowest start ${result.startMsMax.toFixed(0)} ms`,
);
