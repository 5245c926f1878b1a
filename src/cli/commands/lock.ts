import { spawn } from "node:child_process";
import { Command } from "commander";
import { KV } from "../../gen/etcdserverpb/rpc_pb.ts";
import { Lock } from "../../gen/v3lockpb/v3lock_pb.ts";
import { type Context, int64, online } from "../context.ts";
import { CommandError } from "../errors.ts";
import { flush } from "../output.ts";
import { Session, stopAsked } from "../session.ts";
import { printRange } from "./get.ts";

/** Nobody waits for a lock longer. */
const WAIT_MS = 7 * 24 * 60 * 60_000;

export const lockCommand = (): Command =>
  new Command("lock")
    .argument("<name>")
    .argument("[command...]", "run while the lock is held")
    .option("--ttl <seconds>", "how long it is held after this command has died", "10")
    .description("Acquires a lock, and holds it until it is interrupted or the command ends")
    .addHelpText("after", "\nExamples:\n  t4 lock deploy\n  t4 lock deploy -- ./deploy.sh --now")
    .action(async (name: string, words: string[], options: { ttl: string }, command: Command) => {
      const ttl = int64("--ttl", options.ttl);
      await online(command, (context) => hold(context, { name, words, ttl }));
    });

async function hold(
  { client, output }: Context,
  { name, words, ttl }: { name: string; words: string[]; ttl: bigint },
): Promise<void> {
  const stop = stopAsked();
  const session = await Session.open(client, ttl);
  try {
    const asked = { name: Buffer.from(name), lease: session.lease };
    const locked = client.unary(Lock.method.lock, asked, WAIT_MS);
    const held = await Promise.race([locked, session.lost, stop.then(() => null)]);
    if (held === null) return;
    if (words.length > 0) {
      const revision = held.header?.revision ?? 0n;
      process.exitCode = await Promise.race([run(words, held.key, revision), session.lost]);
      return;
    }
    printRange(await client.unary(KV.method.range, { key: held.key }), {}, output);
    flush();
    await Promise.race([stop, session.lost]);
  } finally {
    await session.close();
  }
}

/** The command's exit code. */
function run(words: readonly string[], key: Uint8Array, revision: bigint): Promise<number> {
  const env = { ...process.env, ETCD_LOCK_KEY: Buffer.from(key).toString(), ETCD_LOCK_REV: String(revision) };
  return new Promise((resolve, reject) => {
    const child = spawn(words[0]!, words.slice(1), { stdio: "inherit", env });
    child.once("error", (error) => reject(new CommandError(`${words[0]}: ${error.message}`)));
    child.once("close", (code) => resolve(code ?? 1));
  });
}
