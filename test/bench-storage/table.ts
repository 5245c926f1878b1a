import type { Figures } from "./library-cases.ts";

export interface Measured {
  readonly name: string;
  readonly figures: Figures;
}

/** By the name of a figure: what it is to reach, in cases whose name matches. */
export type Targets = Readonly<
  Record<string, { readonly text: string; reached(value: number): boolean; readonly in: RegExp }>
>;

/** What the engine is built to reach, at full scale. */
const ofStorage: Targets = {
  keysPerSecond: { text: "≥ 100,000", reached: (value) => value >= 100_000, in: /: load$/ },
  rssMaxMiB: { text: "≤ 512", reached: (value) => value <= 512, in: /: load$/ },
  afterMiB: { text: "≤ 250", reached: (value) => value <= 250, in: /^t4/ },
  restartToFirstReadMs: { text: "≤ 500", reached: (value) => value <= 500, in: /^t4/ },
  emptyDiskToFirstReadMs: { text: "≤ 1,000", reached: (value) => value <= 1000, in: /^t4/ },
  firstReadMs: { text: "≤ 1,000 (warm: 300)", reached: (value) => value <= 1000, in: /open/ },
  requests: { text: "≤ 20", reached: (value) => value <= 20, in: /open/ },
  pointsPerSecond: { text: "≥ 300,000", reached: (value) => value >= 300_000, in: /reads$/ },
  rowsPerSecond: { text: "≥ 1,500,000", reached: (value) => value >= 1_500_000, in: /reads$/ },
  cachedPointsPerSecond: { text: "≥ 20,000", reached: (value) => value >= 20_000, in: /disk cache$/ },
  growthMiB: { text: "≤ 64", reached: (value) => value <= 64, in: /RangeStream$/ },
  head10Ms: { text: "≤ 0.3", reached: (value) => value <= 0.3, in: /reads$/ },
  countMs: { text: "≤ 0.3", reached: (value) => value <= 0.3, in: /reads$/ },
};

/** A table in Markdown, a figure a line. */
export function table(measured: readonly Measured[], targets: Targets = ofStorage): string {
  const lines = ["| case | figure | value | target |", "|---|---|---|---|"];
  for (const { name, figures } of measured) {
    for (const [figure, value] of Object.entries(figures)) {
      const target = targets[figure];
      const told = target?.in.test(name) ? `${target.text} ${target.reached(value) ? "✓" : "✗"}` : "";
      lines.push(`| ${name} | ${figure} | ${shown(value)} | ${told} |`);
    }
  }
  return lines.join("\n");
}

const shown = (value: number): string =>
  Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
