import { DbError } from "./base/errors.ts";
import { defaultHostSettings, diskCacheOf } from "./engine/host/default-settings.ts";
import { Host } from "./engine/host/host.ts";
import { type Notices, noNotices } from "./engine/host/notices.ts";
import { T4 } from "./library/t4.ts";
import type { ObjectStore } from "./objects/objects.ts";
import { openStore } from "./objects/open-store.ts";
import { parseStoreUrl } from "./objects/store-url.ts";
import { createNodeRuntime } from "./runtime/node.ts";
import type { Runtime } from "./runtime/runtime.ts";

/** t4 in a program: `await using db = await open({ store: "file:///data/t4" })`. */

export interface OpenSettings {
  /** As `t4 run --store`: file:///DIR, s3://BUCKET/PREFIX?…, memory:. */
  store: string;
  /**
   * What this process keeps on its own disk; needed for `local` durability. Default: for file:///DIR, DIR.node beside
   * it.
   */
  dataDirectory?: string | null;
  /**
   * What an acknowledgement means. Default: as the database is; for a new one `local` with a directory, else `object`.
   */
  durability?: "object" | "local";
  /** This node's name. Default: the one kept in the data directory, else a random one. */
  name?: string;
  /** Bytes of table blocks kept in memory. Default 128 MiB. */
  cacheMemoryBytes?: number;
  /**
   * Bytes of tables kept in the data directory; 0: none. Default 10 GiB, and none where the store is a directory or
   * there is no data directory.
   */
  cacheDiskBytes?: number;
  /** Region of S3 where the URL names none, and the proxy for its requests. */
  region?: string;
  proxy?: string;
}

/** What may be replaced, as a simulation does. */
export interface Components {
  runtime?: Runtime;
  objectStore?: ObjectStore;
  notices?: Notices;
}

/**
 * Opens the database, and founds it where the store is empty. Rejects with DbError; waits while another process leads
 * it.
 */
export async function open(settings: OpenSettings, components: Components = {}): Promise<T4> {
  const runtime = components.runtime ?? createNodeRuntime();
  const url = parseStoreUrl(settings.store);
  const { region, proxy } = settings;
  const surroundings = { ...(region === undefined ? {} : { region }), ...(proxy === undefined ? {} : { proxy }) };
  const store = components.objectStore ?? (await openStore(url, runtime, surroundings));
  const beside = url.kind === "file" ? `${url.directory}.node` : null;
  const dataDirectory = settings.dataDirectory === undefined ? beside : settings.dataDirectory;
  const durabilityDefault = store.local && dataDirectory !== null ? "local" : "object";
  const defaults = defaultHostSettings(store);
  const durability = settings.durability ?? null;
  const leadership = { ...defaults.branch.leadership, durabilityDefault, durability } as const;
  const host = await Host.open({
    ...defaults,
    branch: { ...defaults.branch, leadership },
    cacheBytes: settings.cacheMemoryBytes ?? defaults.cacheBytes,
    diskCache: diskCacheOf(settings.cacheDiskBytes, defaults.diskCache),
    runtime,
    store,
    dataDirectory,
    name: settings.name ?? null,
    notices: components.notices ?? noNotices,
  });
  try {
    const branch = await host.serve("main");
    await branch.opened();
    return new T4(host, branch, runtime.timers);
  } catch (error) {
    await host.close(AbortSignal.abort());
    throw error;
  }
}

export type { ErrorKind } from "./base/errors.ts";
export type { BranchInfo, Restored } from "./engine/branches/branches.ts";
export type {
  BranchUsage,
  DiffSummary,
  MergeSummary,
  PrefixUsage,
  RetentionEffect,
  RetentionFound,
  RetentionText,
  Usage,
} from "./engine/branches/history.ts";
export type { Database, DatabaseStatus } from "./engine/engine.ts";
export type { CreateBranchOptions, T4Branches } from "./library/branches.ts";
export type { Bytes, Keys, KeyValue } from "./library/pairs.ts";
export type { At, Conflict, Difference, MergeFound, MergeOptions, MergeResult, State } from "./library/past.ts";
export type { T4 } from "./library/t4.ts";
export type {
  Condition,
  DeleteResult,
  GetOptions,
  GetResult,
  Operation,
  OperationResult,
  PutOptions,
  PutResult,
  Transaction,
  TransactionResult,
} from "./library/transaction.ts";
export type { WatchEvent, WatchOptions } from "./library/watching.ts";
export { DbError };
