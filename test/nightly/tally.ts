import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";

/** What a slice's process prints last. */
export interface SliceResult {
  readonly done: number;
  readonly residentBytesMax: number;
  /** What differs, or went wrong; null: nothing. */
  readonly found: string | null;
}

export interface JobTally {
  /** Of the next slice. */
  seed: number;
  done: number;
  slices: number;
  seconds: number;
  residentBytesMax: number;
}

export interface Finding {
  readonly job: string;
  readonly seed: number;
  readonly what: string;
}

/** What was done so far, in a file, so that a long run can be made in many short ones. */
export interface Tally {
  readonly jobs: Record<string, JobTally>;
  readonly findings: Finding[];
}

const FINDINGS_MAX = 100;

export function readTally(file: string): Tally {
  if (!existsSync(file)) return { jobs: {}, findings: [] };
  return JSON.parse(readFileSync(file, "utf8")) as Tally;
}

/** Whole or not at all: a run may be ended at any time. */
export function writeTally(file: string, tally: Tally): void {
  writeFileSync(`${file}.new`, JSON.stringify(tally, null, 1));
  renameSync(`${file}.new`, file);
}

export function jobTally(tally: Tally, job: string, firstSeed: number): JobTally {
  tally.jobs[job] ??= { seed: firstSeed, done: 0, slices: 0, seconds: 0, residentBytesMax: 0 };
  return tally.jobs[job];
}

/** Counts a slice, which is tried with another seed next time whatever came of it. */
export function count(tally: Tally, job: string, { result, seconds }: { result: SliceResult; seconds: number }): void {
  const of = tally.jobs[job]!;
  if (result.found !== null && tally.findings.length < FINDINGS_MAX) {
    tally.findings.push({ job, seed: of.seed, what: result.found });
  }
  of.seed++;
  of.slices++;
  of.done += result.done;
  of.seconds += seconds;
  of.residentBytesMax = Math.max(of.residentBytesMax, result.residentBytesMax);
}

/** The job of which the least is done for its target; null: all is done. */
export function nextJob(tally: Tally, targets: ReadonlyMap<string, { readonly target: number }>): string | null {
  let next: string | null = null;
  let least = 1;
  for (const [name, { target }] of targets) {
    const share = (tally.jobs[name]?.done ?? 0) / target;
    if (share >= least) continue;
    least = share;
    next = name;
  }
  return next;
}

export function tallyText(tally: Tally, targets: ReadonlyMap<string, { readonly target: number }>): string {
  const lines = [...targets].map(([name, { target }]) => {
    const { done, slices, seconds, residentBytesMax } =
      tally.jobs[name] ?? jobTally({ jobs: {}, findings: [] }, name, 0);
    const memory = `${residentBytesMax >> 20} MiB`;
    return `${name.padEnd(36)} ${done} of ${target}, ${slices} slices, ${Math.round(seconds)} s, at most ${memory}`;
  });
  const found = tally.findings.map(({ job, seed, what }) => `FOUND ${job}, seed ${seed}: ${what}`);
  return [...lines, ...found].join("\n");
}
