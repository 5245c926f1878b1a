import { Command } from "commander";
import type { RetentionEffect, RetentionFound } from "../../engine/branches/history.ts";
import { Repository } from "../../gen/t4/v1/repository_pb.ts";
import { UsageError } from "../errors.ts";
import { historyOf } from "../offline-history.ts";
import { counted, print } from "../output.ts";
import { bytesText } from "../progress.ts";
import { onRepository, repositoryOptions } from "../repository.ts";

const { method } = Repository;

/** The online answer is bounded by what listing a repository takes. */
const TIMEOUT_MS = 300_000;

export function retentionCommand(): Command {
  const command = new Command("retention")
    .description("How long a branch's past can be had again")
    .addHelpText(
      "after",
      [
        "\nA branch without a retention of its own has that of the node that leads it (t4 run --retain-log,",
        "--retain-checkpoints). What is let go of goes with the branch's next checkpoint and the collection after it.",
        "\nExamples:",
        "  t4 retention show staging",
        "  t4 retention set staging --log 1h --checkpoints 1h:all --preview",
        "  t4 retention set staging --log 1h --checkpoints 1h:all",
        "  t4 retention set staging --default",
      ].join("\n"),
    );
  for (const sub of [showCommand(), setCommand()]) {
    for (const option of repositoryOptions()) sub.addOption(option);
    command.addCommand(sub);
  }
  return command;
}

const showCommand = (): Command =>
  new Command("show")
    .argument("[branch]", "a branch", "main")
    .description("Shows how long a branch's past is kept")
    .addHelpText("after", "\nExamples:\n  t4 retention show\n  t4 retention show staging --json")
    .action((branch: string, _options: unknown, command: Command) =>
      onRepository<RetentionFound>(
        command,
        {
          online: async (client) => {
            const { retention, own } = await client.repository([branch], method.retentionGet, { branch });
            return { retention: retention!, own };
          },
          offline: async (context) => (await historyOf(context)).retention(branch),
        },
        ({ retention, own }, format) => {
          const { log, checkpoints } = retention;
          if (format === "json") print(JSON.stringify({ branch, own, log, checkpoints }));
          else print(`${branch}: log ${log}, checkpoints ${checkpoints} (${own ? "its own" : "its node's"})`);
        },
      ),
    );

interface SetOptions {
  log?: string;
  checkpoints?: string;
  default?: boolean;
  preview?: boolean;
}

function setCommand(): Command {
  return new Command("set")
    .argument("[branch]", "a branch", "main")
    .description("Sets how long a branch's past is kept")
    .option("--log <age>", "every revision of so long (24h)")
    .option("--checkpoints <tiers>", "of older checkpoints these (1h:all,24h:hourly,30d:daily; none)")
    .option("--default", "what its node has set, again")
    .option("--preview", "change nothing, tell what would go")
    .addHelpText(
      "after",
      [
        "\nExamples:",
        "  t4 retention set staging --log 1h --checkpoints 1h:all --preview",
        "  t4 retention set staging --log 0 --checkpoints none",
        "  t4 retention set staging --default",
      ].join("\n"),
    )
    .action((branch: string, options: SetOptions, command: Command) => {
      const { log, checkpoints, preview = false } = options;
      const given = log !== undefined && checkpoints !== undefined;
      if (options.default ? log !== undefined || checkpoints !== undefined : !given) {
        throw new UsageError("expected --log and --checkpoints, or --default");
      }
      const retention = options.default ? null : { log: log!, checkpoints: checkpoints! };
      return onRepository<RetentionFound & RetentionEffect>(
        command,
        {
          online: async (client) => {
            const asked = { branch, preview, ...(retention !== null && { retention }) };
            const answer = await client.repository([branch], method.retentionSet, asked, TIMEOUT_MS);
            const { log, checkpoints } = answer.retention!;
            return {
              retention: { log, checkpoints },
              own: retention !== null,
              checkpointsDropped: Number(answer.checkpointsDropped),
              bytesFreed: Number(answer.bytesFreed),
              firstRevision: Number(answer.firstRevision),
            };
          },
          offline: async (context) => (await historyOf(context)).setRetention({ branch, retention, preview }),
        },
        (found, format) => {
          if (format === "json") print(JSON.stringify({ branch, preview, ...found }));
          else printSet(branch, preview, found);
        },
      );
    });
}

function printSet(branch: string, preview: boolean, found: RetentionFound & RetentionEffect): void {
  const { retention, checkpointsDropped, bytesFreed, firstRevision } = found;
  const { log, checkpoints } = retention;
  print(`${branch}: log ${log}, checkpoints ${checkpoints}${preview ? " (a preview: nothing was changed)" : ""}`);
  print(`lets go of ${counted(checkpointsDropped, "checkpoint")} and ${bytesText(bytesFreed)}`);
  // A promotion or a restore in place passes some over: those never were.
  print(`every revision that there was from ${firstRevision} on can be had`);
}
