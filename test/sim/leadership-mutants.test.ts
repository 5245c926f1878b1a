import { match, ok } from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

/**
 * Leadership broken on purpose, one rule at a time, in a copy of the sources: the simulation must notice each of them
 * within so many seeds, or it proves nothing.
 */
interface Mutant {
  readonly rule: string;
  readonly file: string;
  readonly from: string;
  readonly to: string;
  readonly scenario: "leadership-term" | "leadership-bucket" | "leadership-local";
  readonly seen: RegExp;
  /** Where to begin: a rare one is known to be seen soon after. */
  readonly seed?: number;
}

const SEEDS = 60;
const twoServed = /proves a read in epoch \d+ after epoch \d+ has served/;

const mutants: Mutant[] = [
  {
    rule: "a challenger waits the term out",
    file: "challenge.ts",
    from: "nowMs >= watched.dueMs",
    to: "nowMs >= watched.sinceMs",
    scenario: "leadership-term",
    seen: twoServed,
  },
  {
    rule: "a change of the session begins the wait anew",
    file: "challenge.ts",
    from: "watched !== null && watched.counter === sight.counter",
    to: "watched !== null",
    scenario: "leadership-term",
    seen: twoServed,
  },
  {
    rule: "a branch is taken only once its session is dead",
    file: "acquire.ts",
    from: "if (claim.outlive !== null) {",
    to: 'if (claim.outlive === "") {',
    scenario: "leadership-term",
    seen: twoServed,
  },
  {
    rule: "a term counts from before its renewal was sent",
    file: "heartbeat.ts",
    from: '{ kind: "written", sentAt, termMs }',
    to: '{ kind: "written", sentAt: instant(runtime.clock), termMs }',
    scenario: "leadership-term",
    seen: twoServed,
  },
  {
    rule: "a shorter term holds from the sending of the renewal that promises it",
    file: "heartbeat.ts",
    from: 'this.#term = termAfter(this.#term, { kind: "sent", now: sentAt, termMs });',
    to: "",
    scenario: "leadership-term",
    seen: twoServed,
    seed: 150,
  },
  {
    rule: "a term ends by the monotonic clock too",
    file: "term.ts",
    from: "clock.monotonicMs() < term.until.monotonicMs && clock.wallMs()",
    to: "clock.wallMs()",
    scenario: "leadership-term",
    seen: twoServed,
  },
  {
    rule: "a killed session never lives again",
    file: "heartbeat.ts",
    from: 'if (found.body.state !== "live") return',
    to: "if (false) return",
    scenario: "leadership-term",
    seen: twoServed,
  },
  {
    rule: "a read proof by the bucket looks at the epoch",
    file: "leader-record.ts",
    from: "seen.epoch > mine.epoch || seen.session !== mine.session ||",
    to: "",
    scenario: "leadership-bucket",
    seen: twoServed,
  },
  {
    rule: "an opening that was not swapped is swapped before it is finished",
    file: "claim.ts",
    from: 'swapped: membership === "openingSwapped"',
    to: "swapped: true",
    scenario: "leadership-local",
    seen: /somebody leads and proves reads/,
  },
];

const root = fileURLToPath(new URL("../../", import.meta.url));
let copy = "";

before(() => {
  copy = mkdtempSync(join(tmpdir(), "t4-mutants-"));
  mkdirSync(join(copy, "test"));
  for (const folder of ["src/base", "src/runtime", "src/objects", "src/leadership", "src/log", "test/sim"]) {
    cpSync(join(root, folder), join(copy, folder), { recursive: true });
  }
  cpSync(join(root, "package.json"), join(copy, "package.json"));
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  // The other scenarios may need folders that are not here.
  const only = ["leadership-term", "leadership-bucket", "leadership-local"];
  const names = ["leadershipTerm", "leadershipBucket", "leadershipLocal"];
  writeFileSync(
    join(copy, "test/sim/scenarios.ts"),
    `import { ${names.join(", ")} } from "./scenario-leadership.ts";
import type { SimulationOptions } from "./simulation.ts";
export type Scenario = (seed: number, options: SimulationOptions) => Promise<string>;
export const scenarios: ReadonlyMap<string, Scenario> = new Map([${only.map((name, n) => `["${name}", ${names[n]}]`)}]);
`,
  );
});

after(() => rmSync(copy, { recursive: true, force: true }));

for (const mutant of mutants) {
  test(`noticed when broken: ${mutant.rule}`, () => {
    const file = join(copy, "src/leadership", mutant.file);
    const source = readFileSync(file, "utf8");
    ok(source.includes(mutant.from), `${mutant.file} has the text that the mutant changes`);
    writeFileSync(file, source.replace(mutant.from, mutant.to));
    try {
      const args = [
        join(copy, "test/sim/main.ts"),
        "--seed",
        String(mutant.seed ?? 1),
        "--rounds",
        String(SEEDS),
        mutant.scenario,
      ];
      const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
      ok(status !== 0, `not noticed within ${SEEDS} seeds`);
      match(stdout + stderr, mutant.seen);
    } finally {
      writeFileSync(file, source);
    }
  });
}
