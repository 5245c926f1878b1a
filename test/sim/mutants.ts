import { parseArgs } from "node:util";

/** A program that is broken in one way, from outside. The simulation must notice it. */
export interface Mutant {
  /** Of the first seeds one that notices it; null: none is known, and a test of its own has the interleaving. */
  readonly seed: number | null;
  /** Breaks it; returns what makes it whole again. */
  readonly break?: () => () => void;
}

/** Runs the scenario of a mutant; fails where it notices anything. */
export type RunMutant<M extends Mutant> = (mutant: M, seed: number, mend: () => void) => Promise<unknown>;

/** Breaks the program, runs, mends it. Resolves with how it was noticed, or null. */
export async function noticedBy<M extends Mutant>(run: RunMutant<M>, mutant: M, seed: number): Promise<string | null> {
  const mend = mutant.break?.() ?? (() => {});
  try {
    await run(mutant, seed, mend);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    mend();
  }
}

/**
 * The first of some seeds that notices it, beginning with the one that is known. Which one does changes with whatever
 * the program does otherwise: it is one among so many.
 */
export async function firstSeed<M extends Mutant>(
  run: RunMutant<M>,
  mutant: M,
  { from = mutant.seed ?? 1, seeds }: { from?: number | undefined; seeds: number },
): Promise<{ readonly seed: number; readonly how: string } | null> {
  for (let seed = from; seed < from + seeds; seed++) {
    const how = await noticedBy(run, mutant, seed);
    if (how !== null) return { seed, how };
  }
  return null;
}

/** `t4-node FILE [--from N] [--seeds N] [mutant …]`: tells which seed notices each; ends with 1 where none does. */
export async function mutantsMain<M extends Mutant>(
  mutants: Readonly<Record<string, M>>,
  run: RunMutant<M>,
  { what, seeds }: { what: string; seeds: number },
): Promise<void> {
  const options = { seeds: { type: "string" }, from: { type: "string" } } as const;
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  for (const [name, mutant] of Object.entries(mutants)) {
    if (positionals.length > 0 && !positionals.includes(name)) continue;
    const from = values.from === undefined ? undefined : Number(values.from);
    const found = await firstSeed(run, mutant, { from, seeds: Number(values.seeds ?? seeds) });
    if (found === null) process.exitCode = 1;
    console.log(`${found === null ? "NOT NOTICED" : `noticed by seed ${found.seed}`}: ${what} that ${name}`);
    if (found !== null) console.log(`    ${tellingLine(found.how)}`);
  }
}

const tellingLine = (how: string): string =>
  (how.split("\n").find((line) => /^\+ +'|Error:/.test(line)) ?? how).slice(0, 200);
