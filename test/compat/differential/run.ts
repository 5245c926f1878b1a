import type { Endpoint } from "../endpoint.ts";
import { type Operation, randomOperations } from "./operations.ts";
import { Pair } from "./pair.ts";
import { shrink } from "./shrink.ts";

export interface Contest {
  readonly seed: number;
  readonly operations: number;
  /** New, empty stores, at each call. */
  readonly left: () => Promise<Endpoint>;
  readonly right: () => Promise<Endpoint>;
  readonly report?: (line: string) => void;
  /** Asked after each operation, with how many were done: no more are wanted. */
  readonly enough?: (done: number) => boolean;
}

const SHRINK_TRIES_MAX = 150;
const REPORT_EVERY = 5000;

export interface Difference {
  readonly operations: readonly Operation[];
  readonly what: string;
}

/** Null, or the first difference with as few operations as could be found to show it. */
export async function contest(options: Contest): Promise<Difference | null> {
  const { report = () => {}, enough = () => false } = options;
  const done: Operation[] = [];
  const source = randomOperations(options.seed);
  const pair = await open(options);
  let what: string | null = null;
  try {
    while (what === null && done.length < options.operations) {
      const operation = source.next().value;
      done.push(operation);
      what = await pair.run(operation);
      if (done.length % REPORT_EVERY === 0) report(`${done.length} operations`);
      if (enough(done.length)) break;
    }
    // What the last watches were told.
    if (what === null) what = await pair.run({ kind: "period", compact: null, watches: [] });
    if (what !== null && done.at(-1)?.kind !== "period") done.push({ kind: "period", compact: null, watches: [] });
  } finally {
    await pair.close();
  }
  if (what === null) return null;
  report(`a difference after ${done.length} operations: shrinking\n  ${what}`);
  let found = what;
  const operations = await shrink(
    done,
    async (candidate) => {
      const again = await play(options, candidate);
      if (again !== null) found = again;
      return again !== null;
    },
    SHRINK_TRIES_MAX,
  );
  return { operations, what: found };
}

/** Plays operations on new stores: null, or how the first differing answers differ. */
export async function play(options: Pick<Contest, "left" | "right">, operations: readonly Operation[]) {
  const pair = await open(options);
  try {
    for (const operation of operations) {
      const what = await pair.run(operation);
      if (what !== null) return what;
    }
    return null;
  } finally {
    await pair.close();
  }
}

async function open({ left, right }: Pick<Contest, "left" | "right">): Promise<Pair> {
  const [one, other] = await Promise.all([left(), right()]);
  return new Pair(one, other);
}
