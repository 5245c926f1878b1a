import { Command, Option } from "commander";
import * as pb from "../../gen/etcdserverpb/rpc_pb.ts";
import { askNewPassword } from "../ask-password.ts";
import { type Context, online, standardInput } from "../context.ts";
import { UsageError } from "../errors.ts";
import { goJson } from "../go-json.ts";
import { print } from "../output.ts";
import { printDone, printNames } from "./auth-print.ts";
import { printRole } from "./role.ts";

const { Auth } = pb;

export const userCommand = (): Command =>
  new Command("user")
    .description("Adds, changes and shows users")
    .addHelpText("after", "\nExamples:\n  t4 user add alice:secret\n  t4 user grant-role alice readers\n  t4 user list")
    .addCommand(add())
    .addCommand(remove())
    .addCommand(get())
    .addCommand(list())
    .addCommand(changePassword())
    .addCommand(grantRole())
    .addCommand(revokeRole());

interface AddOptions {
  newUserPassword?: string;
  noPassword?: boolean;
  interactive: string | true;
}

/** Not the opposite of --password, which is how to log in, though Commander reads its name so. */
function withoutPassword(): Option {
  const option = new Option("--no-password", "a user without one, known by its client certificate's common name");
  option.negate = false;
  return option;
}

const add = (): Command =>
  new Command("add")
    .argument("<name>", "NAME or NAME:PASSWORD")
    .description("Adds a user")
    .option("--interactive [yes]", "ask for the password at the terminal; =false: read it from standard input", "true")
    .option("--new-user-password <password>", "the password")
    .addOption(withoutPassword())
    .action(async (given: string, options: AddOptions, command: Command) => {
      const { noPassword = false } = options;
      const { name, password } = noPassword ? { name: given, password: "" } : await newUser(given, options);
      await online(command, async ({ client, output }) => {
        const answer = await client.unary(Auth.method.userAdd, { name, password, options: { noPassword } });
        printDone(pb.AuthUserAddResponseSchema, answer, output, `User ${name} created`);
      });
    });

async function newUser(given: string, options: AddOptions): Promise<{ name: string; password: string }> {
  if (options.newUserPassword !== undefined && options.newUserPassword !== "") {
    return { name: given, password: options.newUserPassword };
  }
  const colon = given.indexOf(":");
  if (colon === 0) throw new UsageError("empty user name is not allowed");
  if (colon > 0) return { name: given.slice(0, colon), password: given.slice(colon + 1) };
  return { name: given, password: await passwordFor(given, options.interactive) };
}

/** From standard input it is the first word there. */
async function passwordFor(name: string, interactive: string | true): Promise<string> {
  if (interactive === true || interactive === "true") return askNewPassword(name);
  if (interactive !== "false") throw new UsageError(`--interactive: expected true or false, not "${interactive}"`);
  const [word] = (await standardInput()).toString("utf8").trim().split(/\s+/);
  return word ?? "";
}

const remove = (): Command =>
  new Command("delete")
    .argument("<name>")
    .description("Deletes a user")
    .action((name: string, _options, command: Command) =>
      online(command, async ({ client, output }) => {
        const answer = await client.unary(Auth.method.userDelete, { name });
        printDone(pb.AuthUserDeleteResponseSchema, answer, output, `User ${name} deleted`);
      }),
    );

const get = (): Command =>
  new Command("get")
    .argument("<name>")
    .description("Shows a user's roles")
    .option("--detail", "and what they permit")
    .action((name: string, options: { detail?: boolean }, command: Command) =>
      online(command, (context) => (options.detail ? showDetail(context, name) : show(context, name))),
    );

async function show({ client, output }: Context, name: string): Promise<void> {
  const answer = await client.unary(Auth.method.userGet, { name });
  if (output.format === "json") print(goJson(pb.AuthUserGetResponseSchema, answer));
  else if (output.format === "fields") printNames("Roles", answer.roles, { header: answer.header, output });
  else {
    print(`User: ${name}`);
    print(["Roles:", ...answer.roles].join(" "));
  }
}

async function showDetail({ client, output }: Context, name: string): Promise<void> {
  const { roles } = await client.unary(Auth.method.userGet, { name });
  print(`User: ${name}`);
  for (const role of roles) {
    print("");
    printRole(role, await client.unary(Auth.method.roleGet, { role }), output);
  }
}

const list = (): Command =>
  new Command("list").description("Lists the users").action((_options, command: Command) =>
    online(command, async ({ client, output }) => {
      const answer = await client.unary(Auth.method.userList, {});
      if (output.format === "json") print(goJson(pb.AuthUserListResponseSchema, answer));
      else if (output.format === "fields") printNames("Users", answer.users, { header: answer.header, output });
      else for (const user of answer.users) print(user);
    }),
  );

const changePassword = (): Command =>
  new Command("passwd")
    .argument("<name>")
    .description("Changes a user's password")
    .option("--interactive [yes]", "ask for the password at the terminal; =false: read it from standard input", "true")
    .action(async (name: string, options: { interactive: string | true }, command: Command) => {
      const password = await passwordFor(name, options.interactive);
      await online(command, async ({ client, output }) => {
        const answer = await client.unary(Auth.method.userChangePassword, { name, password });
        printDone(pb.AuthUserChangePasswordResponseSchema, answer, output, "Password updated");
      });
    });

const grantRole = (): Command =>
  new Command("grant-role")
    .argument("<user>")
    .argument("<role>")
    .description("Gives a user a role")
    .action((user: string, role: string, _options, command: Command) =>
      online(command, async ({ client, output }) => {
        const answer = await client.unary(Auth.method.userGrantRole, { user, role });
        const text = `Role ${role} is granted to user ${user}`;
        printDone(pb.AuthUserGrantRoleResponseSchema, answer, output, text);
      }),
    );

const revokeRole = (): Command =>
  new Command("revoke-role")
    .argument("<user>")
    .argument("<role>")
    .description("Takes a role from a user")
    .action((name: string, role: string, _options, command: Command) =>
      online(command, async ({ client, output }) => {
        const answer = await client.unary(Auth.method.userRevokeRole, { name, role });
        const text = `Role ${role} is revoked from user ${name}`;
        printDone(pb.AuthUserRevokeRoleResponseSchema, answer, output, text);
      }),
    );
