import { jobs } from "./jobs.ts";
import type { SliceResult } from "./tally.ts";

/** One slice of a job, in a process of its own: slice.ts JOB SEED SECONDS. The last line it prints is its result. */
const [name = "", seed, seconds] = process.argv.slice(2);
const planned = jobs.get(name);
if (planned === undefined) throw new Error(`there is no job ${name}`);
const endMs = performance.now() + Number(seconds) * 1000;
let done = 0;
let residentBytesMax = 0;
const sampler = setInterval(() => {
  residentBytesMax = Math.max(residentBytesMax, process.memoryUsage.rss());
}, 500);
let found: string | null;
try {
  found = await planned.job({
    seed: Number(seed),
    enough: (soFar) => {
      done = soFar;
      return performance.now() >= endMs;
    },
  });
} catch (error) {
  found = error instanceof Error ? `${error.stack}\n${error.cause ?? ""}` : String(error);
}
clearInterval(sampler);
const result: SliceResult = { done, residentBytesMax, found };
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(found === null ? 0 : 1));
