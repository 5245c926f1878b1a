import type { Command } from "commander";
import { Option } from "commander";
import { durationKind } from "../server/setting-kinds.ts";
import { EtcdClient } from "./client.ts";
import { UsageError } from "./errors.ts";
import type { OutputOptions } from "./output.ts";

/** What every online command has: a client and how to print. */
export interface Context {
  client: EtcdClient;
  endpoints: readonly string[];
  output: OutputOptions;
}

const timeout = durationKind({ min: 1, max: 86_400_000 });

/** Adds the options that all online commands share. */
export function withConnection(command: Command): Command {
  return command
    .addOption(
      new Option("--endpoints <urls>", "servers, comma-separated, tried in order")
        .env("T4_ENDPOINTS")
        .default("127.0.0.1:2379"),
    )
    .option("--command-timeout <duration>", "longest time for one command", "5s")
    .option("--dial-timeout <duration>", "longest time to connect to one server", "2s")
    .addOption(
      new Option("-w, --write-out <format>", "how to print").choices(["simple", "json", "fields"]).default("simple"),
    )
    .option("--json", "the same as -w json")
    .option("--hex", "print bytes as hexadecimal escapes");
}

interface ConnectionOptions {
  endpoints: string;
  commandTimeout: string;
  dialTimeout: string;
  writeOut: OutputOptions["format"];
  json?: boolean;
  hex?: boolean;
}

/** Runs `action` with a client that is closed afterwards. */
export async function online(command: Command, action: (context: Context) => Promise<void>): Promise<void> {
  const options = command.opts<ConnectionOptions>();
  const endpoints = options.endpoints.split(",").map((endpoint) => endpoint.trim());
  const client = new EtcdClient({
    endpoints,
    commandTimeoutMs: duration("--command-timeout", options.commandTimeout),
    dialTimeoutMs: duration("--dial-timeout", options.dialTimeout),
  });
  const output: OutputOptions = { format: options.json ? "json" : options.writeOut, hex: options.hex ?? false };
  try {
    await action({ client, endpoints, output });
  } finally {
    await client.close();
  }
}

function duration(flag: string, text: string): number {
  try {
    return timeout.parse(text);
  } catch (error) {
    throw new UsageError(`${flag}: ${(error as Error).message}`);
  }
}

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

/** An int64 in decimal. */
export function int64(what: string, text: string): bigint {
  const value = /^[+-]?\d{1,20}$/.test(text) ? BigInt(text) : null;
  if (value === null || value < INT64_MIN || value > INT64_MAX)
    throw new UsageError(`bad ${what} "${text}": expected a number`);
  return value;
}

/** A lease id, in hexadecimal as etcdctl writes it. */
export function leaseIdOf(text: string): bigint {
  const match = /^(-?)([0-9a-f]{1,16})$/i.exec(text);
  const value = match === null ? null : BigInt(`0x${match[2]}`) * (match[1] === "-" ? -1n : 1n);
  if (value === null || value < INT64_MIN || value > INT64_MAX) {
    throw new UsageError(`bad lease ID "${text}": expected hexadecimal digits`);
  }
  return value;
}

export const leaseText = (id: bigint): string =>
  id < 0n ? `-${(-id).toString(16).padStart(15, "0")}` : id.toString(16).padStart(16, "0");

export async function standardInput(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
