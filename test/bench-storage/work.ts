import {
  type Figures,
  type LibraryJob,
  latency,
  load,
  openAndRead,
  reads,
  readsAllOver,
  readsFromDiskCache,
} from "./library-cases.ts";

/** One case in a process of its own: `work.ts CASE JOB`, both as main.ts gives them; its figures as a line of JSON. */
const cases: Record<string, (job: LibraryJob) => Promise<Figures>> = {
  load,
  openAndRead,
  reads,
  readsAllOver,
  readsFromDiskCache,
  latency,
};
const [name = "", job = "{}"] = process.argv.slice(2);
const run = cases[name];
if (run === undefined) throw new Error(`there is no case ${name}`);
const figures = await run(JSON.parse(job) as LibraryJob);
console.log(JSON.stringify(figures));
