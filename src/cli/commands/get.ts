import type { MessageInitShape } from "@bufbuild/protobuf";
import { Command } from "commander";
import {
  KV,
  type RangeRequestSchema,
  type RangeResponse,
  RangeResponseSchema,
  RangeRequest_SortOrder as SortOrder,
  RangeRequest_SortTarget as SortTarget,
} from "../../gen/etcdserverpb/rpc_pb.ts";
import { Repository } from "../../gen/t4/v1/repository_pb.ts";
import type { EtcdClient } from "../client.ts";
import { int64, online } from "../context.ts";
import { UsageError } from "../errors.ts";
import { goJson } from "../go-json.ts";
import { keyRange, type RangeOptions } from "../key-range.ts";
import { momentOf } from "../moment.ts";
import type { OfflineContext } from "../offline.ts";
import { type OutputOptions, print, printBytes, printFields, printHeader, printPairFields } from "../output.ts";
import { isOffline, onRepository, repositoryOptions } from "../repository.ts";
import { stateMessage } from "../state-name.ts";

export interface GetOptions extends RangeOptions {
  at?: string;
  consistency?: string;
  order?: string;
  sortBy?: string;
  limit?: string;
  rev?: string;
  keysOnly?: boolean;
  countOnly?: boolean;
  printValueOnly?: boolean;
  minModRev?: string;
  maxModRev?: string;
  minCreateRev?: string;
  maxCreateRev?: string;
}

export function addGetOptions(command: Command): Command {
  return command
    .argument("[key]")
    .argument("[range_end]")
    .option("--prefix", "keys that begin with KEY")
    .option("--from-key", "keys from KEY on")
    .option("--limit <number>", "most results; 0: all")
    .option("--rev <revision>", "as of this revision")
    .option("--order <order>", "ASCEND or DESCEND")
    .option("--sort-by <target>", "CREATE, KEY, MODIFY, VALUE or VERSION")
    .option("--keys-only", "keys without values")
    .option("--count-only", "the number of keys")
    .option("--consistency <level>", "l: linearizable, s: serializable", "l")
    .option("--print-value-only", "values without keys")
    .option("--min-mod-rev <revision>", "least modification revision")
    .option("--max-mod-rev <revision>", "greatest modification revision")
    .option("--min-create-rev <revision>", "least creation revision")
    .option("--max-create-rev <revision>", "greatest creation revision");
}

export function getCommand(): Command {
  const command = addGetOptions(new Command("get"))
    .description("Gets a key, or a range of keys, as of now or of any retained moment")
    .option("--at <moment>", "as of a revision, time, age or checkpoint, though it was compacted")
    .addHelpText(
      "after",
      [
        "\nWith --at the answer comes from checkpoints and log; --store or --data-dir read them without a server.",
        "\nExamples:",
        "  t4 get /config/a",
        "  t4 get --prefix /config/ --keys-only",
        "  t4 get a z --limit 10 --json",
        "  t4 get --prefix /config/ --at 2h",
        "  t4 get /config/a --at 120000 --branch staging",
      ].join("\n"),
    );
  for (const option of repositoryOptions()) command.addOption(option);
  return command.action(async (_key, _end, options: GetOptions, command: Command) => {
    const request = rangeRequest(command.args, options);
    if (options.at !== undefined || isOffline(command)) return getAt(command, request, options);
    await online(command, async ({ client, output }) => {
      printRange(await client.unary(KV.method.range, request), options, output);
    });
  });
}

/** From the past; where a bucket is named, from that alone. */
async function getAt(command: Command, request: Request, options: GetOptions): Promise<void> {
  if (options.rev !== undefined) throw new UsageError("--rev and --at cannot be set together");
  const { branch = "main", hex = false } = command.optsWithGlobals<{ branch?: string; hex?: boolean }>();
  const state = { branch, moment: momentOf(options.at) };
  const ways = {
    online: async (client: EtcdClient) => {
      const asked = { state: stateMessage(state), range: request };
      return (await client.repository([branch], Repository.method.rangeAt, asked)).range!;
    },
    offline: async (context: OfflineContext) =>
      (await import("../range-at.ts")).offlineRangeAt(context, state, request),
  };
  await onRepository(command, ways, (answer, format) => {
    printRange(answer, options, { format: format === "table" ? "simple" : format, hex });
  });
}

type Request = MessageInitShape<typeof RangeRequestSchema>;

const ORDERS: Record<string, SortOrder> = { ASCEND: SortOrder.ASCEND, DESCEND: SortOrder.DESCEND, "": SortOrder.NONE };
const TARGETS: Record<string, SortTarget> = {
  CREATE: SortTarget.CREATE,
  KEY: SortTarget.KEY,
  MODIFY: SortTarget.MOD,
  VALUE: SortTarget.VALUE,
  VERSION: SortTarget.VERSION,
  "": SortTarget.KEY,
};

export function rangeRequest(
  args: readonly string[],
  options: GetOptions,
): MessageInitShape<typeof RangeRequestSchema> {
  if (options.keysOnly && options.countOnly)
    throw new UsageError("`--keys-only` and `--count-only` cannot be set together");
  const sortOrder = ORDERS[(options.order ?? "").toUpperCase()];
  if (sortOrder === undefined) throw new UsageError(`bad sort order ${options.order}: ASCEND or DESCEND`);
  const sortTarget = TARGETS[(options.sortBy ?? "").toUpperCase()];
  if (sortTarget === undefined)
    throw new UsageError(`bad sort target ${options.sortBy}: CREATE, KEY, MODIFY, VALUE or VERSION`);
  const consistency = options.consistency ?? "l";
  if (consistency !== "l" && consistency !== "s") throw new UsageError(`unknown consistency flag "${consistency}"`);
  const number = (what: string, text: string | undefined) => (text === undefined ? 0n : int64(what, text));
  return {
    ...keyRange("get", args, options),
    // As etcdctl: a sort target alone sorts ascending what a limit leaves, which is of the first keys.
    sortOrder,
    sortTarget,
    serializable: consistency === "s",
    limit: number("--limit", options.limit),
    revision: number("--rev", options.rev),
    keysOnly: options.keysOnly ?? false,
    countOnly: options.countOnly ?? false,
    minModRevision: number("--min-mod-rev", options.minModRev),
    maxModRevision: number("--max-mod-rev", options.maxModRev),
    minCreateRevision: number("--min-create-rev", options.minCreateRev),
    maxCreateRevision: number("--max-create-rev", options.maxCreateRev),
  };
}

export function printRange(answer: RangeResponse, options: GetOptions, output: OutputOptions): void {
  switch (output.format) {
    case "json":
      print(goJson(RangeResponseSchema, answer));
      return;
    case "fields":
      printHeader(answer.header, output);
      for (const kv of answer.kvs) printPairFields(kv, output);
      printFields({ More: answer.more, Count: answer.count });
      return;
    case "simple":
      if (options.countOnly) print(String(answer.count));
      for (const kv of answer.kvs) {
        if (!options.printValueOnly) printBytes(kv.key, output);
        printBytes(kv.value, output);
      }
  }
}
