import { Command } from "commander";
import { Repository } from "../../gen/t4/v1/repository_pb.ts";
import { branchesOf } from "../branch/offline.ts";
import { UsageError } from "../errors.ts";
import { momentOf } from "../moment.ts";
import { print } from "../output.ts";
import { type Format, onRepository, repositoryOptions } from "../repository.ts";
import { momentMessage, stateMessage } from "../state-name.ts";

const { method } = Repository;
/** Promoting waits for leaderships and uploads. */
const TIMEOUT_MS = 60_000;

interface Options {
  at: string;
  as?: string;
  inPlace?: boolean;
  keepAs?: string;
}

interface Restored {
  readonly name: string;
  readonly revision: number;
  readonly replaced: string | null;
}

export function restoreCommand(): Command {
  const command = new Command("restore")
    .argument("[branch]", "the branch whose past it is", "main")
    .description("Brings a moment of a branch back, as a branch of its own or in place")
    .requiredOption("--at <moment>", "a revision, time, age (10m) or checkpoint")
    .option("--as <name>", "as a branch of this name; BRANCH stays as it is")
    .option("--in-place", "as BRANCH itself; what it is now gets another name")
    .option("--keep-as <name>", "that name (default: BRANCH-old-N)")
    .addHelpText(
      "after",
      [
        "\nIn place the revision goes on behind the present one, and all up to there is compacted: who watches, as",
        "Kubernetes' informers do, is told so and lists anew, instead of missing what was taken back.",
        "\nExamples:",
        "  t4 restore --at 2h --as before-the-upgrade",
        "  t4 restore main --at 120000 --in-place --keep-as main-broken",
      ].join("\n"),
    );
  for (const option of repositoryOptions()) command.addOption(option);
  return command.action((branch: string, options: Options, self: Command) => {
    if ((options.as === undefined) === !options.inPlace) throw new UsageError("expected --as NAME or --in-place");
    if (options.keepAs !== undefined && !options.inPlace) throw new UsageError("--keep-as goes with --in-place");
    return options.inPlace ? inPlace(self, branch, options) : asBranch(self, branch, options);
  });
}

function asBranch(command: Command, from: string, { at, as: name = "" }: Options): Promise<void> {
  const moment = momentOf(at);
  return onRepository<Restored>(
    command,
    {
      online: async (client) => {
        const asked = { name, from: stateMessage({ branch: from, moment }) };
        const { revision } = await client.repository([from], method.branchCreate, asked);
        return { name, revision: Number(revision), replaced: null };
      },
      offline: async (context) => {
        const plain = { expiresInMs: null, stripAuth: false, stripLeases: false };
        const { revision } = await (await branchesOf(context)).create({ name, from, moment, ...plain });
        return { name, revision, replaced: null };
      },
      writes: true,
    },
    printRestored,
  );
}

function inPlace(command: Command, name: string, { at, keepAs = "" }: Options): Promise<void> {
  const moment = momentOf(at);
  return onRepository<Restored>(
    command,
    {
      online: async (client) => {
        const asked = { name, moment: momentMessage(moment), keepAs };
        const { revision, replaced } = await client.repository([name], method.branchRestore, asked, TIMEOUT_MS);
        return { name, revision: Number(revision), replaced: replaced?.name ?? null };
      },
      offline: async (context) => {
        const asked = { name, moment, keepAs: keepAs === "" ? null : keepAs };
        const { revision, replaced } = await (await branchesOf(context)).restore(asked);
        return { name, revision, replaced: replaced?.name ?? null };
      },
      writes: true,
    },
    printRestored,
  );
}

function printRestored({ name, revision, replaced }: Restored, format: Format): void {
  if (format === "json") print(JSON.stringify({ name, revision, replaced }));
  else if (replaced === null) print(`branch ${name}: at revision ${revision}`);
  else print(`branch ${name}: restored, goes on at revision ${revision}; what it was is ${replaced}`);
}
