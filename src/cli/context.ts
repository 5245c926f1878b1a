import { type Command, Option } from "commander";
import { durationKind } from "../server/setting-kinds.ts";
import { EtcdClient } from "./client.ts";
import { credentialsFor, type TlsOptions, tlsOptions } from "./client-tls.ts";
import { UsageError } from "./errors.ts";
import { type LoginOptions, loginOf, loginOptions } from "./login.ts";
import type { OutputOptions } from "./output.ts";

/** What every online command has: a client and how to print. */
export interface Context {
  client: EtcdClient;
  output: OutputOptions;
  /** A table was asked for, of a command that has one. */
  table: boolean;
}

const timeout = durationKind({ min: 1, max: 86_400_000 });

/** The options that all online commands share; they may stand before and behind the command's name. */
export const connectionOptions = (): Option[] => [
  new Option("--endpoints <urls>", "servers, comma-separated, tried in order")
    .env("T4_ENDPOINTS")
    .default("127.0.0.1:2379"),
  new Option("--command-timeout <duration>", "longest time for one command").env("T4_COMMAND_TIMEOUT").default("5s"),
  new Option("--dial-timeout <duration>", "longest time to connect to one server").env("T4_DIAL_TIMEOUT").default("2s"),
  new Option("--branch <name>", "the branch to work on (default: by the endpoint's host, else the server's)").env(
    "T4_BRANCH",
  ),
  ...loginOptions(),
  ...tlsOptions(),
  new Option("-w, --write-out <format>", "how to print: simple, json, fields or table")
    .env("T4_WRITE_OUT")
    .choices(["simple", "json", "fields", "table"])
    .default("simple"),
  new Option("--json", "the same as -w json"),
  new Option("--hex", "print bytes as hexadecimal escapes"),
];

interface ConnectionOptions extends TlsOptions, LoginOptions {
  endpoints: string;
  branch?: string;
  commandTimeout: string;
  dialTimeout: string;
  writeOut: OutputOptions["format"] | "table";
  json?: boolean;
  hex?: boolean;
}

/** Runs `action` with a client that is closed afterwards. */
export async function online(
  command: Command,
  action: (context: Context) => Promise<void>,
  { hasTable }: { hasTable?: boolean } = {},
): Promise<void> {
  const options = command.optsWithGlobals<ConnectionOptions>();
  const format = options.json ? "json" : options.writeOut;
  if (format === "table" && !hasTable)
    throw new UsageError(`${command.name()} has no table: use simple, json or fields`);
  const client = new EtcdClient({
    endpoints: endpointsOf(options.endpoints),
    ...(options.branch === undefined ? {} : { branch: options.branch }),
    ...(await loginOf(options)),
    credentials: credentialsFor(options),
    commandTimeoutMs: duration("--command-timeout", options.commandTimeout),
    dialTimeoutMs: duration("--dial-timeout", options.dialTimeout),
  });
  const output: OutputOptions = { format: format === "table" ? "simple" : format, hex: options.hex ?? false };
  try {
    await action({ client, output, table: format === "table" });
  } finally {
    await client.close();
  }
}

/** HOST:PORT, http://HOST:PORT, https://HOST:PORT, unix:///PATH or unixs:///PATH, separated by commas. */
function endpointsOf(text: string): string[] {
  return text.split(",").map((part) => {
    const endpoint = part.trim().replace(/\/$/, "");
    if (!/^unixs?:\/\/.|^(https?:\/\/)?([\w.-]+|\[[\da-f:.]+\]):\d{1,5}$/i.test(endpoint)) {
      throw new UsageError(
        `--endpoints: expected HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:///PATH, not "${part}"`,
      );
    }
    return endpoint;
  });
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

/** The id of a member or cluster, in hexadecimal. */
export function idOf(what: string, text: string): bigint {
  if (!/^[0-9a-f]{1,16}$/i.test(text)) throw new UsageError(`bad ${what} "${text}": expected hexadecimal digits`);
  return BigInt(`0x${text}`);
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
