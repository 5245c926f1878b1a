import { fromBinary } from "@bufbuild/protobuf";
import { Command } from "commander";
import type { DiffSummary, KeyDifference, StateName } from "../../engine/branches/history.ts";
import type { Row } from "../../engine/engine.ts";
import { type KeyValue, KeyValueSchema } from "../../gen/mvccpb/kv_pb.ts";
import { type DiffResponse, Repository } from "../../gen/t4/v1/repository_pb.ts";
import type { EtcdClient } from "../client.ts";
import { CommandError, UsageError } from "../errors.ts";
import { goJsonObject, RawJson } from "../go-json.ts";
import { prefixEnd } from "../key-range.ts";
import type { OfflineContext } from "../offline.ts";
import { historyOf } from "../offline-history.ts";
import { print } from "../output.ts";
import { bytesText, patiently } from "../progress.ts";
import { type Format, onRepository, repositoryOptions } from "../repository.ts";
import { stateMessage, stateNameOf, stateText } from "../state-name.ts";
import { changeLines, keyText, valueText } from "../value-text.ts";

const { method } = Repository;
const DIFFERENT_EXIT_CODE = 1;
const TROUBLE_EXIT_CODE = 2;

interface Options {
  prefix?: string;
  stat?: boolean;
  keys?: boolean;
  branch?: string;
}

interface Shown {
  readonly key: Uint8Array;
  readonly before?: KeyValue | undefined;
  readonly after?: KeyValue | undefined;
}

type Sums = { readonly [name in keyof DiffSummary]: number };

export function diffCommand(): Command {
  const command = new Command("diff")
    .argument("<a>", "BRANCH, or BRANCH@REVISION, BRANCH@TIME, BRANCH@CHECKPOINT")
    .argument("<b>", "the same")
    .description("Shows what differs between two states: keys added, removed, changed (in value or lease)")
    .option("--prefix <text>", "only keys that begin so", "")
    .option("--stat", "only how many")
    .option("--keys", "only which keys")
    .addHelpText(
      "after",
      [
        "\nIt costs what differs, not what there is: tables that both have are not read. The exit code is that of",
        "diff(1): 0 the same, 1 different, 2 trouble. With --json each difference is a line, keys and values in",
        "base64, revisions and leases numbers; the last line has the sums.",
        "\nExamples:",
        "  t4 diff main staging",
        "  t4 diff main@2h main --prefix /registry/deployments/ --keys",
        "  t4 diff main@120000 main@2026-08-01T12:00:00Z --stat",
        "  t4 diff main staging --store 's3://bucket/prefix' --json",
      ].join("\n"),
    );
  for (const option of repositoryOptions()) command.addOption(option);
  return command.action(async (a: string, b: string, options: Options, self: Command) => {
    if (options.stat && options.keys) throw new UsageError("--stat and --keys cannot be set together");
    const { branch } = self.optsWithGlobals<Options>();
    const states: States = [stateNameOf(a, branch), stateNameOf(b, branch)];
    const work = {
      online: async (client: EtcdClient) => onlineDiff(client, states, options),
      offline: async (context: OfflineContext) => offlineDiff(context, states, options),
    };
    await onRepository(command, work, async (pages, format) => {
      const printer = new DiffPrinter(states, options, format);
      const sums = await printer.all(pages);
      process.exitCode = sums.added + sums.removed + sums.changed === 0 ? 0 : DIFFERENT_EXIT_CODE;
    }).catch((error: unknown) => {
      throw error instanceof CommandError ? new CommandError(error.message, TROUBLE_EXIT_CODE) : error;
    });
  });
}

type States = readonly [StateName, StateName];
type Pages = AsyncGenerator<readonly Shown[], Sums, undefined>;

async function* onlineDiff(client: EtcdClient, [from, to]: States, options: Options): Pages {
  const request = {
    from: stateMessage(from),
    to: stateMessage(to),
    ...prefixRange(options.prefix),
    keysOnly: options.keys ?? false,
    statOnly: options.stat ?? false,
  };
  const branches = [from.branch, to.branch];
  let summary: DiffResponse["summary"];
  for await (const message of client.repositoryStream(branches, method.diff, request)) {
    yield message.differences;
    summary = message.summary;
  }
  return {
    added: Number(summary?.added ?? 0n),
    removed: Number(summary?.removed ?? 0n),
    changed: Number(summary?.changed ?? 0n),
    fromRevision: Number(summary?.fromRevision ?? 0n),
    toRevision: Number(summary?.toRevision ?? 0n),
    blocksRead: Number(summary?.blocksRead ?? 0n),
    bytesRead: Number(summary?.bytesRead ?? 0n),
  };
}

async function* offlineDiff(context: OfflineContext, [from, to]: States, options: Options): Pages {
  const { rangeOf } = await import("../../engine/branches/history.ts");
  const { key, rangeEnd } = prefixRange(options.prefix);
  const range = rangeOf(key.latin1Slice(), rangeEnd.latin1Slice());
  const diff = (await historyOf(context)).diff({ from, to, range, signal: context.signal });
  for (;;) {
    const { value, done } = await diff.next();
    if (done) return value;
    yield value.map(shownOf);
  }
}

const shownOf = ({ key, before, after }: KeyDifference): Shown => ({
  key: Buffer.from(key, "latin1"),
  before: before === null ? undefined : pairOf(before),
  after: after === null ? undefined : pairOf(after),
});

export const pairOf = ({ bytes, start, end }: Row): KeyValue => fromBinary(KeyValueSchema, bytes.subarray(start, end));

export function prefixRange(prefix = ""): { key: Buffer; rangeEnd: Buffer } {
  const key = Buffer.from(prefix);
  return { key, rangeEnd: key.length === 0 ? key : prefixEnd(key) };
}

class DiffPrinter {
  readonly #states: States;
  readonly #options: Options;
  readonly #format: Format;

  constructor(states: States, options: Options, format: Format) {
    this.#states = states;
    this.#options = options;
    this.#format = format;
  }

  async all(pages: Pages): Promise<Sums> {
    for (;;) {
      const { value, done } = await patiently("comparing", pages.next());
      if (done) {
        this.#summary(value);
        return value;
      }
      if (!this.#options.stat) for (const each of value) this.#difference(each);
    }
  }

  #difference({ key, before, after }: Shown): void {
    if (this.#format === "json") {
      const what = before === undefined ? "added" : after === undefined ? "removed" : "changed";
      const keysOnly = this.#options.keys ?? false;
      const sides = {
        ...(before !== undefined && { before: jsonPair(before, keysOnly) }),
        ...(after !== undefined && { after: jsonPair(after, keysOnly) }),
      };
      print(goJsonObject({ change: what, key, ...sides }));
      return;
    }
    const sign = before === undefined ? "+" : after === undefined ? "-" : "~";
    print(`${sign} ${keyText(key)}`);
    if (this.#options.keys) return;
    if (before === undefined) print(`    ${valueText(after!.value)}`);
    else if (after === undefined) print(`    ${valueText(before.value)}`);
    else for (const line of changedLines(before, after)) print(`    ${line}`);
  }

  #summary(sums: Sums): void {
    if (this.#format === "json") {
      print(JSON.stringify({ summary: sums }));
      return;
    }
    const { added, removed, changed, fromRevision, toRevision, blocksRead, bytesRead } = sums;
    const [from, to] = this.#states.map(stateText);
    print(`${added} added, ${removed} removed, ${changed} changed`);
    if (!this.#options.stat) return;
    print(`from ${from} (revision ${fromRevision}) to ${to} (revision ${toRevision})`);
    print(`read: ${blocksRead} blocks of tables, ${bytesText(bytesRead)} in all`);
  }
}

function changedLines(before: KeyValue, after: KeyValue): string[] {
  const lines = Buffer.compare(before.value, after.value) === 0 ? [] : changeLines(before.value, after.value);
  if (before.lease !== after.lease) lines.push(`lease: ${before.lease.toString(16)} → ${after.lease.toString(16)}`);
  return lines;
}

/** Numbers as those of `get --json`: revisions and leases whole, whatever they are. */
function jsonPair({ createRevision, modRevision, version, lease, value }: KeyValue, keysOnly: boolean): RawJson {
  const numbers = { createRevision, modRevision, version, lease };
  return new RawJson(goJsonObject(keysOnly ? numbers : { ...numbers, value }));
}
