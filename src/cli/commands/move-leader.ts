import { Command } from "commander";
import { Maintenance } from "../../gen/etcdserverpb/rpc_pb.ts";
import { idOf, online } from "../context.ts";
import { print } from "../output.ts";

export const moveLeaderCommand = (): Command =>
  new Command("move-leader")
    .argument("<id>", "the member that is to lead, hexadecimal")
    .description("Gives the lead to another node")
    .action(async (text: string, _options, command: Command) => {
      const targetID = idOf("member ID", text);
      await online(command, async ({ client }) => {
        const { leader } = await client.unary(Maintenance.method.status, {});
        await client.unary(Maintenance.method.moveLeader, { targetID });
        print(`Leadership transferred from ${leader.toString(16)} to ${targetID.toString(16)}`);
      });
    });
