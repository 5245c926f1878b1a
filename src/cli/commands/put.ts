import { Command } from "commander";
import { KV, PutResponseSchema } from "../../gen/etcdserverpb/rpc_pb.ts";
import { leaseIdOf, online, standardInput, withConnection } from "../context.ts";
import { UsageError } from "../errors.ts";
import { goJson } from "../go-json.ts";
import { headerFields, pairFields, print, printFields, printPair } from "../output.ts";

export interface PutOptions {
  lease?: string;
  prevKv?: boolean;
  ignoreValue?: boolean;
  ignoreLease?: boolean;
}

export const addPutOptions = (command: Command): Command =>
  command
    .option("--lease <id>", "attach the key to this lease (hexadecimal)")
    .option("--prev-kv", "print the pair as it was before")
    .option("--ignore-value", "keep the key's value")
    .option("--ignore-lease", "keep the key's lease");

export const putCommand = (): Command =>
  addPutOptions(withConnection(new Command("put").argument("<key>").argument("[value]")))
    .description("Writes a key; the value comes from standard input where it is not given")
    .addHelpText(
      "after",
      "\nExamples:\n  t4 put greeting hello\n  t4 put config < config.json\n  t4 put k v --lease 32695410dcc0ca06",
    )
    .action(async (key: string, value: string | undefined, options: PutOptions, command: Command) => {
      if (options.ignoreValue && value !== undefined)
        throw new UsageError("put command needs only 1 argument when 'ignore-value' is set");
      const bytes = options.ignoreValue
        ? Buffer.alloc(0)
        : value === undefined
          ? await standardInput()
          : Buffer.from(value);
      const request = putRequest(Buffer.from(key), bytes, options);
      await online(command, async ({ client, output }) => {
        const answer = await client.unary(KV.method.put, request);
        if (output.format === "json") print(goJson(PutResponseSchema, answer));
        else if (output.format === "fields") {
          printFields(headerFields(answer.header));
          if (answer.prevKv !== undefined) printFields(pairFields(answer.prevKv));
        } else {
          print("OK");
          if (answer.prevKv !== undefined) printPair(answer.prevKv, output);
        }
      });
    });

export const putRequest = (key: Buffer, value: Buffer, options: PutOptions) => ({
  key,
  value,
  lease: options.lease === undefined ? 0n : leaseIdOf(options.lease),
  prevKv: options.prevKv ?? false,
  ignoreValue: options.ignoreValue ?? false,
  ignoreLease: options.ignoreLease ?? false,
});
