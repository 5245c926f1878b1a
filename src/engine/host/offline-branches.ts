import { resolveBranch } from "../../leadership/branch-name.ts";
import type { Repository } from "../../leadership/repository.ts";
import { BorrowedStore } from "../../objects/borrowed.ts";
import type { ObjectStore, RequestOptions } from "../../objects/objects.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { type Bucket, branchInfo, listBranchInfo, NamesOfAny, readAncestry } from "../branches/branch-list.ts";
import type { Branches, CreateBranch, PromoteBranch, RestoreBranch, UpdateBranch } from "../branches/branches.ts";
import { created, expiryOf } from "../branches/created-branch.ts";
import { BranchCut, type CutParent, type CutPoint } from "../branches/cut-branch.ts";
import { cutPointAt } from "../branches/cut-point.ts";
import { checkBranchName } from "../branches/name-checks.ts";
import { defaultHostSettings } from "./default-settings.ts";
import { Host } from "./host.ts";
import type { HostBranches } from "./host-branches.ts";
import type { Notices } from "./notices.ts";

export interface OfflineOptions {
  readonly store: ObjectStore;
  readonly runtime: Runtime;
  readonly repository: Repository;
  readonly request: RequestOptions;
  /** Where branches of durability `local` have their disks; null: there is none. */
  readonly dataDirectory: string | null;
  /** What a deleted branch keeps its data for. */
  readonly graceMs: number;
  readonly notices: Notices;
}

/**
 * The branches of a repository from its bucket alone. What takes a leader is done by leading for a moment: where
 * another process leads a branch, that waits until it is gone.
 */
export class OfflineBranches implements Branches {
  readonly #bucket: Bucket & OfflineOptions;

  constructor(options: OfflineOptions) {
    this.#bucket = options;
  }

  /** Of what is in the bucket: what a leader has acknowledged and not uploaded yet is not in it. */
  async create(asked: CreateBranch): ReturnType<Branches["create"]> {
    checkBranchName(asked.name);
    const { store, runtime, request, repository } = this.#bucket;
    const { moment, name, from } = asked;
    const { branch: parent } = await resolveBranch(store, from, runtime, request);
    const point = (found: CutParent): Promise<CutPoint> =>
      cutPointAt({ store, window: repository.window, request, moment }, found);
    const expiresMs = expiryOf(asked, runtime.clock);
    const origin = await new BranchCut({
      ...{ store, runtime, request, parent, name, point, expiresMs },
      strip: { auth: asked.stripAuth, leases: asked.stripLeases },
      freeName: () => this.#leading((branches) => branches.freeName(name)),
    }).cut();
    return created(asked, origin, expiresMs);
  }

  list({ deleted }: { deleted: boolean }): ReturnType<Branches["list"]> {
    return listBranchInfo(this.#bucket, { deleted, open: () => null });
  }

  async show(name: string): ReturnType<Branches["show"]> {
    const { store, runtime, request } = this.#bucket;
    const body = await resolveBranch(store, name, runtime, request);
    const names = new NamesOfAny(this.#bucket);
    const branch = await branchInfo(this.#bucket, { name, body, open: null, nameOf: (id) => names.nameOf(id) });
    return { branch, ancestry: await readAncestry(this.#bucket, branch, { names, open: () => null }) };
  }

  update(asked: UpdateBranch): ReturnType<Branches["update"]> {
    const dataDirectory = asked.writeProtected === undefined ? null : this.#bucket.dataDirectory;
    return this.#leading((branches) => branches.update(asked), dataDirectory);
  }

  delete(name: string): ReturnType<Branches["delete"]> {
    return this.#leading((branches) => branches.delete(name));
  }

  undelete(name: string): ReturnType<Branches["undelete"]> {
    return this.#leading((branches) => branches.undelete(name));
  }

  promote(asked: PromoteBranch): ReturnType<Branches["promote"]> {
    return this.#leading((branches) => branches.promote(asked), this.#bucket.dataDirectory);
  }

  restore(asked: RestoreBranch): ReturnType<Branches["restore"]> {
    return this.#leading((branches) => branches.restore(asked), this.#bucket.dataDirectory);
  }

  /** What a collector does first. */
  sweep(signal: AbortSignal): ReturnType<HostBranches["sweep"]> {
    return this.#leading((branches) => branches.sweep(signal));
  }

  /**
   * A host that leads nothing until it must, and gives up cleanly what it has led. It locks a data directory only where
   * it needs one.
   */
  async #leading<T>(work: (branches: HostBranches) => Promise<T>, dataDirectory: string | null = null): Promise<T> {
    const { store, runtime, request, graceMs, notices } = this.#bucket;
    const defaults = defaultHostSettings(store);
    const host = await Host.open({
      ...defaults,
      ...{ runtime, dataDirectory, name: null, notices, diskCache: null },
      store: new BorrowedStore(store),
      branches: { ...defaults.branches, graceMs },
      branch: { ...defaults.branch, requestTimeoutMs: request.timeoutMs },
      ...(request.signal && { signal: request.signal }),
    });
    try {
      return await work(host.branches);
    } finally {
      const ended = new AbortController();
      const limit = runtime.timers.set(CLOSE_MS, () => ended.abort(), { background: true });
      await host.close(ended.signal).finally(() => limit.cancel());
    }
  }
}

const CLOSE_MS = 30_000;
