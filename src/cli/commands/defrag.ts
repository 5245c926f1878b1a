import { Command } from "commander";
import { DefragmentResponseSchema, Maintenance } from "../../gen/etcdserverpb/rpc_pb.ts";
import type { EtcdClient } from "../client.ts";
import { online } from "../context.ts";
import { goJson } from "../go-json.ts";
import { print } from "../output.ts";
import { bytesText, ProgressLine } from "../progress.ts";

/** Where nobody gave --command-timeout: merging a large branch takes minutes. */
const TIMEOUT_MS = 24 * 60 * 60_000;
const LOOK_MS = 500;

export const defragCommand = (): Command =>
  new Command("defrag")
    .description("Merges all tables now, so that what was compacted takes no more space; nothing waits for it")
    .addHelpText("after", "\nExample:\n  t4 compact 1234 && t4 defrag")
    .action(async (_options, command: Command) => {
      const given = command.getOptionValueSourceWithGlobals("commandTimeout") !== "default";
      await online(command, async ({ client, output }) => {
        const before = await sizeOf(client);
        const watched = watchSize(client);
        try {
          const timeout = given ? undefined : TIMEOUT_MS;
          const answer = await client.unary(Maintenance.method.defragment, {}, timeout);
          watched.end();
          if (output.format === "json") print(goJson(DefragmentResponseSchema, answer));
          else print(`defragmented: ${bytesText(before)} before, ${bytesText(await sizeOf(client))} after`);
        } finally {
          watched.end();
        }
      });
    });

const sizeOf = async (client: EtcdClient): Promise<number> =>
  Number((await client.unary(Maintenance.method.status, {})).dbSize);

/** Shows how long it takes and how large the branch is by now, on a terminal. */
function watchSize(client: EtcdClient): { end(): void } {
  const line = new ProgressLine();
  const beganMs = performance.now();
  let asking = false;
  const timer = setInterval(() => {
    if (asking) return;
    asking = true;
    sizeOf(client).then(
      (bytes) => {
        asking = false;
        const seconds = ((performance.now() - beganMs) / 1000).toFixed(0);
        if (timer.hasRef()) line.show({ phase: `merging, ${seconds} s`, done: bytes, total: 0 });
      },
      () => {
        asking = false;
      },
    );
  }, LOOK_MS);
  return {
    end: () => {
      clearInterval(timer);
      timer.unref();
      line.clear();
    },
  };
}
