import { Command } from "commander";
import type { MergeSummary, OnConflict } from "../../engine/branches/history.ts";
import type { KeyValue } from "../../gen/mvccpb/kv_pb.ts";
import { MergeRequest_OnConflict, type MergeResponse, Repository } from "../../gen/t4/v1/repository_pb.ts";
import type { EtcdClient } from "../client.ts";
import { pairOf, prefixRange } from "../commands/diff.ts";
import { CommandError, UsageError } from "../errors.ts";
import type { OfflineContext } from "../offline.ts";
import { historyOf } from "../offline-history.ts";
import { counted, print } from "../output.ts";
import { ProgressLine, patiently } from "../progress.ts";
import { type Format, onRepository } from "../repository.ts";
import { keyText, valueText } from "../value-text.ts";

const { method } = Repository;

interface Options {
  into: string;
  prefix?: string;
  dryRun?: boolean;
  ours?: boolean;
  theirs?: boolean;
  fail?: boolean;
  exact?: boolean;
}

interface Conflict {
  readonly key: Uint8Array;
  readonly base?: KeyValue | undefined;
  readonly ours?: KeyValue | undefined;
  readonly theirs?: KeyValue | undefined;
}

interface Page {
  readonly changes: readonly { readonly key: Uint8Array; readonly delete: boolean }[];
  readonly conflicts: readonly Conflict[];
  /** While a series is applied. */
  readonly soFar?: MergeSummary | undefined;
}

type Pages = AsyncGenerator<Page, MergeSummary, undefined>;

export function mergeCommand(): Command {
  return new Command("merge")
    .argument("<source>", "the branch whose changes are taken")
    .description("Merges what a branch has changed since it parted from another one into that one")
    .option("--into <branch>", "where they go", "main")
    .option("--prefix <text>", "only keys that begin so", "")
    .option("--dry-run", "change nothing, show what would be")
    .option("--fail", "if both have changed a key to different values, change nothing (default)")
    .option("--ours", "of such keys keep what INTO has")
    .option("--theirs", "of such keys take what SOURCE has")
    .option("--exact", "make the keys of --prefix as SOURCE has them, whichever side has changed them since")
    .addHelpText(
      "after",
      [
        "\nA key is taken where only SOURCE has changed its value since they parted. Leases stay as they are in INTO.",
        "All is applied as one transaction, or, past the server's --max-txn-ops or a mebibyte, as a series of them;",
        "a series that was interrupted is gone on with by the same command. No key is overwritten that was written",
        "meanwhile: then the merge is begun anew. On a bucket (--store, --data-dir) it is shown, with --dry-run;",
        "a server that leads INTO applies it.",
        "\nShown are + KEY for one that is put, - KEY for one that is deleted, ! KEY for one that both have changed.",
        "\nExamples:",
        "  t4 branch merge fix --dry-run",
        "  t4 branch merge fix --into main --prefix /registry/configmaps/ --theirs",
        "  t4 branch merge before --prefix /registry/configmaps/shop/ --exact",
      ].join("\n"),
    )
    .action(async (source: string, options: Options, command: Command) => {
      const onConflict = policyOf(options);
      // All that anybody has written since would be undone: t4 branch promote does that, and keeps what was.
      if (options.exact && !options.prefix) throw new UsageError("--exact goes with --prefix");
      const apply = !(options.dryRun ?? false);
      const ways = {
        online: async (client: EtcdClient) => onlineMerge(client, { source, onConflict, apply, options }),
        offline: async (context: OfflineContext) => offlineMerge(context, { source, onConflict, apply, options }),
      };
      await onRepository(command, ways, async (pages, format) => {
        const summary = await printPages(pages, format);
        printSummary(summary, { format, apply, source, into: options.into, refused: onConflict === "fail" });
      });
    });
}

function policyOf({ ours, theirs, fail }: Options): OnConflict {
  const given = [ours && "ours", theirs && "theirs", fail && "fail"].filter((each) => each !== undefined && each);
  if (given.length > 1) throw new UsageError("--ours, --theirs and --fail exclude each other");
  return (given[0] as OnConflict | undefined) ?? "fail";
}

interface Asked {
  readonly source: string;
  readonly onConflict: OnConflict;
  readonly apply: boolean;
  readonly options: Options;
}

const policies = {
  fail: MergeRequest_OnConflict.FAIL,
  ours: MergeRequest_OnConflict.OURS,
  theirs: MergeRequest_OnConflict.THEIRS,
};

async function* onlineMerge(client: EtcdClient, { source, onConflict, apply, options }: Asked): Pages {
  const { into, prefix, exact = false } = options;
  const request = { source, into, ...prefixRange(prefix), onConflict: policies[onConflict], apply, exact };
  let summary: MergeResponse["summary"];
  for await (const message of client.repositoryStream([source, into], method.merge, request)) {
    summary = message.summary;
    yield { ...message, soFar: summary && sumsOf(summary) };
  }
  return sumsOf(summary);
}

const sumsOf = (summary: MergeResponse["summary"]): MergeSummary => ({
  changes: Number(summary?.changes ?? 0n),
  conflicts: Number(summary?.conflicts ?? 0n),
  applied: Number(summary?.applied ?? 0n),
  transactions: Number(summary?.transactions ?? 0n),
  baseRevision: Number(summary?.baseRevision ?? 0n),
  revision: Number(summary?.revision ?? 0n),
});

async function* offlineMerge(context: OfflineContext, { source, onConflict, apply, options }: Asked): Pages {
  const { rangeOf } = await import("../../engine/branches/history.ts");
  const { key, rangeEnd } = prefixRange(options.prefix);
  const range = rangeOf(key.latin1Slice(), rangeEnd.latin1Slice());
  const history = await historyOf(context);
  const { into, exact } = options;
  const merge = history.merge({ source, into, range, onConflict, apply, exact, signal: context.signal });
  for (;;) {
    const { value, done } = await merge.next();
    if (done) return value;
    const pair = (row: Parameters<typeof pairOf>[0] | null) => (row === null ? undefined : pairOf(row));
    yield {
      changes: value.changes.map((each) => ({ key: Buffer.from(each.key, "latin1"), delete: each.delete })),
      conflicts: value.conflicts.map((each) => ({
        key: Buffer.from(each.key, "latin1"),
        base: pair(each.base),
        ours: pair(each.ours),
        theirs: pair(each.theirs),
      })),
    };
  }
}

async function printPages(pages: Pages, format: Format): Promise<MergeSummary> {
  const progress = new ProgressLine();
  for (;;) {
    const { value, done } = await patiently("comparing", pages.next(), progress);
    if (done || value.soFar === undefined) progress.clear();
    if (done) return value;
    if (value.soFar !== undefined) {
      const { applied, changes } = value.soFar;
      progress.show({ phase: "applying", done: applied, total: changes, text: (count) => count.toLocaleString("en") });
    }
    for (const change of value.changes) {
      if (format === "json")
        print(JSON.stringify({ change: change.delete ? "delete" : "put", key: base64(change.key) }));
      else print(`${change.delete ? "-" : "+"} ${keyText(change.key)}`);
    }
    for (const conflict of value.conflicts) printConflict(conflict, format);
  }
}

function printConflict({ key, base, ours, theirs }: Conflict, format: Format): void {
  if (format === "json") {
    const value = (pair: KeyValue | undefined) => (pair === undefined ? null : base64(pair.value));
    const values = { base: value(base), ours: value(ours), theirs: value(theirs) };
    print(JSON.stringify({ conflict: base64(key), ...values }));
    return;
  }
  print(`! ${keyText(key)}`);
  for (const [name, pair] of Object.entries({ base, ours, theirs })) {
    print(`    ${name.padEnd(6)} ${pair === undefined ? "(not there)" : valueText(pair.value)}`);
  }
}

function printSummary(
  summary: MergeSummary,
  how: { format: Format; apply: boolean; source: string; into: string; refused: boolean },
): void {
  const { changes, conflicts, applied, transactions, baseRevision, revision } = summary;
  const blocked = conflicts > 0 && how.refused;
  if (how.format === "json") print(JSON.stringify({ summary }));
  else {
    print(`${counted(changes, "change")}, ${counted(conflicts, "conflict")} since revision ${baseRevision}`);
    const series = transactions === 1 ? "one transaction" : `a series of ${transactions} transactions`;
    if (!how.apply && changes > 0) print(`nothing was changed (--dry-run); it takes ${series}`);
    else if (applied > 0) print(`${applied} applied to ${how.into} in ${series}, which is at revision ${revision}`);
  }
  if (blocked && how.apply) {
    throw new CommandError("nothing was changed: resolve the conflicts, or choose --ours or --theirs");
  }
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
