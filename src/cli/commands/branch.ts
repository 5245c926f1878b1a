import { Command } from "commander";
import { Repository } from "../../gen/t4/v1/repository_pb.ts";
import { changeCommands, promoteCommand } from "../branch/change.ts";
import { createCommand } from "../branch/create.ts";
import { mergeCommand } from "../branch/merge.ts";
import { branchesOf } from "../branch/offline.ts";
import { treeLines } from "../branch/tree.ts";
import { type BranchView, notesOf, revisionText, timeText, viewOfInfo, viewOfMessage } from "../branch/view.ts";
import { print, printFields, tableText } from "../output.ts";
import { type Format, onRepository, repositoryOptions, type Ways } from "../repository.ts";

const { method } = Repository;

export function branchCommand(): Command {
  const command = new Command("branch")
    .description("Branches of the repository: made in an instant, from any retained moment, without copying")
    .addHelpText(
      "after",
      [
        "\nThrough a server (--endpoints), or on the bucket itself where --store or --data-dir names it.",
        "\nExamples:",
        "  t4 branch create staging",
        "  t4 branch list",
        "  t4 branch tree",
        "  t4 branch show staging --json",
      ].join("\n"),
    );
  command.addCommand(createCommand()).addCommand(mergeCommand()).addCommand(promoteCommand());
  for (const change of changeCommands()) command.addCommand(change);
  command.addCommand(listCommand()).addCommand(showCommand()).addCommand(treeCommand());
  for (const sub of command.commands) for (const option of repositoryOptions()) sub.addOption(option);
  return command;
}

const listing = (deleted: boolean): Ways<BranchView[]> => ({
  online: async (client) => (await client.repository([], method.branchList, { deleted })).branches.map(viewOfMessage),
  offline: async (context) => (await (await branchesOf(context)).list({ deleted })).map(viewOfInfo),
});

function listCommand(): Command {
  return new Command("list")
    .description("Lists the branches")
    .option("--deleted", "those too that can still be undeleted")
    .addHelpText("after", "\nExamples:\n  t4 branch list\n  t4 branch list --deleted --json")
    .action((options: { deleted?: boolean }, command: Command) =>
      onRepository(command, listing(options.deleted ?? false), printList),
    );
}

async function printList(branches: readonly BranchView[], format: Format): Promise<void> {
  if (format === "json") return print(JSON.stringify(branches));
  const head = ["name", "revision", "from", "at revision", "leader", "notes"];
  const rows = branches.map((branch) => [
    branch.name,
    revisionText(branch),
    branch.parentId === null ? "" : (branch.parentName ?? `(deleted ${branch.parentId.slice(0, 8)}…)`),
    branch.parentId === null ? "" : String(branch.forkRevision),
    branch.leader ?? "",
    notesOf(branch).join(", "),
  ]);
  print(await tableText(head, rows));
}

function treeCommand(): Command {
  return new Command("tree")
    .description("Draws which branch was cut from which")
    .option("--deleted", "those too that can still be undeleted")
    .addHelpText("after", "\nExample:\n  t4 branch tree --store 's3://bucket/prefix'")
    .action((options: { deleted?: boolean }, command: Command) =>
      onRepository(command, listing(options.deleted ?? false), (branches, format) => {
        if (format === "json") print(JSON.stringify(branches));
        else for (const line of treeLines(branches)) print(line);
      }),
    );
}

interface Shown {
  readonly branch: BranchView;
  readonly ancestry: readonly BranchView[];
}

function showCommand(): Command {
  return new Command("show")
    .argument("<name>", "a branch")
    .description("Tells of one branch: where it was cut, where it stands, who leads it")
    .addHelpText("after", "\nExamples:\n  t4 branch show staging\n  t4 branch show staging --json")
    .action((name: string, _options: unknown, command: Command) =>
      onRepository<Shown>(
        command,
        {
          online: async (client) => {
            const { branch, ancestry } = await client.repository([name], method.branchShow, { name });
            return { branch: viewOfMessage(branch!), ancestry: ancestry.map(viewOfMessage) };
          },
          offline: async (context) => (await branchesOf(context)).show(name),
        },
        printShown,
      ),
    );
}

function printShown({ branch, ancestry }: Shown, format: Format): void {
  if (format === "json") {
    print(JSON.stringify({ ...branch, ancestry }));
    return;
  }
  const line = ancestry.map(({ name, id }) => (name === "" ? `(deleted ${id.slice(0, 8)}…)` : name));
  printFields({
    Name: branch.name,
    ID: branch.id,
    Revision: branch.open ? branch.revision : revisionText(branch),
    ...(branch.parentId !== null && {
      From: `${line.slice(1).join(" < ")}`,
      "Fork revision": branch.forkRevision,
      "Fork time": timeText(branch.forkMs),
    }),
    Leader: branch.leader ?? "none",
    Open: branch.open,
    Protected: branch.protected,
    ...(branch.writeProtected !== null && { "Takes writes": !branch.writeProtected }),
    Expires: branch.expiresMs === null ? "never" : timeText(branch.expiresMs),
    ...(branch.frozen && { Frozen: true }),
  });
}
