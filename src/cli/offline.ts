import { type Command, Option } from "commander";
import { DbError, isDbError } from "../base/errors.ts";
import type { Repository } from "../leadership/repository.ts";
import type { ObjectStore, RequestOptions } from "../objects/objects.ts";
import { openStore } from "../objects/open-store.ts";
import { ReadOnlyStore } from "../objects/read-only.ts";
import { type OfflineRepository, openOffline } from "../readers/open-offline.ts";
import { createNodeRuntime } from "../runtime/node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { resolveSome, SettingsError } from "../server/settings.ts";
import { defaultPlace, surroundingsOfStore } from "../server/store-surroundings.ts";
import { CommandError, UsageError } from "./errors.ts";
import type { OutputOptions } from "./output.ts";

/** What every command has that looks into a bucket without a server. */
export interface OfflineContext extends OfflineRepository {
  readonly format: OutputOptions["format"] | "table";
  /** Fires at Ctrl-C and SIGTERM; `request` carries it too. A second one ends the process. */
  readonly signal: AbortSignal;
  /** The node's, if it is there: where branches of durability local have their disks. */
  readonly dataDirectory: string | null;
}

/** How the repository is found, or founded. */
export type OpenRepository = (
  store: ObjectStore,
  runtime: Runtime,
  options: { request: RequestOptions; dataDirectory: string | null },
) => Promise<Repository>;

const openExisting: OpenRepository = async (store, runtime, { request }) =>
  (await openOffline(store, runtime, request)).repository;

/** Flag, environment and file as for `t4 run`: the same words find the same repository. */
export const offlineOptions = (): Option[] => [
  new Option("--store <url>", "where the data lives (default: DATA-DIR/store) [T4_STORE]"),
  new Option("--data-dir <text>", "data directory of the node (default t4-data) [ETCD_DATA_DIR]"),
  new Option("--config-file <path>", "YAML with settings of t4 run (T4_CONFIG_FILE, ETCD_CONFIG_FILE)"),
];

interface Options {
  store?: string;
  dataDir?: string;
  configFile?: string;
  writeOut?: OfflineContext["format"];
  json?: boolean;
}

/** Bound of one object request of a tool. */
const REQUEST_TIMEOUT_MS = 30_000;
const INTERRUPTED_EXIT_CODE = 130;

/**
 * Runs `action` on the repository that the command's options name, which need not be served by anyone, and may be. Only
 * with `writes` can the store be written. What is wrong with the bucket ends the command with one line.
 */
export async function offline(
  command: Command,
  action: (context: OfflineContext) => Promise<void>,
  { writes = false, open = openExisting }: { writes?: boolean; open?: OpenRepository } = {},
): Promise<void> {
  const options = command.optsWithGlobals<Options>();
  const { place, dataDirectory } = await placeOf(options);
  const runtime = createNodeRuntime();
  const { signal, stopListening } = interruption();
  try {
    const opened = await openStore(place, runtime, surroundingsOfStore(place));
    const store = writes ? opened : new ReadOnlyStore(opened);
    try {
      const request = { timeoutMs: REQUEST_TIMEOUT_MS, signal };
      const own = await existing(runtime, dataDirectory);
      const repository = await open(store, runtime, { request, dataDirectory: own });
      const format = options.json ? "json" : (options.writeOut ?? "simple");
      await action({ store, runtime, repository, request, signal, format, dataDirectory: own });
    } finally {
      await store.close();
    }
  } catch (error) {
    if (!isDbError(error)) throw error;
    throw new CommandError(error.message);
  } finally {
    stopListening();
  }
}

async function placeOf(options: Options) {
  const { env } = process;
  const given = options.configFile ?? env["T4_CONFIG_FILE"] ?? env["ETCD_CONFIG_FILE"];
  try {
    const file = given === undefined ? null : (await import("./settings-file.ts")).readSettingsFile(given);
    const flags = { store: options.store, "data-dir": options.dataDir };
    const settings = resolveSome(["store", "data-dir"], { flags, env, file });
    const place = settings.store ?? defaultPlace(settings["data-dir"]);
    if (place.kind === "memory") throw new UsageError("--store: memory: is gone with the server that had it");
    return { place, dataDirectory: settings["data-dir"] };
  } catch (error) {
    if (error instanceof SettingsError || error instanceof DbError) throw new UsageError(error.message);
    throw error;
  }
}

async function existing({ disk }: Runtime, directory: string): Promise<string | null> {
  return (await disk.stat(directory))?.directory ? directory : null;
}

/** The first Ctrl-C asks to end in good order, the second ends. */
function interruption(): { signal: AbortSignal; stopListening: () => void } {
  const controller = new AbortController();
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(INTERRUPTED_EXIT_CODE);
    controller.abort();
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  const stopListening = (): void => void process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  return { signal: controller.signal, stopListening };
}
