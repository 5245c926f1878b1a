import { Command } from "commander";
import { KV, type PutResponse, PutResponseSchema } from "../../gen/etcdserverpb/rpc_pb.ts";
import { leaseIdOf, online, standardInput } from "../context.ts";
import { UsageError } from "../errors.ts";
import { goJson } from "../go-json.ts";
import { type OutputOptions, print, printHeader, printPair, printPairFields } from "../output.ts";

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
  addPutOptions(new Command("put").argument("<key>").argument("[value]"))
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
          ? await valueFromInput()
          : Buffer.from(value);
      const request = putRequest(Buffer.from(key), bytes, options);
      await online(command, async ({ client, output }) => {
        printPut(await client.unary(KV.method.put, request), output);
      });
    });

/** An empty input is more often a forgotten argument than an empty value. */
async function valueFromInput(): Promise<Buffer> {
  const value = await standardInput();
  if (value.length > 0) return value;
  throw new UsageError("put: no value, neither as an argument nor on standard input; '' is the empty value");
}

export function printPut(answer: PutResponse, output: OutputOptions): void {
  if (output.format === "json") print(goJson(PutResponseSchema, answer));
  else if (output.format === "fields") {
    printHeader(answer.header, output);
    if (answer.prevKv !== undefined) printPairFields(answer.prevKv, output, "Prev");
  } else {
    print("OK");
    if (answer.prevKv !== undefined) printPair(answer.prevKv, output);
  }
}

export const putRequest = (key: Buffer, value: Buffer, options: PutOptions) => ({
  key,
  value,
  lease: options.lease === undefined ? 0n : leaseIdOf(options.lease),
  prevKv: options.prevKv ?? false,
  ignoreValue: options.ignoreValue ?? false,
  ignoreLease: options.ignoreLease ?? false,
});
