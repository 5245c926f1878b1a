import { DbError } from "../../base/errors.ts";
import { resolveBranch } from "../../leadership/branch-name.ts";
import { openDataDirectory } from "../../leadership/data-directory.ts";
import { randomNodeName } from "../../leadership/identity.ts";
import { lookForRepository, openRepository, type Repository } from "../../leadership/repository.ts";
import { NodeSession } from "../../leadership/session.ts";
import type { SessionSettings } from "../../leadership/settings.ts";
import type { ObjectStore } from "../../objects/objects.ts";
import { ensureStoreHolds } from "../../objects/probe.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { BlockCache } from "../../storage/block-cache.ts";
import type { Notices } from "./notices.ts";
import type { BranchSettings, BranchSurroundings } from "./open-branch.ts";
import { ServedBranch } from "./served-branch.ts";

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
  readonly session: SessionSettings;
  readonly branch: BranchSettings;
  readonly notices: Notices;
  /** Gives up opening: of `Host.open` alone. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * One process's hold on a repository: its data directory, its session, the cache that its branches share.
 *
 *   data directory (locked) ─► store tested ─► repository (founded if the prefix is empty) ─► session ─► branches
 */
export class Host {
  readonly repository: Repository;
  readonly nodeName: string;
  readonly #surroundings: BranchSurroundings;
  readonly #branches = new Map<string, ServedBranch>();
  #closed = false;

  private constructor(surroundings: BranchSurroundings) {
    this.#surroundings = surroundings;
    this.repository = surroundings.repository;
    this.nodeName = surroundings.session.node;
  }

  static async open(options: HostOptions): Promise<Host> {
    const { runtime, store, dataDirectory, notices, branch: settings } = options;
    const directory = dataDirectory === null ? null : await openDataDirectory(runtime, dataDirectory);
    try {
      const { signal } = options;
      const request = { timeoutMs: settings.requestTimeoutMs, ...(signal && { signal }) };
      await lookForRepository(store, request);
      await ensureStoreHolds(store, runtime, request);
      const { window } = options;
      const repository = await openRepository({ store, runtime, requestTimeoutMs: request.timeoutMs, window, signal });
      const session = new NodeSession({
        store,
        repositoryId: repository.id,
        runtime,
        node: options.name ?? directory?.nodeName ?? randomNodeName(runtime.random),
        directory: directory?.identity ?? null,
        settings: options.session,
      });
      const cache = new BlockCache({ bytesMax: options.cacheBytes });
      return new Host({ runtime, store, repository, session, directory, cache, settings, notices });
    } catch (error) {
      await directory?.release();
      throw error;
    }
  }

  /** Serves a branch from now on: it is opened, and opened anew whenever its leadership is lost. Throws `notFound`. */
  async serve(name: string): Promise<ServedBranch> {
    this.#checkOpen();
    const there = this.#branches.get(name);
    if (there !== undefined) return there;
    const { store, runtime, settings } = this.#surroundings;
    const { branch: id } = await resolveBranch(store, name, runtime, { timeoutMs: settings.requestTimeoutMs });
    // Another call may have been here meanwhile: a process holds a branch once.
    const meanwhile = this.#branches.get(name);
    if (meanwhile !== undefined) return meanwhile;
    this.#checkOpen();
    const served = new ServedBranch(this.#surroundings, { id, name });
    this.#branches.set(name, served);
    return served;
  }

  #checkOpen(): void {
    if (this.#closed) throw new DbError("stopped");
  }

  /**
   * Gives up all branches, cleanly as far as the store allows until `signal` fires, then all that this process holds.
   */
  async close(signal: AbortSignal): Promise<void> {
    this.#closed = true;
    const { directory, store } = this.#surroundings;
    const results = await Promise.allSettled([...this.#branches.values()].map((branch) => branch.close(signal)));
    this.#branches.clear();
    await store.close();
    await directory?.release();
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }
}
