import { Command } from "commander";
import {
  DowngradeRequest_DowngradeAction as Action,
  DowngradeResponseSchema,
  Maintenance,
} from "../../gen/etcdserverpb/rpc_pb.ts";
import { online } from "../context.ts";
import { goJson } from "../go-json.ts";
import { print } from "../output.ts";

export const downgradeCommand = (): Command =>
  new Command("downgrade")
    .description("Makes snapshots for an older etcd")
    .addHelpText("after", "\nExample:\n  t4 downgrade enable 3.5 && t4 snapshot save for-3.5.db && t4 downgrade cancel")
    .addCommand(actionCommand("validate", Action.VALIDATE, "Tells whether that is possible"))
    .addCommand(actionCommand("enable", Action.ENABLE, "Writes snapshots for that version from now on"))
    .addCommand(actionCommand("cancel", Action.CANCEL, "Writes them for the newest one again"));

function actionCommand(name: string, action: Action, description: string): Command {
  const command = new Command(name).description(description);
  if (action !== Action.CANCEL) command.argument("<version>", "3.5");
  return command.action(async (...args: unknown[]) => {
    const version = action === Action.CANCEL ? "" : (args[0] as string);
    await online(args.at(-1) as Command, async ({ client, output }) => {
      const answer = await client.unary(Maintenance.method.downgrade, { action, version });
      if (output.format === "json") print(goJson(DowngradeResponseSchema, answer));
      else print(`Downgrade ${name} success, cluster version ${answer.version}`);
    });
  });
}
