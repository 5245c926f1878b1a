import type { Log } from "./logger.ts";

export type BugScope = "call" | "branch" | "process";

/** More different ones are counted, and told of without their stack. */
const STACKS_MAX = 100;
/** The same one again is told of no more often than this. */
const REPEAT_MS = 60_000;

const sentences: Readonly<Record<BugScope, string>> = {
  call: "a bug was met: its call was answered Internal, nothing else is touched by it",
  branch: "a bug was met where a branch is written: the branch is built anew from what is durable",
  process: "a bug was met that nobody owns: the process ends, what was acknowledged is safe",
};

/**
 * Broken promises of the program, told with their stacks and counted. What a caller can bring about over and over fills
 * no log: of each kind one line a minute.
 */
export class Bugs {
  readonly #log: Log;
  readonly #monotonicMs: () => number;
  /** By where they were thrown; when each was last told of. */
  readonly #told = new Map<string, number>();
  /** One that has ended a branch is thrown to its caller, too: it counts once. */
  readonly #known = new WeakSet<object>();
  readonly counts: Record<BugScope, number> = { call: 0, branch: 0, process: 0 };

  constructor(log: Log, monotonicMs: () => number) {
    this.#log = log;
    this.#monotonicMs = monotonicMs;
  }

  met(scope: BugScope, error: unknown, facts: Readonly<Record<string, unknown>> = {}): void {
    if (error instanceof Error) {
      if (this.#known.has(error)) return;
      this.#known.add(error);
    }
    this.counts[scope]++;
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const place = placeOf(stack);
    const nowMs = this.#monotonicMs();
    const lastMs = this.#told.get(place);
    if (scope !== "process") {
      if (lastMs !== undefined && nowMs - lastMs < REPEAT_MS) return;
      if (lastMs === undefined && this.#told.size >= STACKS_MAX) return;
    }
    this.#told.set(place, nowMs);
    this.#log.error(sentences[scope], { ...facts, error: stack });
  }
}

/** The innermost frames: a message may carry what its caller sent, and is another one each time. */
function placeOf(stack: string): string {
  const frames = stack.split("\n").filter((line) => line.startsWith("    at "));
  return frames.length === 0 ? stack.slice(0, 200) : frames.slice(0, 2).join("\n");
}
