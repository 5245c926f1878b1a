import { create } from "@bufbuild/protobuf";
import { Command } from "commander";
import { KV, RangeResponseSchema } from "../../gen/etcdserverpb/rpc_pb.ts";
import { Election } from "../../gen/v3electionpb/v3election_pb.ts";
import { type Context, int64, online } from "../context.ts";
import { UsageError } from "../errors.ts";
import { flush } from "../output.ts";
import { Session, stopAsked } from "../session.ts";
import { printRange } from "./get.ts";

const WAIT_MS = 7 * 24 * 60 * 60_000;
const TTL_SECONDS = "60";

export const electCommand = (): Command =>
  new Command("elect")
    .argument("<name>")
    .argument("[proposal]", "the value to lead with")
    .option("-l, --listen", "show who leads, and each change")
    .option("--ttl <seconds>", "how long it leads after this command has died", TTL_SECONDS)
    .description("Runs for the lead of an election and holds it, or shows who leads")
    .addHelpText("after", "\nExamples:\n  t4 elect cron node-1\n  t4 elect -l cron")
    .action(async (name: string, proposal: string | undefined, options: ElectOptions, command: Command) => {
      if (proposal === undefined && !options.listen) throw new UsageError("no proposal argument but -l not set");
      const ttl = int64("--ttl", options.ttl);
      await online(command, (context) =>
        options.listen ? listen(context, name) : lead(context, { name, proposal: proposal!, ttl }),
      );
    });

interface ElectOptions {
  listen?: boolean;
  ttl: string;
}

async function lead(
  { client, output }: Context,
  { name, proposal, ttl }: { name: string; proposal: string; ttl: bigint },
): Promise<void> {
  const stop = stopAsked();
  const session = await Session.open(client, ttl);
  try {
    const asked = { name: Buffer.from(name), lease: session.lease, value: Buffer.from(proposal) };
    const campaign = client.unary(Election.method.campaign, asked, WAIT_MS);
    const won = await Promise.race([campaign, session.lost, stop.then(() => null)]);
    if (won === null) return;
    printRange(await client.unary(KV.method.range, { key: won.leader!.key }), {}, output);
    flush();
    await Promise.race([stop, session.lost]);
  } finally {
    await session.close();
  }
}

async function listen({ client, output }: Context, name: string): Promise<void> {
  const stream = await client.stream(Election.method.observe);
  void stopAsked().then(() => stream.cancel());
  stream.send({ name: Buffer.from(name) });
  stream.finish();
  for await (const { header, kv } of stream.messages()) {
    const answer = { ...(header === undefined ? {} : { header }), kvs: kv === undefined ? [] : [kv], count: 1n };
    printRange(create(RangeResponseSchema, answer), {}, output);
    flush();
  }
}
