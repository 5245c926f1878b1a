import { Command } from "commander";
import { type Permission, Permission_Type as Type } from "../../gen/authpb/auth_pb.ts";
import * as pb from "../../gen/etcdserverpb/rpc_pb.ts";
import { online } from "../context.ts";
import { UsageError } from "../errors.ts";
import { goJson } from "../go-json.ts";
import { goQuote } from "../go-quote.ts";
import { prefixEnd, type RangeOptions } from "../key-range.ts";
import { type OutputOptions, print, printFields, printHeader } from "../output.ts";
import { printDone, printNames } from "./auth-print.ts";

const { Auth } = pb;

export const roleCommand = (): Command =>
  new Command("role")
    .description("Adds, changes and shows roles and what they permit")
    .addHelpText(
      "after",
      "\nExamples:\n  t4 role add readers\n  t4 role grant-permission readers read c/ --prefix\n  t4 role get readers",
    )
    .addCommand(add())
    .addCommand(remove())
    .addCommand(get())
    .addCommand(list())
    .addCommand(grantPermission())
    .addCommand(revokePermission());

const add = (): Command =>
  new Command("add")
    .argument("<role>")
    .description("Adds a role")
    .action((name: string, _options, command: Command) =>
      online(command, async ({ client, output }) => {
        const answer = await client.unary(Auth.method.roleAdd, { name });
        printDone(pb.AuthRoleAddResponseSchema, answer, output, `Role ${name} created`);
      }),
    );

const remove = (): Command =>
  new Command("delete")
    .argument("<role>")
    .description("Deletes a role, and takes it from all who have it")
    .action((role: string, _options, command: Command) =>
      online(command, async ({ client, output }) => {
        const answer = await client.unary(Auth.method.roleDelete, { role });
        printDone(pb.AuthRoleDeleteResponseSchema, answer, output, `Role ${role} deleted`);
      }),
    );

const get = (): Command =>
  new Command("get")
    .argument("<role>")
    .description("Shows what a role permits")
    .action((role: string, _options, command: Command) =>
      online(command, async ({ client, output }) => {
        printRole(role, await client.unary(Auth.method.roleGet, { role }), output);
      }),
    );

const list = (): Command =>
  new Command("list").description("Lists the roles").action((_options, command: Command) =>
    online(command, async ({ client, output }) => {
      const answer = await client.unary(Auth.method.roleList, {});
      if (output.format === "json") print(goJson(pb.AuthRoleListResponseSchema, answer));
      else if (output.format === "fields") printNames("Roles", answer.roles, { header: answer.header, output });
      else for (const role of answer.roles) print(role);
    }),
  );

const types: Readonly<Record<string, Type>> = { read: Type.READ, write: Type.WRITE, readwrite: Type.READWRITE };

const typeNames: Readonly<Record<Type, string>> = {
  [Type.READ]: "READ",
  [Type.WRITE]: "WRITE",
  [Type.READWRITE]: "READWRITE",
};

const grantPermission = (): Command =>
  new Command("grant-permission")
    .argument("<role>")
    .argument("<type>", "read, write or readwrite")
    .argument("<key>")
    .argument("[end]")
    .description("Permits a key or a range of keys")
    .option("--prefix", "all keys that begin with the key")
    .option("--from-key", "all keys from the key on")
    .action(async (name: string, type: string, key: string, end: string | undefined, ...rest) => {
      const [options, command] = rest as [RangeOptions, Command];
      const permType = Object.hasOwn(types, type.toLowerCase()) ? types[type.toLowerCase()] : undefined;
      if (permType === undefined) throw new UsageError(`invalid permission type "${type}": read, write or readwrite`);
      const range = permissionRange(key, end, options);
      await online(command, async ({ client, output }) => {
        const answer = await client.unary(Auth.method.roleGrantPermission, { name, perm: { permType, ...range } });
        printDone(pb.AuthRoleGrantPermissionResponseSchema, answer, output, `Role ${name} updated`);
      });
    });

const revokePermission = (): Command =>
  new Command("revoke-permission")
    .argument("<role>")
    .argument("<key>")
    .argument("[end]")
    .description("Permits a key or a range of keys no more")
    .option("--prefix", "all keys that begin with the key")
    .option("--from-key", "all keys from the key on")
    .action(async (role: string, key: string, end: string | undefined, options: RangeOptions, command: Command) => {
      const range = permissionRange(key, end, options);
      await online(command, async ({ client, output }) => {
        const answer = await client.unary(Auth.method.roleRevokePermission, { role, ...range });
        const text = `Permission of ${rangeText(key, range.rangeEnd)} is revoked from role ${role}`;
        printDone(pb.AuthRoleRevokePermissionResponseSchema, answer, output, text);
      });
    });

/** As etcdctl reads them: an empty key with either option is all there is. */
function permissionRange(given: string, end: string | undefined, { prefix, fromKey }: RangeOptions) {
  if (prefix && fromKey) throw new UsageError("--from-key and --prefix flags are mutually exclusive");
  const key = Buffer.from(given === "" ? "\0" : given);
  if (given === "") return { key, rangeEnd: Buffer.from(prefix || fromKey ? "\0" : "") };
  if (end !== undefined) {
    if (prefix) throw new UsageError("unexpected endkey argument with --prefix flag");
    if (fromKey) throw new UsageError("unexpected endkey argument with --from-key flag");
    return { key, rangeEnd: Buffer.from(end) };
  }
  if (prefix) return { key, rangeEnd: prefixEnd(key) };
  return { key, rangeEnd: Buffer.from(fromKey ? "\0" : "") };
}

function rangeText(key: string, rangeEnd: Buffer): string {
  if (rangeEnd.length === 0) return `key ${key}`;
  return `range [${key}, ${isOpen(rangeEnd) ? "<open ended>" : `${rangeEnd.toString("utf8")})`}`;
}

const isOpen = (rangeEnd: Uint8Array): boolean => rangeEnd.length === 1 && rangeEnd[0] === 0;

export function printRole(role: string, answer: pb.AuthRoleGetResponse, output: OutputOptions): void {
  if (output.format === "json") print(goJson(pb.AuthRoleGetResponseSchema, answer));
  else if (output.format === "fields") {
    printHeader(answer.header, output);
    for (const { permType, key, rangeEnd } of answer.perm) {
      print(`"PermType" :  ${typeNames[permType]}`);
      printFields({ Key: goQuote(key), RangeEnd: goQuote(rangeEnd) });
    }
  } else {
    print(`Role ${role}`);
    print("KV Read:");
    for (const each of answer.perm) if (each.permType !== Type.WRITE) print(permissionText(each));
    print("KV Write:");
    for (const each of answer.perm) if (each.permType !== Type.READ) print(permissionText(each));
  }
}

function permissionText({ key, rangeEnd }: Permission): string {
  const text = Buffer.from(key).toString("utf8");
  if (rangeEnd.length === 0) return `\t${text}`;
  const range = `\t[${text}, ${isOpen(rangeEnd) ? "<open ended>" : `${Buffer.from(rangeEnd).toString("utf8")})`}`;
  const isPrefix = key.length > 0 && prefixEnd(Buffer.from(key)).equals(rangeEnd);
  return isPrefix ? `${range} (prefix ${text})` : range;
}
