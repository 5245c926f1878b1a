import { Command } from "commander";
import { CompactionResponseSchema, KV } from "../../gen/etcdserverpb/rpc_pb.ts";
import { int64, online } from "../context.ts";
import { goJson } from "../go-json.ts";
import { print } from "../output.ts";

export const compactCommand = (): Command =>
  new Command("compact")
    .alias("compaction")
    .argument("<revision>")
    .description("Drops the history before a revision")
    .option("--physical", "wait until the old versions are gone from storage")
    .addHelpText("after", "\nExample:\n  t4 compact 1234")
    .action(async (text: string, options: { physical?: boolean }, command: Command) => {
      const revision = int64("revision", text);
      await online(command, async ({ client, output }) => {
        const answer = await client.unary(KV.method.compact, { revision, physical: options.physical ?? false });
        print(output.format === "json" ? goJson(CompactionResponseSchema, answer) : `compacted revision ${revision}`);
      });
    });
