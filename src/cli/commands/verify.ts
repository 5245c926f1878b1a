import { Command } from "commander";
import type { BranchReport, VerifyReport } from "../../readers/verify.ts";
import { CommandError } from "../errors.ts";
import { offline, offlineOptions } from "../offline.ts";
import { counted, print } from "../output.ts";
import { bytesText, ProgressLine } from "../progress.ts";
import { traceOne } from "../trace-branch.ts";

interface Options {
  quick?: boolean;
  listGarbage?: boolean;
  trust?: string[];
}

export function verifyCommand(): Command {
  const command = new Command("verify")
    .description("Checks every object of a repository, from its store alone; a server may go on meanwhile")
    .option("--quick", "everything but the data of tables, which is most of the bytes")
    .option("--list-garbage", "name each object that exists and that nothing names")
    .argument("[branch]", "prove this one's chain alone: from its tip to its origin, and through its ancestors")
    .option("--trust <files...>", "public keys, PEM (Ed25519): the tip must be signed by one of them")
    .addHelpText(
      "after",
      [
        "\nChecked are the chain of checkpoints and of the log, every table's name (SHA-256), blocks, order, sums and",
        "content hash, what is named and must exist, and the small objects. Each fault is printed with the object's",
        "name, what was expected and what was found; then the exit code is 1. Nothing is ever written.",
        "\nExamples:",
        "  t4 verify",
        "  t4 verify --quick --store 's3://bucket/prefix?region=eu-central-1'",
        "  t4 verify --store file:///var/lib/t4/store --json",
        "  t4 verify staging --trust release.pub",
      ].join("\n"),
    );
  for (const option of offlineOptions()) command.addOption(option);
  return command.action(async (branch: string | undefined, options: Options, self: Command) => {
    if (branch !== undefined || options.trust !== undefined)
      return traceOne(self, branch ?? "main", options.trust ?? []);
    await offline(self, async ({ store, runtime, request, format }) => {
      const { verifyRepository } = await import("../../readers/verify.ts");
      const line = new ProgressLine();
      const begunMs = performance.now();
      let report: VerifyReport;
      try {
        const onProgress = (progress: Parameters<ProgressLine["show"]>[0]) => line.show(progress);
        report = await verifyRepository({ store, runtime, request, quick: options.quick ?? false, onProgress });
      } finally {
        line.clear();
      }
      if (format === "json") print(JSON.stringify(jsonOf(report)));
      else printReport(report, { listGarbage: options.listGarbage ?? false, ms: performance.now() - begunMs });
      const { faultsFound } = report.findings;
      if (faultsFound > 0) throw new CommandError(`${faultsFound} ${faultsFound === 1 ? "fault" : "faults"} found`);
    });
  });
}

function printReport(report: VerifyReport, { listGarbage, ms }: { listGarbage: boolean; ms: number }): void {
  const { findings, tables } = report;
  for (const { object, what } of findings.faults) print(`fault: ${object}: ${what}`);
  if (findings.faultsFound > findings.faults.length) {
    print(`fault: … and ${findings.faultsFound - findings.faults.length} more`);
  }
  for (const notice of findings.notices) print(`note: ${notice}`);
  if (listGarbage) {
    for (const { object, bytes, why } of findings.garbage) print(`garbage: ${object} (${bytesText(bytes)}) ${why}`);
  }
  for (const branch of report.branches) for (const line of branchLines(branch)) print(line);
  const objects = `${counted(report.objects, "object")}, ${bytesText(report.bytes)}`;
  const named = counted(tables.named, "table");
  print(`${report.store}: ${objects}; ${named} that checkpoints name, ${tables.unnamed} that none does`);
  if (report.duplicateBytes > 0) {
    print(
      `stored twice: ${bytesText(report.duplicateBytes)} in ${counted(report.duplicates.length, "group")} of tables`,
    );
  }
  if (findings.garbageFound > 0) {
    const hint = listGarbage ? "" : " (--list-garbage names them)";
    const garbage = counted(findings.garbageFound, "object");
    print(`garbage: ${garbage}, ${bytesText(findings.garbageBytes)}, that nothing names${hint}`);
  }
  const how = report.quick ? "quick: the data of tables was not read" : "every byte was read";
  const faults = findings.faultsFound === 0 ? "no faults" : counted(findings.faultsFound, "fault");
  print(`${faults} in ${(ms / 1000).toFixed(1)} s (${how})`);
}

function branchLines(branch: BranchReport): string[] {
  const { names, id, epoch, revision, durability, checkpoints, retained, segments, records } = branch;
  const log = `${counted(segments, "segment")} (${bytesText(branch.logBytes)})`;
  const tables = `${counted(branch.tables, "table")} (${bytesText(branch.tableBytes)})`;
  return [
    `branch ${names.join(", ") || id}: epoch ${epoch}, revision ${revision ?? "unknown"}, ${durability ?? "never led"}`,
    `  ${counted(checkpoints, "checkpoint")}, of which the newest retains ${retained}`,
    `  ${log}, ${counted(records, "record")} from the first slot kept on`,
    `  ${tables}, ${counted(branch.keys ?? 0, "key")} as of the newest checkpoint`,
  ];
}

function jsonOf(report: VerifyReport): object {
  const { findings, ...rest } = report;
  const { faults, faultsFound, garbage, garbageFound, garbageBytes, notices } = findings;
  return { ...rest, ok: faultsFound === 0, faults, faultsFound, garbage, garbageFound, garbageBytes, notices };
}
