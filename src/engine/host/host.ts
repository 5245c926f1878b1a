import type { MaybePromise } from "../../base/maybe-promise.ts";
import { type DataDirectory, openDataDirectory, refuseFounding } from "../../leadership/data-directory.ts";
import { randomNodeName } from "../../leadership/identity.ts";
import { lookForRepository, openRepository, type Repository } from "../../leadership/repository.ts";
import { NodeSession } from "../../leadership/session.ts";
import type { SessionSettings } from "../../leadership/settings.ts";
import type { ObjectStore } from "../../objects/objects.ts";
import { ensureStoreHolds } from "../../objects/probe.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { BlockCache } from "../../storage/block-cache.ts";
import { CachedStore } from "../../storage/cached-store.ts";
import { DiskCache, type DiskCacheSettings } from "../../storage/disk-cache.ts";
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

  private constructor(surroundings: BranchSurroundings, branches: BranchSetSettings) {
    this.#surroundings = surroundings;
    this.#branches = new BranchSet(surroundings, branches);
    this.branches = new HostBranches(surroundings, this.#branches);
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

/** In a directory of its own, which whoever wants its room may remove. */
function openDiskCache(
  { runtime, notices, diskCache: settings }: HostOptions,
  directory: DataDirectory | null,
): DiskCache | null {
  if (directory === null || settings === null) return null;
  return DiskCache.open({ runtime, directory: `${directory.path}/${CACHE_DIRECTORY}`, settings, notices });
}

const CACHE_DIRECTORY = "cache";
