import type { Case } from "./cases.ts";
import type { Sample } from "./measure.ts";

export interface Row {
  case: Case;
  /** By system: the median of its runs, and all of their rates. */
  results: { system: string; median: Sample; rates: number[] }[];
}

const rate = (n: number): string => Math.round(n).toLocaleString("en");
const small = (n: number | null): string => (n === null ? "–" : n >= 100 ? n.toFixed(0) : n.toPrecision(2));

/** A table in Markdown; the first system is the reference. */
export function table(rows: readonly Row[]): string {
  const lines = [
    "| case | system | ops/s | × | p50 ms | p99 ms | server CPU µs | tool CPU µs | peak MiB | runs | target |",
    "|---|---|---|---|---|---|---|---|---|---|---|",
  ];
  for (const row of rows) {
    const reference = row.results[0]!.median;
    for (const { system, median: m, rates } of row.results) {
      const ratio = (m.opsPerSecond / reference.opsPerSecond).toFixed(2);
      const range = `${rate(Math.min(...rates))}–${rate(Math.max(...rates))}`;
      const cells = [row.case.name, system, rate(m.opsPerSecond), ratio, small(m.p50Ms), small(m.p99Ms)];
      cells.push(small(m.serverCpuUs), small(m.toolCpuUs), small(m.peakMiB), range);
      cells.push(system.startsWith("t4") ? verdict(row.case, m, reference) : "");
      lines.push(`| ${cells.join(" | ")} |`);
    }
  }
  return lines.join("\n");
}

/** Each target of the case with whether it was reached: "≥ 4× ✓, ≤ 18 µs ✗". */
export function verdict({ target }: Case, t4: Sample, reference: Sample): string {
  const parts: string[] = [];
  const say = (text: string, reached: boolean) => parts.push(`${text} ${reached ? "✓" : "✗"}`);
  if (target.ratioMin !== undefined)
    say(`≥ ${target.ratioMin}×`, t4.opsPerSecond >= target.ratioMin * reference.opsPerSecond);
  if (target.cpuUsMax !== undefined) say(`≤ ${target.cpuUsMax} µs`, t4.serverCpuUs <= target.cpuUsMax);
  if (target.p99RatioMax !== undefined && t4.p99Ms !== null && reference.p99Ms !== null) {
    say(`p99 ≤ ${target.p99RatioMax}×`, t4.p99Ms <= target.p99RatioMax * reference.p99Ms);
  }
  return parts.join(", ");
}

export interface StartTimes {
  afterStopMs: number[];
  afterKillMs: number[];
}

export function startLine(name: string, { afterStopMs, afterKillMs }: StartTimes): string {
  const list = (ms: number[]) => ms.map((n) => n.toFixed(0)).join(", ");
  const starts = `after a clean stop ${list(afterStopMs)} ms, after kill -9 ${list(afterKillMs)} ms`;
  return `${name}: start to first answer ${starts}`;
}

export interface Memory {
  idleMiB: number;
  peakMiB: number;
}

export const memoryLine = (name: string, { idleMiB, peakMiB }: Memory): string =>
  `${name}: memory idle ${idleMiB.toFixed(0)} MiB, peak in the puts ${peakMiB.toFixed(0)} MiB`;
