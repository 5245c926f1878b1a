import { deepEqual } from "node:assert/strict";
import { type Outcome, type Program, run, start, words } from "./command-line.ts";
import { type NormalOutcome, NormalText } from "./normal-text.ts";
import type { LastingStep, Step } from "./script-steps.ts";

/** A program and the server that it speaks to. */
export interface Side {
  readonly name: string;
  /** What plays a line. */
  readonly program: (line: string) => Program;
}

const INTERRUPTED_TIMEOUT_MS = 5_000;

/** Plays each step on both sides at once; what they print and how they end must be the same, as `shown` shows it. */
export async function playScript(
  steps: readonly Step[],
  sides: readonly [Side, Side],
  shown: (outcome: NormalOutcome) => unknown = (outcome) => outcome,
): Promise<void> {
  const texts = [new NormalText(), new NormalText()];
  for (const step of steps) {
    const line = typeof step === "string" ? step : step.line;
    const [left, right] = await Promise.all(
      sides.map(async ({ program }, n) => ({ line, ...texts[n]!.of(await play(program(line), step, texts[n]!)) })),
    );
    const told = `${line}: ${JSON.stringify({ [sides[0].name]: left, [sides[1].name]: right }, null, 1)}`;
    deepEqual(shown(left!), shown(right!), told);
  }
}

function play(program: Program, step: Step, text: NormalText): Promise<Outcome> {
  const withLeases = (line: string) =>
    line
      .replace(/\{lease (\d+)\}/g, (_match, n: string) => text.lease(Number(n)))
      .replace(/\{member (\d+)\}/g, (_match, n: string) => text.member(Number(n)));
  const args = words(withLeases(typeof step === "string" ? step : step.line));
  if (typeof step === "string") return run(program, args);
  if ("until" in step) return playLasting(program, args, step);
  return run(program, args, typeof step.stdin === "string" ? withLeases(step.stdin) : step.stdin);
}

async function playLasting(program: Program, args: string[], step: LastingStep): Promise<Outcome> {
  const running = start(program, args);
  if (step.stdin === undefined) running.child.stdin!.end();
  else running.child.stdin!.write(step.stdin);
  for (const { after, line } of step.meanwhile ?? []) {
    await running.hasWritten(after);
    await run(program, words(line));
  }
  await running.hasWritten(step.until);
  running.child.kill("SIGINT");
  return running.ended(INTERRUPTED_TIMEOUT_MS);
}
