import { Command } from "commander";
import { type DeleteRangeResponse, DeleteRangeResponseSchema, KV } from "../../gen/etcdserverpb/rpc_pb.ts";
import { online } from "../context.ts";
import { goJson } from "../go-json.ts";
import { keyRange, type RangeOptions } from "../key-range.ts";
import { type OutputOptions, print, printFields, printHeader, printPair, printPairFields } from "../output.ts";

export interface DelOptions extends RangeOptions {
  prevKv?: boolean;
}

export const addDelOptions = (command: Command): Command =>
  command
    .argument("[key]")
    .argument("[range_end]")
    .option("--prefix", "keys that begin with KEY")
    .option("--from-key", "keys from KEY on")
    .option("--range", "with range_end: delete the range without a warning")
    .option("--prev-kv", "print the pairs that are deleted");

export const delCommand = (): Command =>
  addDelOptions(new Command("del"))
    .description("Deletes a key, or a range of keys")
    .addHelpText("after", "\nExamples:\n  t4 del /config/a\n  t4 del --prefix /config/ --prev-kv")
    .action(async (_key, _end, options: DelOptions, command: Command) => {
      const request = { ...keyRange("del", command.args, options), prevKv: options.prevKv ?? false };
      await online(command, async ({ client, output }) => {
        printDeleted(await client.unary(KV.method.deleteRange, request), output);
      });
    });

export function printDeleted(answer: DeleteRangeResponse, output: OutputOptions): void {
  if (output.format === "json") print(goJson(DeleteRangeResponseSchema, answer));
  else if (output.format === "fields") {
    printHeader(answer.header, output);
    printFields({ Deleted: answer.deleted });
    for (const kv of answer.prevKvs) printPairFields(kv, output, "Prev");
  } else {
    print(String(answer.deleted));
    for (const kv of answer.prevKvs) printPair(kv, output);
  }
}
