import { Command } from "commander";
import { Lease, LeaseRevokeResponseSchema } from "../../gen/etcdserverpb/rpc_pb.ts";
import { type Context, int64, leaseIdOf, leaseText, online } from "../context.ts";
import { CommandError } from "../errors.ts";
import { goJson, goJsonObject, RawJson } from "../go-json.ts";
import { goQuote } from "../go-quote.ts";
import { flatHeader, idField, print, printFields, printHeader } from "../output.ts";

export const leaseCommand = (): Command =>
  new Command("lease")
    .description("Grants, revokes, renews and shows leases")
    .addHelpText("after", "\nExamples:\n  t4 lease grant 60\n  t4 lease keep-alive 1eeea203cad7ae3f\n  t4 lease list")
    .addCommand(grant())
    .addCommand(revoke())
    .addCommand(timeToLive())
    .addCommand(list())
    .addCommand(keepAlive());

const grant = (): Command =>
  new Command("grant")
    .argument("<ttl>", "seconds")
    .description("Creates a lease")
    .action(async (ttl: string, _options, command: Command) => {
      const TTL = int64("TTL", ttl);
      await online(command, async ({ client, output }) => {
        const answer = await client.unary(Lease.method.leaseGrant, { TTL, ID: 0n });
        if (output.format === "json") {
          print(goJsonObject({ ...flatHeader(answer.header), ID: answer.ID, TTL: answer.TTL, Error: answer.error }));
        } else if (output.format === "fields") {
          printHeader(answer.header, output);
          printFields({ ID: idField(answer.ID, output), TTL: answer.TTL });
        } else print(`lease ${leaseText(answer.ID)} granted with TTL(${answer.TTL}s)`);
      });
    });

const revoke = (): Command =>
  new Command("revoke")
    .argument("<id>", "hexadecimal")
    .description("Ends a lease and deletes its keys")
    .action(async (text: string, _options, command: Command) => {
      const ID = leaseIdOf(text);
      await online(command, async ({ client, output }) => {
        const answer = await client.unary(Lease.method.leaseRevoke, { ID });
        if (output.format === "json") print(goJson(LeaseRevokeResponseSchema, answer));
        else if (output.format === "fields") printHeader(answer.header, output);
        else print(`lease ${leaseText(ID)} revoked`);
      });
    });

const timeToLive = (): Command =>
  new Command("timetolive")
    .argument("<id>", "hexadecimal")
    .description("Shows what is left of a lease")
    .option("--keys", "and the keys attached to it")
    .action(async (text: string, options: { keys?: boolean }, command: Command) => {
      const ID = leaseIdOf(text);
      await online(command, async ({ client, output }) => {
        const answer = await client.unary(Lease.method.leaseTimeToLive, { ID, keys: options.keys ?? false });
        if (output.format === "json") {
          const header = flatHeader(answer.header);
          const keys = answer.keys.length === 0 ? new RawJson("null") : answer.keys;
          print(goJsonObject({ ...header, id: answer.ID, ttl: answer.TTL, "granted-ttl": answer.grantedTTL, keys }));
        } else if (output.format === "fields") {
          printHeader(answer.header, output);
          printFields({ ID: idField(answer.ID, output), TTL: answer.TTL, GrantedTTL: answer.grantedTTL });
          for (const key of answer.keys) printFields({ Key: goQuote(key) });
        } else if (answer.TTL === -1n) print(`lease ${leaseText(ID)} already expired`);
        else {
          const keys = options.keys
            ? `, attached keys([${answer.keys.map((key) => Buffer.from(key).toString()).join(" ")}])`
            : "";
          print(`lease ${leaseText(ID)} granted with TTL(${answer.grantedTTL}s), remaining(${answer.TTL}s)${keys}`);
        }
      });
    });

const list = (): Command =>
  new Command("list").description("Lists the leases").action(async (_options, command: Command) => {
    await online(command, async ({ client, output }) => {
      const answer = await client.unary(Lease.method.leaseLeases, {});
      if (output.format === "json") {
        const leases = answer.leases.map(({ ID }) => new RawJson(goJsonObject({ id: ID })));
        print(goJsonObject({ ...flatHeader(answer.header), leases }));
        return;
      }
      if (output.format === "fields") {
        printHeader(answer.header, output);
        for (const { ID } of answer.leases) printFields({ ID: idField(ID, output) });
        return;
      }
      print(`found ${answer.leases.length} leases`);
      for (const { ID } of answer.leases) print(leaseText(ID));
    });
  });

const keepAlive = (): Command =>
  new Command("keep-alive")
    .argument("<id>", "hexadecimal")
    .description("Renews a lease until stopped")
    .option("--once", "renew it once")
    .action(async (text: string, options: { once?: boolean }, command: Command) => {
      const id = leaseIdOf(text);
      await online(command, (context) => renew(context, id, options.once ?? false));
    });

async function renew({ client, output }: Context, id: bigint, once: boolean): Promise<void> {
  const stream = await client.stream(Lease.method.leaseKeepAlive);
  stream.send({ ID: id });
  let timer: NodeJS.Timeout | undefined;
  try {
    for await (const answer of stream.messages()) {
      if (answer.TTL <= 0n) throw new CommandError(`lease ${leaseText(id)} expired or revoked.`);
      if (output.format === "json")
        print(goJsonObject({ ...flatHeader(answer.header), ID: answer.ID, TTL: answer.TTL }));
      else if (output.format === "fields") {
        printHeader(answer.header, output);
        printFields({ ID: idField(answer.ID, output), TTL: answer.TTL });
      } else print(`lease ${leaseText(answer.ID)} keepalived with TTL(${answer.TTL})`);
      if (once) return;
      timer = setTimeout(() => stream.send({ ID: id }), Number(answer.TTL) * 333);
    }
  } finally {
    clearTimeout(timer);
    stream.cancel();
  }
}
