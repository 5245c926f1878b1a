import { Command } from "commander";
import {
  AlarmRequest_AlarmAction as Action,
  type AlarmResponse,
  AlarmResponseSchema,
  Maintenance,
} from "../../gen/etcdserverpb/rpc_pb.ts";
import { type Context, online } from "../context.ts";
import { goJson } from "../go-json.ts";
import { alarmName, print, printFields, printHeader } from "../output.ts";

export const alarmCommand = (): Command =>
  new Command("alarm")
    .description("Lists and disarms alarms")
    .addHelpText("after", "\nExamples:\n  t4 alarm list\n  t4 del --prefix old/ && t4 alarm disarm")
    .addCommand(
      new Command("list").description("Lists the alarms that are raised").action(async (_options, command: Command) => {
        await online(command, async (context) => {
          printAlarms(context, await context.client.unary(Maintenance.method.alarm, { action: Action.GET }));
        });
      }),
    )
    .addCommand(
      new Command("disarm").description("Disarms all alarms").action(async (_options, command: Command) => {
        await online(command, disarm);
      }),
    );

/** Each that is raised; what they refused is taken again. */
async function disarm(context: Context): Promise<void> {
  const { client } = context;
  const answer = await client.unary(Maintenance.method.alarm, { action: Action.GET });
  const disarmed: AlarmResponse["alarms"] = [];
  for (const { memberID, alarm } of answer.alarms) {
    const { alarms } = await client.unary(Maintenance.method.alarm, { action: Action.DEACTIVATE, memberID, alarm });
    disarmed.push(...alarms);
  }
  printAlarms(context, { ...answer, alarms: disarmed });
}

function printAlarms({ output }: Context, answer: AlarmResponse): void {
  if (output.format === "json") {
    print(goJson(AlarmResponseSchema, answer));
    return;
  }
  if (output.format === "fields") printHeader(answer.header, output);
  for (const { memberID, alarm } of answer.alarms) {
    const name = alarmName(alarm);
    if (output.format === "simple") print(`${memberID === 0n ? "" : `memberID:${memberID} `}alarm:${name} `);
    else {
      printFields({ MemberID: memberID, AlarmType: name });
      print("");
    }
  }
}
