import { Command } from "commander";
import { Auth, AuthStatusResponseSchema } from "../../gen/etcdserverpb/rpc_pb.ts";
import { type Context, online } from "../context.ts";
import { CommandError } from "../errors.ts";
import { goJson } from "../go-json.ts";
import { print, printFields, printHeader } from "../output.ts";

export const authCommand = (): Command =>
  new Command("auth")
    .description("Turns authentication on and off")
    .addHelpText(
      "after",
      "\nExamples:\n  t4 user add root:secret\n  t4 auth enable\n  t4 --user root:secret auth status",
    )
    .addCommand(
      new Command("enable")
        .description("Turns it on; the user root, which must exist, gets the role root")
        .action((_options, command: Command) => online(command, enable)),
    )
    .addCommand(
      new Command("disable").description("Turns it off").action((_options, command: Command) =>
        online(command, async ({ client }) => {
          await client.unary(Auth.method.authDisable, {});
          print("Authentication Disabled");
        }),
      ),
    )
    .addCommand(
      new Command("status")
        .description("Shows whether it is on")
        .action((_options, command: Command) => online(command, status)),
    );

const ROLE_IS_MISSING = "etcdserver: root user does not have root role";
const ROLE_IS_THERE = "etcdserver: role name already exists";

/** As etcdctl: what root lacks it is given. */
async function enable({ client }: Context): Promise<void> {
  const tried = await client.unary(Auth.method.authEnable, {}).catch((error: unknown) => error);
  if (tried instanceof Error) {
    if (!isFailure(tried, ROLE_IS_MISSING)) throw tried;
    await client.unary(Auth.method.roleAdd, { name: "root" }).catch((error: unknown) => {
      if (!isFailure(error, ROLE_IS_THERE)) throw error;
    });
    await client.unary(Auth.method.userGrantRole, { user: "root", role: "root" });
    await client.unary(Auth.method.authEnable, {});
  }
  print("Authentication Enabled");
}

const isFailure = (error: unknown, message: string): boolean =>
  error instanceof CommandError && error.message === message;

async function status({ client, output }: Context): Promise<void> {
  const answer = await client.unary(Auth.method.authStatus, {});
  if (output.format === "json") print(goJson(AuthStatusResponseSchema, answer));
  else if (output.format === "fields") {
    printHeader(answer.header, output);
    printFields({ Enabled: answer.enabled, AuthRevision: answer.authRevision });
  } else {
    print(`Authentication Status: ${answer.enabled}`);
    print(`AuthRevision: ${answer.authRevision}`);
  }
}
