import { DbError } from "../../base/errors.ts";
import type { MaybePromise } from "../../base/maybe-promise.ts";
import { type DataDirectory, openDataDirectory, refuseFounding } from "../../leadership/data-directory.ts";
import { randomNodeName } from "../../leadership/identity.ts";
import { lookForRepository, openRepository, type Repository } from "../../leadership/repository.ts";
import { NodeSession } from "../../leadership/session.ts";
import type { SessionSettings } from "../../leadership/settings.ts";
import type { ObjectStore } from "../../objects/objects.ts";
import { ensureStoreHolds } from "../../objects/probe.ts";
import { LATE, within } from "../../objects/retry.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { BlockCache } from "../../storage/block-cache.ts";
import { CachedStore } from "../../storage/cached-store.ts";
import { DiskCache, type DiskCacheSettings } from "../../storage/disk-cache.ts";
import { BucketHistory } from "../branches/bucket-history.ts";
import type { History } from "../branches/history.ts";
import type { Database } from "../engine.ts";
import { BranchSet, type BranchSetSettings } from "./branch-set.ts";
import { closeAll } from "./close-all.ts";
import { HostBranches } from "./host-branches.ts";
import type { Notices } from "./notices.ts";
import type { BranchSettings, BranchSurroundings } from "./open-branch.ts";
import type { ServedBranch } from "./served-branch.ts";

export interface HostOptions {
  readonly runtime: Runtime;
  readonly store: ObjectStore;
  /** What this node keeps on its own disk; null: nothing, so that `local` durability is refused. */
  readonly dataDirectory: string | null;
  /** This node's name; null: the one kept in the data directory, or a random one. */
  readonly name: string | null;
  /** P of a repository that is founded now. */
  readonly window: number;
  readonly cacheBytes: number;
  /** What is kept of tables in the data directory; null: nothing. */
  readonly diskCache: DiskCacheSettings | null;
  readonly session: SessionSettings;
  readonly branch: BranchSettings;
  readonly branches: BranchSetSettings;
  readonly notices: Notices;
  /** Gives up opening: of `Host.open` alone. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * One process's hold on a repository: its data directory, its session, the caches that its branches share.
 *
 *   data directory (locked) ─► store tested ─► repository (founded if the prefix is empty) ─► session ─► branches
 */
export class Host {
  readonly repository: Repository;
  readonly nodeName: string;
  readonly #surroundings: BranchSurroundings;
  readonly #branches: BranchSet;
  /** What can be done with the repository's branches as a whole. */
  readonly branches: HostBranches;
  /** What can be asked of their past. */
  readonly history: History;

  private constructor(surroundings: BranchSurroundings, branches: BranchSetSettings) {
    this.#surroundings = surroundings;
    this.#branches = new BranchSet(surroundings, branches);
    this.branches = new HostBranches(surroundings, this.#branches, branches);
    this.history = historyOf(surroundings, this.#branches);
    this.repository = surroundings.repository;
    this.nodeName = surroundings.session.node;
  }

  static async open(options: HostOptions): Promise<Host> {
    const { runtime, store, dataDirectory, notices, branch: settings } = options;
    const directory = dataDirectory === null ? null : await openDataDirectory(runtime, dataDirectory);
    try {
      const { signal } = options;
      const request = { timeoutMs: settings.requestTimeoutMs, ...(signal && { signal }) };
      const known = await lookForRepository(store, request);
      if (known === null && directory !== null) {
        await refuseFounding(runtime.disk, directory, store.name);
      }
      if ((await ensureStoreHolds(store, runtime, request)) === "repaired") {
        notices.warn("object probe/passed was damaged: the store was tested again, and passed", { store: store.name });
      }
      const { window } = options;
      const { requestTimeoutMs } = settings;
      const repository = await openRepository({ store, runtime, requestTimeoutMs, window, known, signal });
      const session = new NodeSession({
        store,
        repositoryId: repository.id,
        runtime,
        node: options.name ?? directory?.nodeName ?? randomNodeName(runtime.random),
        directory: directory?.identity ?? null,
        settings: options.session,
      });
      const cache = new BlockCache({ bytesMax: options.cacheBytes });
      const diskCache = openDiskCache(options, directory);
      const cached = diskCache === null ? store : new CachedStore(store, diskCache);
      const shared = { runtime, store: cached, repository, session, directory, cache, diskCache, settings, notices };
      return new Host(shared, options.branches);
    } catch (error) {
      await directory?.release();
      throw error;
    }
  }

  /** Serves a branch from now on: it is opened, and opened anew whenever its leadership is lost. Throws `notFound`. */
  serve(name: string): Promise<ServedBranch> {
    return this.#branches.pin(name);
  }

  /** The opposite: it is given up, until somebody calls for it again. Cleanly as far as the store allows in time. */
  leave(name: string): Promise<void> {
    return this.#branches.leave(name);
  }

  /** The branches that are open now, or being opened. */
  get open(): readonly ServedBranch[] {
    return this.#branches.open;
  }

  /** The database of any branch of the repository, opened on first use and closed when idle (BranchSet). */
  database(name: string): MaybePromise<Database> {
    return this.#branches.find(name);
  }

  /**
   * Gives up all branches, cleanly as far as the store allows until `signal` fires, then all that this process holds.
   */
  async close(signal: AbortSignal): Promise<void> {
    const { directory, diskCache, store } = this.#surroundings;
    await closeAll([
      () => this.#branches.close(signal),
      () => diskCache?.close(),
      () => store.close(),
      () => directory?.release(),
    ]);
  }
}

/** What a branch that is open here has acknowledged is in the store before it is looked at. */
function historyOf({ store, runtime, settings }: BranchSurroundings, branches: BranchSet): History {
  const { txnOpsMax, requestTimeoutMs } = settings.engine;
  return new BucketHistory({
    store,
    runtime,
    request: { timeoutMs: settings.requestTimeoutMs },
    settle: async (name) => {
      const served = branches.open.find((each) => each.name === name);
      if (served === undefined || served.failure !== null) return;
      const end = await within(runtime, { timeoutMs: requestTimeoutMs }, served.leading.flush());
      if (end === LATE) throw new DbError("storeUnavailable", "what was acknowledged could not be uploaded in time");
    },
    writer: {
      databaseOf: (name) => branches.find(name),
      limits: { opsMax: txnOpsMax, bytesMax: MERGED_BYTES_MAX },
      setRetention: async (name, retention) => {
        await branches.find(name);
        const served = branches.open.find((each) => each.name === name);
        if (served === undefined) throw new DbError("noLeader");
        await served.leading.setRetention(retention);
      },
    },
    retention: settings.retention,
  });
}

/** Of one transaction of a merge. */
const MERGED_BYTES_MAX = 1 << 20;

/** In a directory of its own, which whoever wants its room may remove. */
function openDiskCache(
  { runtime, notices, diskCache: settings }: HostOptions,
  directory: DataDirectory | null,
): DiskCache | null {
  if (directory === null || settings === null) return null;
  return DiskCache.open({ runtime, directory: `${directory.path}/${CACHE_DIRECTORY}`, settings, notices });
}

const CACHE_DIRECTORY = "cache";
