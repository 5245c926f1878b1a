import type { Command, Option } from "commander";
import type { EtcdClient } from "./client.ts";
import { type Context, online } from "./context.ts";
import { Unreachable } from "./errors.ts";
import { type OfflineContext, offline, offlineOptions } from "./offline.ts";
import type { OutputOptions } from "./output.ts";
import { patiently } from "./progress.ts";

export type Format = OutputOptions["format"] | "table";

/**
 * How a command of the repository as a whole is carried out: through a server (--endpoints), or, where --store,
 * --data-dir or --config-file names it, on the bucket itself, with nobody's help.
 */
export interface Ways<T> {
  readonly online: (client: EtcdClient) => Promise<T>;
  readonly offline: (context: OfflineContext) => Promise<T>;
  /** Whether the bucket is written on the second way. */
  readonly writes?: boolean;
}

/** T4_STORE alone does not choose the bucket: a shell that has it for `t4 run` means the server with the rest. */
const WITHOUT_SERVER = "; without one: --store or --data-dir";

export const repositoryOptions = (): Option[] => offlineOptions();

/** Carries a command out on the way that its options choose, and shows what comes of it. */
export async function onRepository<T>(
  command: Command,
  ways: Ways<T>,
  show: (result: T, format: Format) => void | Promise<void>,
): Promise<void> {
  if (!isOffline(command)) {
    const run = async ({ client, output, table }: Context): Promise<void> =>
      show(await patiently("waiting for the server", ways.online(client)), table ? "table" : output.format);
    return online(command, run, { hasTable: true }).catch((error: unknown) => {
      throw error instanceof Unreachable ? new Unreachable(error.endpoints, WITHOUT_SERVER) : error;
    });
  }
  return offline(
    command,
    async (context) => show(await patiently("reading the store", ways.offline(context)), context.format),
    {
      writes: ways.writes ?? false,
    },
  );
}

export function isOffline(command: Command): boolean {
  const { store, dataDir, configFile } = command.optsWithGlobals<Record<string, string | undefined>>();
  return store !== undefined || dataDir !== undefined || configFile !== undefined;
}
