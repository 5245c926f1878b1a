import { Command } from "commander";
import type { LogEntry } from "../../engine/branches/checkpoint-log.ts";
import { type LogResponse, Repository } from "../../gen/t4/v1/repository_pb.ts";
import type { EtcdClient } from "../client.ts";
import { UsageError } from "../errors.ts";
import { shortId } from "../moment.ts";
import type { OfflineContext } from "../offline.ts";
import { print } from "../output.ts";
import { bytesText } from "../progress.ts";
import { onRepository, repositoryOptions } from "../repository.ts";

interface Shown {
  readonly name: string;
  readonly branch: string;
  /** The oldest first. */
  readonly entries: readonly Omit<LogEntry, "branch">[];
  /** All that there were. */
  readonly checkpoints: number;
  readonly firstLogSlot: number;
}

export function logCommand(): Command {
  const command = new Command("log")
    .argument("[branch]", "name or id", "main")
    .description("Lists a branch's checkpoints that are retained, the newest first")
    .option("-n, --limit <number>", "at most so many")
    .addHelpText(
      "after",
      [
        "\nEach is proved to belong to the newest one's history, though others between were thinned out. Through a",
        "server (--endpoints), or from the bucket alone where --store or --data-dir names it.",
        "\nExamples:",
        "  t4 log",
        "  t4 log main --limit 10 --json",
        "  t4 log staging --store 's3://bucket/prefix?region=eu-central-1'",
      ].join("\n"),
    );
  for (const option of repositoryOptions()) command.addOption(option);
  return command.action(async (branch: string, options: { limit?: string }, self: Command) => {
    const limit = limitOf(options.limit);
    const ways = {
      online: async (client: EtcdClient) => onlineLog(client, branch, limit),
      offline: async (context: OfflineContext) => offlineLog(context, branch, limit),
    };
    await onRepository<Shown>(self, ways, (log, format) =>
      format === "json" ? print(JSON.stringify(log)) : printLog(log),
    );
  });
}

async function onlineLog(client: EtcdClient, branch: string, limit: number | null): Promise<Shown> {
  const entries: LogResponse[] = [];
  const asked = { branch, limit: BigInt(limit ?? 0) };
  for await (const entry of client.repositoryStream([branch], Repository.method.log, asked)) entries.push(entry);
  const newest = entries[0];
  return {
    name: branch,
    branch: newest?.branchId ?? "",
    entries: entries.reverse().map(entryOf),
    checkpoints: Number(newest?.place ?? -1n) + 1,
    firstLogSlot: Number(newest?.firstLogSlot ?? 1n),
  };
}

const entryOf = (entry: LogResponse): Shown["entries"][number] => ({
  id: entry.id,
  parent: entry.parentId === "" ? null : entry.parentId,
  epoch: Number(entry.epoch),
  nextSlot: Number(entry.nextSlot),
  n: Number(entry.n),
  revision: Number(entry.revision),
  wallMs: Number(entry.timeMs),
  tables: Number(entry.tables),
  bytes: Number(entry.bytes),
  bytesAdded: Number(entry.bytesAdded),
  leaf: Number(entry.place),
});

async function offlineLog(repository: OfflineContext, branch: string, limit: number | null): Promise<Shown> {
  const [{ readCheckpointLog }, { findBranch }] = await Promise.all([
    import("../../engine/branches/checkpoint-log.ts"),
    import("../../readers/open-offline.ts"),
  ]);
  const { id, name } = await findBranch(repository, branch);
  const log = await readCheckpointLog(repository.store, id, repository.request);
  return { ...log, name: name ?? id, entries: limit === null ? log.entries : log.entries.slice(-limit) };
}

async function printLog(log: Shown): Promise<void> {
  const { default: Table } = await import("cli-table3");
  const head = ["id", "revision", "time", "added", "size", "tables", "epoch", "slot"];
  if (log.entries.length === 0) return print(`${log.name} has no checkpoint yet`);
  const table = new Table({ head, style: { head: [], border: [] } });
  let before = log.entries.at(-1)!.leaf + 1;
  for (const entry of [...log.entries].reverse()) {
    const thinned = before - entry.leaf - 1;
    if (thinned > 0) table.push([{ colSpan: head.length, content: `… ${thinned} thinned out` }]);
    before = entry.leaf;
    table.push([
      shortId(entry.id),
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

function limitOf(text: string | undefined): number | null {
  if (text === undefined) return null;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new UsageError(`--limit: expected a number from 1, not "${text}"`);
}
