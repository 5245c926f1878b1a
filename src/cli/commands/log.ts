import { Command } from "commander";
import type { CheckpointLog } from "../../engine/branches/checkpoint-log.ts";
import { findBranch } from "../../readers/open-offline.ts";
import { UsageError } from "../errors.ts";
import { offline, offlineOptions } from "../offline.ts";
import { print } from "../output.ts";
import { bytesText } from "../progress.ts";

const ID_DIGITS = 12;

export function logCommand(): Command {
  const command = new Command("log")
    .argument("[branch]", "name or id", "main")
    .description("Lists a branch's checkpoints that are retained, the newest first, from its store alone")
    .option("-n, --limit <number>", "at most so many")
    .addHelpText(
      "after",
      [
        "\nEach is proved to belong to the newest one's history, though others between were thinned out.",
        "\nExamples:",
        "  t4 log",
        "  t4 log main --limit 10 --json",
        "  t4 log staging --store 's3://bucket/prefix?region=eu-central-1'",
      ].join("\n"),
    );
  for (const option of offlineOptions()) command.addOption(option);
  return command.action(async (branch: string, options: { limit?: string }, self: Command) => {
    const limit = limitOf(options.limit);
    await offline(self, async (repository) => {
      const { readCheckpointLog } = await import("../../engine/branches/checkpoint-log.ts");
      const found = await findBranch(repository, branch);
      const log = await readCheckpointLog(repository.store, found.id, repository.request);
      const shown = { ...log, entries: log.entries.slice(-limit) };
      if (repository.format === "json") print(JSON.stringify({ ...shown, name: found.name }));
      else await printLog(shown);
    });
  });
}

async function printLog(log: CheckpointLog): Promise<void> {
  const { default: Table } = await import("cli-table3");
  const head = ["id", "revision", "time", "added", "size", "tables", "epoch", "slot"];
  const table = new Table({ head, style: { head: [], border: [] } });
  let before = log.entries.at(-1)!.leaf + 1;
  for (const entry of [...log.entries].reverse()) {
    const thinned = before - entry.leaf - 1;
    if (thinned > 0) table.push([{ colSpan: head.length, content: `… ${thinned} thinned out` }]);
    before = entry.leaf;
    table.push([
      entry.id.slice(0, ID_DIGITS),
      entry.revision,
      new Date(entry.wallMs).toISOString(),
      bytesText(entry.bytesAdded),
      bytesText(entry.bytes),
      entry.tables,
      entry.epoch,
      entry.nextSlot,
    ]);
  }
  print(table.toString());
  const { entries, checkpoints, firstLogSlot } = log;
  print(`${entries.length} shown of ${checkpoints} that there were; the log is kept from slot ${firstLogSlot} on`);
}

function limitOf(text: string | undefined): number {
  if (text === undefined) return Number.MAX_SAFE_INTEGER;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new UsageError(`--limit: expected a number from 1, not "${text}"`);
}
