import { shown } from "./flat.ts";
import type { SoakResult } from "./soak.ts";

/** What a run came to, for people. */
export function reportOf(result: SoakResult): string {
  const { flat, faults } = result;
  return [
    "",
    `${result.minutes} min on ${result.durability}, seed ${result.seed}: ${result.rounds} rounds, revision ` +
      `${result.revision}, ${result.acknowledged} acknowledged and ${result.observed} observed writes, slowest start ` +
      `${result.startMsMax.toFixed(0)} ms`,
    listed("ends of rounds", result.fates),
    listed("done", result.done),
    listed("errors while nothing was wrong", result.refused),
    listed("errors around kills and pauses", result.broken),
    listed("by the server", result.totals),
    listed("logged", result.logged),
    "",
    row(["", "1st quarter", "2nd", "3rd", "4th", "most", "bound of the 4th"]),
    ...flat.map(({ name, quarters, most, bound, fault }) =>
      row([name, ...[...quarters, most].map(shown), bound + (fault === null ? "" : "  ← GREW")]),
    ),
    "",
    ...(faults.length === 0 ? ["all holds"] : faults.map((fault) => `FAULT: ${fault}`)),
  ].join("\n");
}

const listed = (title: string, counts: Record<string, number>): string =>
  `${title}: ${
    Object.entries(counts)
      .map(([name, count]) => `${name} ${count}`)
      .join(", ") || "none"
  }`;

const row = (cells: readonly string[]): string =>
  cells.map((cell, n) => (n === 0 ? cell.padEnd(24) : cell.padStart(n === cells.length - 1 ? 28 : 12))).join("");
