import { Command } from "commander";
import { type Branch, Repository } from "../../gen/t4/v1/repository_pb.ts";
import { UsageError } from "../errors.ts";
import { print } from "../output.ts";
import { type Format, onRepository } from "../repository.ts";
import { durationOf } from "./create.ts";
import { branchesOf } from "./offline.ts";
import { type BranchView, timeText, viewOfInfo, viewOfMessage } from "./view.ts";

const { method } = Repository;

export const changeCommands = (): Command[] => [
  protectCommand("protect", true, "Keeps a branch from being deleted, by anybody and by itself, or from writes"),
  protectCommand("unprotect", false, "Lets a branch be deleted again, or written"),
  expireCommand(),
  deleteCommand(),
  undeleteCommand(),
];

function protectCommand(word: string, isProtected: boolean, description: string): Command {
  return new Command(word)
    .argument("<name>", "a branch")
    .description(description)
    .option("--writes", isProtected ? "from writes instead: it takes none" : "it takes writes again")
    .addHelpText("after", `\nExamples:\n  t4 branch ${word} staging\n  t4 branch ${word} staging --writes`)
    .action((name: string, { writes = false }: { writes?: boolean }, command: Command) => {
      const asked = { name, ...(writes ? { writeProtected: isProtected } : { protected: isProtected }) };
      return onRepository<BranchView>(
        command,
        {
          online: async (client) => changed(await client.repository([name], method.branchUpdate, asked)),
          offline: async (context) => viewOfInfo(await (await branchesOf(context)).update(asked)),
          writes: true,
        },
        tell((branch) => {
          if (writes) return `branch ${branch.name} ${isProtected ? "takes no writes" : "takes writes again"}`;
          return `branch ${branch.name} is ${branch.protected ? "protected" : "not protected"}`;
        }),
      );
    });
}

function expireCommand(): Command {
  return new Command("expire")
    .argument("<name>", "a branch")
    .argument("<duration>", "after so long from now, such as 24h; or never")
    .description("Says when a branch is deleted by itself: by a server, or by t4 gc")
    .addHelpText("after", "\nExamples:\n  t4 branch expire ci-1234 2h\n  t4 branch expire ci-1234 never")
    .action((name: string, text: string, _options: unknown, command: Command) => {
      const expiresInMs = text === "never" ? null : durationOf("<duration>", text);
      return onRepository<BranchView>(
        command,
        {
          online: async (client) => {
            const asked = { name, expiresInMs: BigInt(expiresInMs ?? 0) };
            return changed(await client.repository([name], method.branchUpdate, asked));
          },
          offline: async (context) => viewOfInfo(await (await branchesOf(context)).update({ name, expiresInMs })),
          writes: true,
        },
        tell(({ name: which, expiresMs }) =>
          expiresMs === null ? `branch ${which} does not expire` : `branch ${which} expires ${timeText(expiresMs)}`,
        ),
      );
    });
}

function deleteCommand(): Command {
  return new Command("delete")
    .argument("<name>", "a branch")
    .description("Deletes a branch: its name at once, its data after a time of grace")
    .option("--grace <duration>", "on the bucket itself: how long it can be undeleted", "1h")
    .addHelpText(
      "after",
      [
        "\nUntil then t4 branch undelete brings it back. Then its data goes with a collection (a server's own, or",
        "t4 gc), but what other branches need of it. A new branch of the same name ends the time of grace.",
        "\nExamples:",
        "  t4 branch delete ci-1234",
        "  t4 branch delete ci-1234 --grace 0 --store 's3://bucket/prefix'",
      ].join("\n"),
    )
    .action((name: string, options: { grace: string }, command: Command) =>
      onRepository<BranchView>(
        command,
        {
          online: async (client) => changed(await client.repository([name], method.branchDelete, { name })),
          offline: async (context) => {
            const graceMs = options.grace === "0" ? 0 : durationOf("--grace", options.grace);
            return viewOfInfo(await (await branchesOf(context, { graceMs })).delete(name));
          },
          writes: true,
        },
        tell(
          ({ name: which, purgeMs }) =>
            `branch ${which} is deleted; it can be undeleted until ${timeText(purgeMs ?? 0)}`,
        ),
      ),
    );
}

function undeleteCommand(): Command {
  return new Command("undelete")
    .argument("<name>", "a branch that was deleted")
    .description("Brings a deleted branch back, as it was")
    .addHelpText("after", "\nExamples:\n  t4 branch list --deleted\n  t4 branch undelete ci-1234")
    .action((name: string, _options: unknown, command: Command) =>
      onRepository<BranchView>(
        command,
        {
          online: async (client) => changed(await client.repository([], method.branchUndelete, { name })),
          offline: async (context) => viewOfInfo(await (await branchesOf(context)).undelete(name)),
          writes: true,
        },
        tell(({ name: which }) => `branch ${which} is back`),
      ),
    );
}

interface Promotion {
  readonly promoted: BranchView;
  readonly replaced: BranchView | null;
  readonly revision: number;
}

export function promoteCommand(): Command {
  return new Command("promote")
    .argument("<name>", "the branch that takes the place")
    .description("Puts a branch in the place of another one, whose name it takes")
    .option("--over <branch>", "the branch whose place it takes", "main")
    .option("--keep-as <name>", "the name that the old one gets (default: OVER-old-N)")
    .option("--revoke", "take back a promotion that was interrupted before the names were swapped")
    .addHelpText(
      "after",
      [
        "\nClients of the old branch are cut off, and find the new one when they connect again. Its revision is raised",
        "above all that the old one has shown, and compacted there: watchers are told so and read anew. The old one is",
        "kept under another name, takes no writes, and can be promoted back. Interrupted anywhere, the same command",
        "goes on.",
        "\nExamples:",
        "  t4 branch promote green",
        "  t4 branch promote main-old-1        (and back)",
        "  t4 branch promote v2 --over staging --keep-as staging-v1",
        "  t4 branch promote green --revoke",
      ].join("\n"),
    )
    .action((name: string, options: { over: string; keepAs?: string; revoke?: boolean }, command: Command) => {
      const { over, keepAs = null, revoke = false } = options;
      if (revoke && keepAs !== null) throw new UsageError("--revoke and --keep-as: one or the other");
      return onRepository<Promotion>(
        command,
        {
          online: async (client) => {
            const asked = { name, over, keepAs: keepAs ?? "", revoke };
            const answer = await client.repository([name, over], method.branchPromote, asked, PROMOTE_MS);
            const { promoted, replaced, revision } = answer;
            const kept = replaced === undefined ? null : viewOfMessage(replaced);
            return { promoted: viewOfMessage(promoted!), replaced: kept, revision: Number(revision) };
          },
          offline: async (context) => {
            const done = await (await branchesOf(context)).promote({ name, over, keepAs, revoke });
            const kept = done.replaced === null ? null : viewOfInfo(done.replaced);
            return { promoted: viewOfInfo(done.promoted), replaced: kept, revision: done.revision };
          },
          writes: true,
        },
        (done, format) => print(format === "json" ? JSON.stringify(done) : promotionText(done, { name, revoke })),
      );
    });
}

/** Two branches are given up and opened again. */
const PROMOTE_MS = 120_000;

function promotionText(
  { promoted, replaced, revision }: Promotion,
  { name, revoke }: { name: string; revoke: boolean },
): string {
  if (revoke) return `branch ${promoted.name} goes on, at revision ${revision}`;
  const old = replaced === null ? "" : `; what it was is kept as ${replaced.name}, at revision ${replaced.revision}`;
  return `branch ${name} is now ${promoted.name}, at revision ${revision}${old}`;
}

const changed = ({ branch }: { branch?: Branch | undefined }): BranchView => viewOfMessage(branch!);

const tell =
  (sentence: (branch: BranchView) => string) =>
  (branch: BranchView, format: Format): void =>
    print(format === "json" ? JSON.stringify(branch) : sentence(branch));
