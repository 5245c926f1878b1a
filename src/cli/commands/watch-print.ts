import { spawn } from "node:child_process";
import { ResponseHeaderSchema, type WatchResponse } from "../../gen/etcdserverpb/rpc_pb.ts";
import { type Event, Event_EventType, EventSchema } from "../../gen/mvccpb/kv_pb.ts";
import { CommandError } from "../errors.ts";
import { goJson, goJsonObject, RawJson } from "../go-json.ts";
import { goQuote } from "../go-quote.ts";
import { flush, type OutputOptions, print, printFields, printHeader, printPair, printPairFields } from "../output.ts";

/** Prints a response's events, and runs the user's command for each. */
export async function showEvents(
  response: WatchResponse,
  output: OutputOptions,
  exec: readonly string[],
): Promise<void> {
  if (output.format === "json") print(json(response));
  else if (response.events.length === 0) print(`progress notify: ${response.header?.revision ?? 0n}`);
  else if (output.format === "fields") printHeader(response.header, output);
  for (const event of response.events) {
    if (output.format !== "json") printEvent(event, output);
    if (exec.length > 0) await runCommand(exec, variablesOf(response, event));
  }
}

const typeOf = (event: Event): string => (event.type === Event_EventType.DELETE ? "DELETE" : "PUT");

function printEvent(event: Event, output: OutputOptions): void {
  if (output.format === "fields") {
    printFields({ Type: typeOf(event) });
    if (event.prevKv !== undefined) printPairFields(event.prevKv, output, "Prev");
    printPairFields(event.kv!, output);
  } else {
    print(typeOf(event));
    if (event.prevKv !== undefined) printPair(event.prevKv, output);
    printPair(event.kv!, output);
  }
}

/** The response that ends a watcher, for programs: it has the revision up to which all is compacted. */
export function showCanceled(response: WatchResponse, output: OutputOptions): void {
  if (output.format === "json") print(json(response));
  else if (output.format === "fields") printHeader(response.header, output);
}

export function watchCanceled(response: WatchResponse): string {
  const reason =
    response.compactRevision !== 0n
      ? "etcdserver: mvcc: required revision has been compacted"
      : response.cancelReason || "etcdserver: watch canceled";
  return `watch was canceled (${reason})`;
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

const variablesOf = (response: WatchResponse, event: Event): Record<string, string> => ({
  ETCD_WATCH_REVISION: String(response.header?.revision ?? 0n),
  ETCD_WATCH_EVENT_TYPE: `"${typeOf(event)}"`,
  ETCD_WATCH_KEY: goQuote(event.kv!.key),
  ETCD_WATCH_VALUE: goQuote(event.kv!.value),
});

function runCommand(exec: readonly string[], variables: Record<string, string>): Promise<void> {
  flush();
  return new Promise((resolve, reject) => {
    const child = spawn(exec[0]!, exec.slice(1), { stdio: "inherit", env: { ...process.env, ...variables } });
    child.once("error", (error) => reject(new CommandError(`${exec[0]}: ${error.message}`)));
    child.once("exit", (code) =>
      code === 0 ? resolve() : reject(new CommandError(`${exec[0]} ended with code ${code}`)),
    );
  });
}
