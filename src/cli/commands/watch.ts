import { spawn } from "node:child_process";
import { Command } from "commander";
import { ResponseHeaderSchema, Watch, type WatchResponse } from "../../gen/etcdserverpb/rpc_pb.ts";
import { Event_EventType, EventSchema } from "../../gen/mvccpb/kv_pb.ts";
import { int64, online, withConnection } from "../context.ts";
import { CommandError } from "../errors.ts";
import { goJson, goJsonObject, RawJson } from "../go-json.ts";
import { keyRange, type RangeOptions } from "../key-range.ts";
import { headerFields, type OutputOptions, pairFields, print, printFields, printPair } from "../output.ts";

interface WatchOptions extends RangeOptions {
  rev?: string;
  prevKv?: boolean;
  progressNotify?: boolean;
}

export const watchCommand = (): Command =>
  withConnection(new Command("watch"))
    .argument("[key]")
    .argument("[range_end]")
    .option("--prefix", "keys that begin with KEY")
    .option("--from-key", "keys from KEY on")
    .option("--rev <revision>", "from this revision on, history first")
    .option("--prev-kv", "print the pair before each event")
    .option("--progress-notify", "print how far the server is while nothing happens")
    .argument("[exec...]", "after --: a command to run for each event, with ETCD_WATCH_… in its environment")
    .description("Prints what happens to a key, or a range of keys")
    .addHelpText(
      "after",
      "\nExamples:\n  t4 watch --prefix /config/\n  t4 watch k --rev 1\n  t4 watch k -- sh -c 'echo $ETCD_WATCH_KEY'",
    )
    .action(async (_key, _end, _exec, options: WatchOptions, command: Command) => {
      const { keys, exec } = splitAtDashes(command.args);
      const range = keyRange("watch", keys, options);
      await online(command, async ({ client, output }) => {
        const stream = await client.stream(Watch.method.watch);
        const value = {
          ...range,
          startRevision: options.rev === undefined ? 0n : int64("--rev", options.rev),
          prevKv: options.prevKv ?? false,
          progressNotify: options.progressNotify ?? false,
        };
        stream.send({ requestUnion: { case: "createRequest", value } });
        for await (const response of stream.messages()) {
          if (response.canceled) throw canceled(response);
          if (!response.created) await show(response, output, exec);
        }
        throw new CommandError("watch is canceled by the server");
      });
    });

/** What stands behind `--` is a command of the user's. */
function splitAtDashes(args: readonly string[]): { keys: string[]; exec: string[] } {
  const given = process.argv.slice(2);
  const dashes = given.indexOf("--");
  const execLength = dashes < 0 ? 0 : given.length - dashes - 1;
  return { keys: args.slice(0, args.length - execLength), exec: execLength === 0 ? [] : args.slice(-execLength) };
}

function canceled(response: WatchResponse): CommandError {
  const reason =
    response.compactRevision !== 0n
      ? "etcdserver: mvcc: required revision has been compacted"
      : response.cancelReason || "etcdserver: watch canceled";
  return new CommandError(`watch was canceled (${reason})`);
}

async function show(response: WatchResponse, output: OutputOptions, exec: readonly string[]): Promise<void> {
  if (output.format === "json") print(json(response));
  else if (response.events.length === 0) print(`progress notify: ${response.header?.revision ?? 0n}`);
  else if (output.format === "fields") printFields(headerFields(response.header));
  for (const event of response.events) {
    const type = event.type === Event_EventType.DELETE ? "DELETE" : "PUT";
    if (output.format === "fields") {
      printFields({
        Type: type,
        ...(event.prevKv === undefined ? {} : pairFields(event.prevKv)),
        ...pairFields(event.kv!),
      });
    } else if (output.format === "simple") {
      print(type);
      if (event.prevKv !== undefined) printPair(event.prevKv, output);
      printPair(event.kv!, output);
    }
    if (exec.length > 0) {
      await runCommand(exec, {
        ETCD_WATCH_REVISION: String(response.header?.revision ?? 0n),
        ETCD_WATCH_EVENT_TYPE: JSON.stringify(type),
        ETCD_WATCH_KEY: JSON.stringify(Buffer.from(event.kv!.key).toString()),
        ETCD_WATCH_VALUE: JSON.stringify(Buffer.from(event.kv!.value).toString()),
      });
    }
  }
}

function json(response: WatchResponse): string {
  const header = response.header === undefined ? "{}" : goJson(ResponseHeaderSchema, response.header);
  return goJsonObject({
    Header: new RawJson(header),
    Events: response.events.map((event) => new RawJson(goJson(EventSchema, event))),
    CompactRevision: response.compactRevision,
    Canceled: response.canceled,
    Created: response.created,
  });
}

function runCommand(exec: readonly string[], variables: Record<string, string>): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(exec[0]!, exec.slice(1), { stdio: "inherit", env: { ...process.env, ...variables } });
    child.once("error", (error) => reject(new CommandError(`${exec[0]}: ${error.message}`)));
    child.once("exit", (code) =>
      code === 0 ? resolve() : reject(new CommandError(`${exec[0]} ended with code ${code}`)),
    );
  });
}
