import type { Sample } from "./samples.ts";

/** What must not grow: its values of the last quarter, against those of the quarter before it. */
export interface Bound {
  readonly name: string;
  /** Within one life of the process, the long one; else over the whole run. */
  readonly within: "life" | "run";
  /**
   * The median of the last quarter is at most that of the third one, times this, and this much more. Null: not judged,
   * for a short run has not come to rest.
   */
  readonly growth: { readonly factor: number; readonly slack: number } | null;
  /** No value is ever above it. */
  readonly most: number;
}

export interface Flatness {
  readonly name: string;
  /** Medians of the four quarters. */
  readonly quarters: readonly number[];
  readonly most: number;
  readonly bound: string;
  /** Null where it is as it must be. */
  readonly fault: string | null;
}

export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN;
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

export function judge(bound: Bound, samples: readonly Sample[], longLife: number): Flatness {
  const { name, growth, most } = bound;
  const counted = samples.filter((sample) => sample[name] !== undefined);
  const some = bound.within === "run" ? counted : counted.filter(({ life }) => life === longLife);
  const from = some[0]?.atMs ?? 0;
  const lasts = (some.at(-1)?.atMs ?? 0) - from + 1;
  const quarters = [0, 1, 2, 3].map((quarter) =>
    median(some.filter(({ atMs }) => Math.floor((4 * (atMs - from)) / lasts) === quarter).map((each) => each[name]!)),
  );
  const greatest = counted.reduce((max, each) => Math.max(max, each[name]!), 0);
  const limit = growth === null ? Number.POSITIVE_INFINITY : quarters[2]! * growth.factor + growth.slack;
  const faults = [];
  if (Number.isNaN(quarters[2]) || Number.isNaN(quarters[3])) {
    if (growth !== null) faults.push("was not sampled");
  } else if (quarters[3]! > limit) faults.push(`grew from ${shown(quarters[2]!)} to ${shown(quarters[3]!)}`);
  if (greatest > most) faults.push(`was ${shown(greatest)}`);
  const fault = faults.length === 0 ? null : `${name} ${faults.join(", ")}`;
  return { name, quarters, most: greatest, bound: `${shown(limit)}, never ${shown(most)}`, fault };
}

export const shown = (value: number): string => (Number.isInteger(value) ? String(value) : value.toFixed(1));
