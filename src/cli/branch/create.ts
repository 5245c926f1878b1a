import { create } from "@bufbuild/protobuf";
import { Command } from "commander";

import type { CreateBranch } from "../../engine/branches/branches.ts";
import type { Moment } from "../../engine/branches/moment.ts";
import { type Moment as MomentMessage, MomentSchema, Repository } from "../../gen/t4/v1/repository_pb.ts";
import { durationKind } from "../../server/setting-kinds.ts";
import { UsageError } from "../errors.ts";
import { momentOf } from "../moment.ts";
import { print } from "../output.ts";
import { onRepository } from "../repository.ts";
import { branchesOf } from "./offline.ts";
import { type BranchView, timeText, viewOfInfo, viewOfMessage } from "./view.ts";

interface Options {
  from: string;
  at?: string;
  expires?: string;
  stripAuth?: boolean;
  stripLeases?: boolean;
}

export function createCommand(): Command {
  return new Command("create")
    .argument("<name>", "of the new branch: 1 to 63 lower-case letters, digits and inner hyphens")
    .description("Makes a branch, without copying: at the newest state of another one, or at any retained moment")
    .option("--from <branch>", "the branch to cut it off", "main")
    .option("--at <moment>", "a revision, a time (2026-08-01T12:00:00Z), an age (10m) or a checkpoint")
    .option("--expires <duration>", "delete it by itself after so long, such as 24h")
    .option("--strip-auth", "without users and roles, authentication off")
    .option("--strip-leases", "without leases; keys that hang on one stay")
    .addHelpText(
      "after",
      [
        "\nExamples:",
        "  t4 branch create staging",
        "  t4 branch create before-upgrade --at 2026-08-01T12:00:00Z",
        "  t4 branch create ci-1234 --expires 2h --strip-leases",
        "  t4 branch create rescue --from staging --at 4711 --store 's3://bucket/prefix?region=eu-central-1'",
      ].join("\n"),
    )
    .action(async (name: string, options: Options, command: Command) => {
      const { from, stripAuth = false, stripLeases = false } = options;
      const expiresInMs = options.expires === undefined ? null : durationOf("--expires", options.expires);
      const asked = { name, from, moment: momentOf(options.at), expiresInMs, stripAuth, stripLeases };
      await onRepository<BranchView>(
        command,
        {
          online: async (client) => {
            const init = { ...messageOf(asked), name, stripAuth, stripLeases };
            return viewOfMessage((await client.repository([from], Repository.method.branchCreate, init)).branch!);
          },
          offline: async (context) => viewOfInfo((await (await branchesOf(context)).create(asked)).branch),
          writes: true,
        },
        (branch, format) => print(format === "json" ? JSON.stringify(branch) : sentenceOf(branch)),
      );
    });
}

const messageOf = ({ from, moment, expiresInMs }: CreateBranch) => ({
  from: { branch: from, moment: momentMessage(moment) },
  expiresInMs: BigInt(expiresInMs ?? 0),
});

export function momentMessage(moment: Moment): MomentMessage {
  switch (moment.kind) {
    case "newest":
      return create(MomentSchema, {});
    case "revision":
      return create(MomentSchema, { at: { case: "revision", value: BigInt(moment.revision) } });
    case "time":
      return create(MomentSchema, { at: { case: "timeMs", value: BigInt(moment.wallMs) } });
    case "checkpoint":
      return create(MomentSchema, { at: { case: "checkpoint", value: moment.name } });
  }
}

function sentenceOf({ name, parentName, forkRevision, forkMs, expiresMs }: BranchView): string {
  const since = forkMs === 0 ? "" : ` (${timeText(forkMs)})`;
  const expiry = expiresMs === null ? "" : `, expires ${timeText(expiresMs)}`;
  return `branch ${name}: from ${parentName} at revision ${forkRevision}${since}${expiry}`;
}

const duration = durationKind({ min: 1000, max: 10 * 366 * 86_400_000 });

export function durationOf(flag: string, text: string): number {
  try {
    return duration.parse(text);
  } catch (error) {
    throw new UsageError(`${flag}: ${(error as Error).message}`);
  }
}
