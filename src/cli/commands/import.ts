import { Command } from "commander";
import { isDbError } from "../../base/errors.ts";
import type { Imported, ImportOptions } from "../../engine/import/import-branch.ts";
import { isBranchName } from "../../objects/keys.ts";
import { CommandError, UsageError } from "../errors.ts";
import { type OfflineContext, offline, offlineOptions } from "../offline.ts";
import { counted, print } from "../output.ts";
import { ProgressLine } from "../progress.ts";
import { SnapshotFile } from "../snapshot-file.ts";

interface Options {
  as: string;
  skipHashCheck?: boolean;
  bumpRevision?: string;
  markCompacted?: boolean;
}

export function importCommand(): Command {
  const command = new Command("import")
    .argument("<file>", "made by etcdctl snapshot save")
    .description("Brings the state of an etcd in, as a branch with its revisions, history, leases and users")
    .option("--as <name>", "the branch's name, which no branch has", "main")
    .option("--skip-hash-check", "take a file without SHA-256: a copy of a member's own store (member/snap/db)")
    .option("--bump-revision <n>", "go on so far above the file's revision")
    .option("--mark-compacted", "compact all up to there: who watches lists anew")
    .addHelpText(
      "after",
      [
        "\nWorks on the bucket itself, with no server's help, and founds the repository where the bucket is empty.",
        "With a snapshot that is older than what clients have seen: --bump-revision 1000000000 --mark-compacted.",
        "\nExamples:",
        "  t4 import backup.db                       # as main, in t4-data: then t4 run",
        "  t4 import backup.db --store 's3://bucket/prefix?region=eu-central-1'",
        "  t4 import backup.db --as moved && t4 branch promote moved --over main",
      ].join("\n"),
    );
  for (const option of offlineOptions()) command.addOption(option);
  return command.action(async (path: string, options: Options, self: Command) => {
    const bumpRevision = bumpOf(options);
    if (!isBranchName(options.as)) throw new UsageError(`--as: ${JSON.stringify(options.as)} is no name of a branch`);
    if (self.optsWithGlobals<{ branch?: string }>().branch !== undefined)
      throw new UsageError("--branch (T4_BRANCH) has no meaning here: --as names the new branch");
    const [{ openForImport }, { BboltReader }, { readEtcdState }] = await Promise.all([
      import("../../engine/import/open-repository.ts"),
      import("../../engine/bbolt/reader.ts"),
      import("../../engine/import/etcd-state.ts"),
    ]);
    const file = new SnapshotFile(path, { hashCheck: options.skipHashCheck !== true });
    try {
      // Before any store is touched.
      const content = await naming(path, async () => {
        const reader = new BboltReader(file);
        return { file: reader, state: readEtcdState(reader), checkFile: () => file.checkUnchanged() };
      });
      await offline(
        self,
        async (context) => {
          const imported = await naming(path, () => importFile(context, { ...options, ...content, bumpRevision }));
          if (context.format === "json") print(JSON.stringify({ name: options.as, ...imported }));
          else print(sentenceOf(options.as, imported));
        },
        { writes: true, open: openForImport },
      );
    } finally {
      file.close();
    }
  });
}

async function importFile(
  context: OfflineContext,
  asked: Pick<Options, "as" | "markCompacted"> & Pick<ImportOptions, "file" | "state" | "checkFile" | "bumpRevision">,
): Promise<Imported> {
  const { store, runtime, request } = context;
  const [{ importBranch }, { defaultHostSettings }] = await Promise.all([
    import("../../engine/import/import-branch.ts"),
    import("../../engine/host/default-settings.ts"),
  ]);
  const { tree, checkpointer, retention } = defaultHostSettings(store).branch;
  const line = new ProgressLine();
  try {
    return await importBranch({
      ...{ store, runtime, request, name: asked.as, file: asked.file, state: asked.state, checkFile: asked.checkFile },
      ...{ bumpRevision: asked.bumpRevision, markCompacted: asked.markCompacted === true },
      settings: { tree, retention, memtableBytes: checkpointer.memtableBytes },
      onProgress: (progress) => line.show({ phase: "importing", ...progress }),
    });
  } finally {
    line.clear();
  }
}

/** What is wrong with the file names it. */
async function naming<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isDbError(error, "invalidArgument")) throw new CommandError(`${path}: ${error.message}`);
    throw error;
  }
}

/** As `etcdutl snapshot restore` has it: neither without the other. */
function bumpOf({ bumpRevision, markCompacted }: Options): number {
  if (bumpRevision === undefined) {
    if (markCompacted) throw new UsageError("--mark-compacted goes with --bump-revision");
    return 0;
  }
  const value = Number(bumpRevision);
  if (!/^[0-9]{1,15}$/.test(bumpRevision) || value < 1)
    throw new UsageError(`--bump-revision: expected a number from 1 on, found ${JSON.stringify(bumpRevision)}`);
  if (!markCompacted) throw new UsageError("--bump-revision goes with --mark-compacted");
  return value;
}

function sentenceOf(name: string, { keys, revision, leases, users, roles, alarms }: Imported): string {
  const counts = [counted(keys, "key"), counted(leases, "lease"), counted(users, "user"), counted(roles, "role")];
  const raised = alarms === 0 ? "" : `, ${counted(alarms, "alarm")} raised (t4 alarm list)`;
  return `branch ${name}: imported at revision ${revision}: ${counts.join(", ")}${raised}`;
}
