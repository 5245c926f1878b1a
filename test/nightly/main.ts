/**
 * npm run nightly -- [--minutes 60] [--slice 120] [--tally FILE] [--job NAME] [--seed N]: what takes too long for each
 * change. Random operations compared with a real etcd, and changed messages for each service, in slices, each in a
 * process of its own with a seed of its own; what was done is added up in a file, so that the next run goes on. Ends
 * with 1 when anything was found. `--job` and `--seed` play one slice again.
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { etcdIsMissing } from "../compat/etcd-process.ts";
import { jobs } from "./jobs.ts";
import { count, jobTally, nextJob, readTally, type SliceResult, tallyText, writeTally } from "./tally.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "60" },
    slice: { type: "string", default: "120" },
    tally: { type: "string", default: "nightly.json" },
    job: { type: "string" },
    seed: { type: "string" },
  },
});
const etcd = etcdIsMissing();
if (etcd !== false) throw new Error(etcd);
const sliceSeconds = Number(values.slice);
const endMs = performance.now() + Number(values.minutes) * 60_000;
/** What a slice may take beyond its time: its end, and making what it found smaller. */
const GRACE_MS = 120_000;
/** No job holds more than what an etcd of this size takes. */
const RESIDENT_BYTES_MAX = 1 << 30;
const FIRST_SEED = 1_000_000;

const tally = readTally(values.tally);
do {
  const name = values.job ?? nextJob(tally, jobs);
  if (name === null) break;
  const of = jobTally(tally, name, FIRST_SEED);
  if (values.seed !== undefined) of.seed = Number(values.seed);
  const startedMs = performance.now();
  const result = await runSlice(name, of.seed);
  console.log(`${name}, seed ${of.seed}: ${result.done} done${result.found === null ? "" : `, FOUND ${result.found}`}`);
  count(tally, name, { result, seconds: (performance.now() - startedMs) / 1000 });
  writeTally(values.tally, tally);
} while (performance.now() + sliceSeconds * 1000 < endMs && values.seed === undefined);
console.log(tallyText(tally, jobs));
if (tally.findings.length > 0) process.exitCode = 1;

async function runSlice(name: string, seed: number): Promise<SliceResult> {
  const file = fileURLToPath(new URL("slice.ts", import.meta.url));
  const child = spawn(process.execPath, [...process.execArgv, file, name, String(seed), String(sliceSeconds)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-100_000);
    });
  }
  const late = setTimeout(() => child.kill("SIGKILL"), sliceSeconds * 1000 + GRACE_MS);
  const ended = await new Promise<string>((resolve) =>
    child.on("close", (code, signal) => resolve(`${code ?? signal}`)),
  );
  clearTimeout(late);
  const last = output.trimEnd().split("\n").at(-1) ?? "";
  if (!last.startsWith('{"done"')) return { done: 0, residentBytesMax: 0, found: `it ended with ${ended}: ${output}` };
  const result = JSON.parse(last) as SliceResult;
  if (result.found !== null || result.residentBytesMax <= RESIDENT_BYTES_MAX) return result;
  return { ...result, found: `it took ${result.residentBytesMax >> 20} MiB` };
}
