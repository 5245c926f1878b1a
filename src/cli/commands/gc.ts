import { Command } from "commander";
import type { CollectionReport } from "../../collector/collector.ts";
import { durationKind } from "../../server/setting-kinds.ts";
import { CommandError, UsageError } from "../errors.ts";
import { type OfflineContext, offline, offlineOptions } from "../offline.ts";
import { counted, print } from "../output.ts";
import { bytesText, ProgressLine } from "../progress.ts";

const CANDIDATES_MAX = 1_000_000;
const REQUEST_TIMEOUT_MS = 30_000;
const grace = durationKind({ min: 0, max: 366 * 86_400_000 });

interface Options {
  dryRun?: boolean;
  collectGrace: string;
  rate: string;
  list?: boolean;
}

export function gcCommand(): Command {
  const command = new Command("gc")
    .description("Deletes what no branch needs any more: old log, dropped and orphan tables, thinned checkpoints")
    .option("--dry-run", "delete nothing, tell what would be deleted")
    .option("--list", "name each object")
    .option("--collect-grace <duration>", "what was needed so recently stays", "1h")
    .option("--rate <number>", "most deletes a second; 0: as fast as the store takes them", "200")
    .addHelpText(
      "after",
      [
        "\nSafe at any time, also while servers run, branches are cut and other collections are under way. A server",
        "collects by itself (t4 run --collect-interval). What is interrupted is gone on with by the next one.",
        "\nExamples:",
        "  t4 gc --dry-run",
        "  t4 gc --store 's3://bucket/prefix?region=eu-central-1'",
        "  t4 gc --collect-grace 0 --list --json",
      ].join("\n"),
    );
  for (const option of offlineOptions()) command.addOption(option);
  return command.action(async (options: Options, self: Command) => {
    const settings = { graceMs: graceOf(options.collectGrace), deletesPerSecond: rateOf(options.rate) };
    const dryRun = options.dryRun ?? false;
    await offline(self, (context) => collect(context, { ...settings, dryRun, list: options.list ?? false }), {
      writes: !dryRun,
    });
  });
}

/** Branches that have expired go as by t4 branch delete; those whose time of grace is over, for ever. */
async function sweep(context: OfflineContext, graceMs: number): Promise<void> {
  const { branchesOf } = await import("../branch/offline.ts");
  const { expired, purged, failed } = await (await branchesOf(context, { graceMs })).sweep(context.signal);
  if (context.format === "json") return;
  for (const name of expired) print(`branch ${name} has expired, and is deleted`);
  for (const name of purged) print(`branch ${name} was deleted, and has ended`);
  for (const { name, error } of failed) process.stderr.write(`branch ${name} could not be ended: ${error.message}\n`);
}

async function collect(
  context: OfflineContext,
  {
    graceMs,
    deletesPerSecond,
    dryRun,
    list,
  }: { graceMs: number; deletesPerSecond: number; dryRun: boolean; list: boolean },
): Promise<void> {
  const { store, runtime, signal, format } = context;
  if (!dryRun) await sweep(context, graceMs);
  const { Collector, count, emptyReport } = await import("../../collector/collector.ts");
  const collector = new Collector({ store, runtime, requestTimeoutMs: REQUEST_TIMEOUT_MS, graceMs, deletesPerSecond });
  const line = new ProgressLine();
  const names: string[] = [];
  let report = emptyReport();
  try {
    line.show({ phase: "looking for what no branch needs", done: 0, total: 0 });
    if (dryRun) {
      const { candidates } = await collector.plan(CANDIDATES_MAX, { signal });
      for (const candidate of candidates) {
        count(report, candidate);
        if (list) names.push(candidate.key);
      }
    } else {
      let bytes = 0;
      report = await collector.collect({
        signal,
        onDeleted: (candidate) => {
          bytes += candidate.bytes;
          if (list) names.push(candidate.key);
        },
        onProgress: ({ deleted, of }) =>
          line.show({ phase: `deleted ${deleted} of ${of} objects`, done: bytes, total: 0 }),
      });
    }
  } finally {
    line.clear();
  }
  if (format === "json") print(JSON.stringify({ dryRun, ...report, ...(list ? { names } : {}) }));
  else printReport(report, { names, dryRun });
  if (report.interrupted) throw new CommandError("interrupted: the next t4 gc goes on");
}

function printReport(report: CollectionReport, { names, dryRun }: { names: readonly string[]; dryRun: boolean }): void {
  for (const name of names) print(name);
  for (const [why, tally] of Object.entries(report.byReason)) {
    print(`${why}s: ${counted(tally.objects, "object")}, ${bytesText(tally.bytes)}`);
  }
  if (report.kept > 0) print(`${counted(report.kept, "object")} needed again meanwhile: kept`);
  const what = dryRun ? "would be deleted" : "deleted";
  print(
    report.objects === 0
      ? "nothing to delete"
      : `${counted(report.objects, "object")}, ${bytesText(report.bytes)} ${what}`,
  );
}

function graceOf(text: string): number {
  try {
    return grace.parse(text);
  } catch (error) {
    throw new UsageError(`--collect-grace: ${(error as Error).message}`);
  }
}

function rateOf(text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new UsageError(`--rate: expected a whole number, not "${text}"`);
}
