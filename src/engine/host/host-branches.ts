import { DbError, isDbError } from "../../base/errors.ts";
import type { BranchId } from "../../base/ids.ts";
import { trustedSkewMs } from "../../collector/collector.ts";
import { alive, type BranchName, branchNameRegister, resolveBranch } from "../../leadership/branch-name.ts";
import { mainBranchId } from "../../leadership/identity.ts";
import type { LogPosition } from "../../log/log.ts";
import { LATE, within } from "../../objects/retry.ts";
import {
  type Bucket,
  branchInfo,
  listBranchInfo,
  NamesOfAny,
  type OpenState,
  readAncestry,
  readNames,
} from "../branches/branch-list.ts";
import type {
  Branches,
  BranchInfo,
  CreateBranch,
  PromoteBranch,
  RestoreBranch,
  UpdateBranch,
} from "../branches/branches.ts";
import { created, expiryOf } from "../branches/created-branch.ts";
import { BranchCut, type CutParent, type CutPoint } from "../branches/cut-branch.ts";
import { cutPointAt, cutPointAtEnd } from "../branches/cut-point.ts";
import { changeName, deleted, PURGING, undeleted } from "../branches/name-changes.ts";
import { checkBranchName } from "../branches/name-checks.ts";
import { restoreBranch } from "../branches/restore.ts";
import type { Database } from "../engine.ts";
import type { BranchSet, BranchSetSettings } from "./branch-set.ts";
import { fateOf, removeLeftOrigins } from "./left-origins.ts";
import type { BranchSurroundings } from "./open-branch.ts";
import type { OpenBranch } from "./open-branch-handle.ts";
import { Promotion } from "./promote-branch.ts";
import { purgeBranch } from "./purge-branch.ts";
import type { ServedBranch } from "./served-branch.ts";

/**
 * The branches of a repository in a process that serves them: those that it leads are asked, the rest is in the store.
 */
export class HostBranches implements Branches {
  readonly #surroundings: BranchSurroundings;
  readonly #bucket: Bucket;
  readonly #set: BranchSet;
  readonly #settings: Pick<BranchSetSettings, "graceMs" | "cutMsMax">;
  /** Promotions change names one after the other. */
  #promoting: Promise<unknown> = Promise.resolve();

  constructor(
    surroundings: BranchSurroundings,
    set: BranchSet,
    branches: Pick<BranchSetSettings, "graceMs" | "cutMsMax">,
  ) {
    const { store, runtime, settings } = surroundings;
    this.#surroundings = surroundings;
    this.#bucket = { store, runtime, request: { timeoutMs: settings.requestTimeoutMs } };
    this.#set = set;
    this.#settings = branches;
  }

  /** Through the parent's leader, who uploads first what it has acknowledged. */
  async create(asked: CreateBranch): ReturnType<Branches["create"]> {
    checkBranchName(asked.name);
    const { store, runtime, request } = this.#bucket;
    const { moment, name } = asked;
    const { id: parent, leading } = await this.#set.lead(asked.from);
    const point = async (found: CutParent): Promise<CutPoint> => {
      // In this order: the end is not before the newest checkpoint.
      const end = await this.#flush(leading);
      if (moment.kind === "newest") return cutPointAtEnd(found, end);
      const { window } = this.#surroundings.repository;
      return cutPointAt({ store, window, request, moment }, found);
    };
    const expiresMs = expiryOf(asked, runtime.clock);
    const origin = await new BranchCut({
      ...{ store, runtime, request, parent, name, point },
      leader: leading.cutLeader(),
      strip: { auth: asked.stripAuth, leases: asked.stripLeases },
      expiresMs,
      freeName: () => this.freeName(name),
    }).cut();
    await this.#set.renamed(name);
    leading.wasCut();
    return created(asked, origin, expiresMs);
  }

  list({ deleted }: { deleted: boolean }): ReturnType<Branches["list"]> {
    return listBranchInfo(this.#bucket, { deleted, open: (name) => this.#open(name) });
  }

  async show(name: string): ReturnType<Branches["show"]> {
    const { store, runtime, request } = this.#bucket;
    const body = await resolveBranch(store, name, runtime, request);
    const names = new NamesOfAny(this.#bucket);
    const branch = await branchInfo(this.#bucket, {
      name,
      body,
      open: this.#open(name),
      nameOf: (id) => names.nameOf(id),
    });
    return { branch, ancestry: await readAncestry(this.#bucket, branch, { names, open: (each) => this.#open(each) }) };
  }

  /**
   * A promoter that stalled names the branch that it was to replace though that was ended for ever meanwhile: the name
   * is free. Nothing of the branch comes back, so that it may be looked at first and changed later.
   */
  async #freeLateName(name: string, branch: BranchId): Promise<void> {
    if ((await fateOf(this.#bucket, branch)) !== "ended") return;
    await changeName(this.#bucket, name, (now) =>
      now?.branch === branch && !now.tombstone ? { ...now, tombstone: true } : null,
    );
  }

  /** What was deleted under this name goes for ever, though it could still come back. */
  async freeName(name: string): Promise<void> {
    await this.#purge(name);
  }

  /** A branch to ask who may do something to it: also one that is being replaced, or has two names. */
  async guardOf(name: string): Promise<Database> {
    return (await this.#set.leadAny(name)).leading.database;
  }

  async update({ name, expiresInMs, ...change }: UpdateBranch): ReturnType<Branches["update"]> {
    const nowMs = this.#bucket.runtime.clock.wallMs();
    if (change.writeProtected !== undefined) {
      const { leading } = await this.#set.lead(name);
      await leading.database.settings.protectFromWrites(change.writeProtected);
    }
    const body = await changeName(this.#bucket, name, (before) => {
      const { protected: was, expiresMs: expired, ...rest } = alive(name, before);
      const expiresMs = expiresInMs === undefined ? expired : expiresInMs === null ? null : nowMs + expiresInMs;
      return { ...rest, protected: change.protected ?? was, expiresMs };
    });
    return branchInfo(this.#bucket, { name, body, open: this.#open(name) });
  }

  /** The name goes at once, and with it whoever is served by it; the data after the time of grace. */
  async delete(name: string): ReturnType<Branches["delete"]> {
    const purgeMs = this.#bucket.runtime.clock.wallMs() + this.#settings.graceMs;
    const before = await resolveBranch(this.#bucket.store, name, this.#bucket.runtime, this.#bucket.request);
    if (before.replacedBy !== undefined && (await this.#hasOtherName(name, before))) {
      throw new DbError("branchRefuses", `branch ${name} is being replaced: promote that to its end, or revoke it`);
    }
    const info = await branchInfo(this.#bucket, { name, body: before, open: this.#open(name) });
    await changeName(this.#bucket, name, (now) => {
      if (now !== null && now.branch !== before.branch) throw new DbError("notFound", `branch ${name} is another one`);
      return deleted(name, now, purgeMs);
    });
    await this.#set.renamed(name);
    return { ...info, deleted: true, purgeMs, open: false };
  }

  async #hasOtherName(name: string, { branch }: BranchName): Promise<boolean> {
    const all = await readNames(this.#bucket);
    return all.some((each) => each.name !== name && !each.body.tombstone && each.body.branch === branch);
  }

  async undelete(name: string): ReturnType<Branches["undelete"]> {
    const body = await changeName(this.#bucket, name, (before) => undeleted(name, before));
    await this.#set.renamed(name);
    return branchInfo(this.#bucket, { name, body, open: null });
  }

  promote(asked: PromoteBranch): ReturnType<Branches["promote"]> {
    const promoted = this.#promoting.then(() => this.#promote(asked));
    this.#promoting = promoted.catch(() => {});
    return promoted;
  }

  restore(asked: RestoreBranch): ReturnType<Branches["restore"]> {
    return restoreBranch(this, asked);
  }

  async #promote(asked: PromoteBranch): ReturnType<Branches["promote"]> {
    const promotion = new Promotion(this.#bucket, this.#set, asked);
    if (asked.revoke) {
      const body = await promotion.revoke();
      const info = await this.#info({ name: asked.over, body });
      return { promoted: info, replaced: null, revision: info.revision };
    }
    const { promoted, replaced, revision } = await promotion.run();
    return {
      promoted: await this.#info(promoted),
      // Its last one: it takes no writes any more, and is not open.
      replaced: replaced === null ? null : { ...(await this.#info(replaced)), revision: replaced.revision },
      revision,
    };
  }

  #info({ name, body }: { name: string; body: BranchName }): Promise<BranchInfo> {
    return branchInfo(this.#bucket, { name, body, open: this.#open(name) });
  }

  /**
   * Deletes what has expired, and ends for ever what was deleted and whose time of grace is over: for a collector,
   * which then finds that nobody needs it. What crashed cuts and late promoters have left goes, too. Throws
   * `storeRefused` while the clocks here and in the store differ too much.
   */
  async sweep(signal?: AbortSignal): Promise<Swept> {
    const nowMs = this.#bucket.runtime.clock.wallMs() + trustedSkewMs(this.#bucket.store);
    const swept: Swept = { expired: [], purged: [], failed: [] };
    for (const { name, body } of await readNames(this.#bucket)) {
      if (signal?.aborted) return swept;
      const isExpired = !body.tombstone && !body.protected && body.expiresMs !== null && body.expiresMs <= nowMs;
      const isDue = body.tombstone && body.purgeMs !== undefined && body.purgeMs <= nowMs;
      try {
        if (isExpired) swept.expired.push((await this.delete(name)).name);
        else if (isDue && (await this.#purge(name, nowMs))) swept.purged.push(name);
        else if (!body.tombstone && body.replacedBy !== undefined) await this.#freeLateName(name, body.branch);
      } catch (error) {
        // One that cannot be ended now keeps no other from it.
        if (!isDbError(error)) throw error;
        swept.failed.push({ name, error });
      }
    }
    const main = mainBranchId(this.#surroundings.repository.id);
    await removeLeftOrigins(this.#bucket, { beforeMs: nowMs - this.#settings.cutMsMax, main, signal });
    return swept;
  }

  /** What was deleted under this name goes for ever, if that is due by `nowMs`; left out: whenever it is. */
  async #purge(name: string, nowMs = Number.POSITIVE_INFINITY): Promise<boolean> {
    const isDue = (body: BranchName | null): body is BranchName =>
      body?.purgeMs !== undefined && body.tombstone && body.purgeMs <= nowMs;
    const { store, runtime, request } = this.#bucket;
    const before = (await branchNameRegister(store, name, runtime).read(request))?.body ?? null;
    if (!isDue(before)) return false;
    // From here on nothing brings it back; dying leaves it to whoever comes next.
    const body = await changeName(this.#bucket, name, (now) => (isDue(now) ? { ...now, purgeMs: PURGING } : null));
    if (!body.tombstone || body.purgeMs !== PURGING) return false;
    const all = (await readNames(this.#bucket)).filter((each) => !each.body.tombstone);
    if (isPromoted(body.branch, all)) {
      throw new DbError("branchRefuses", `the branch that was ${name} is being promoted: end that, or revoke it`);
    }
    const isNamed = all.some((each) => each.body.branch === body.branch);
    if (!isNamed) await this.#end({ id: body.branch, name });
    await changeName(this.#bucket, name, (now) => {
      if (now?.branch !== body.branch || !now.tombstone) return null;
      const { purgeMs: _, ...gone } = now;
      return gone;
    });
    return !isNamed;
  }

  async #end(branch: { id: BranchId; name: string }): Promise<void> {
    const { timers } = this.#bucket.runtime;
    const ended = new AbortController();
    const limit = timers.set(PURGE_MS, () => ended.abort(), { background: true });
    try {
      await this.#set.exclusively(branch.id, () => purgeBranch(this.#surroundings, branch, ended.signal));
    } finally {
      limit.cancel();
    }
  }

  async #flush(leading: OpenBranch): Promise<LogPosition> {
    const { runtime, request } = this.#bucket;
    const end = await within(runtime, request, leading.flush());
    if (end !== LATE) return end;
    throw new DbError("storeUnavailable", "what was acknowledged could not be uploaded in time");
  }

  #open(name: string): OpenState | null {
    const served = this.#set.open.find((each) => each.name === name);
    if (served === undefined || (served.failure !== null && served.failure.kind !== "frozen")) return null;
    const state = served.openState;
    return state === null ? null : openStateOf(state);
  }
}

/**
 * A promotion under way is to give it another name: the branch that it replaces has a second one, which says so
 * (promote-branch.ts).
 */
function isPromoted(branch: BranchId, names: readonly { name: string; body: BranchName }[]): boolean {
  const isReplaced = (kept: { name: string; body: BranchName }): boolean =>
    names.some(({ name, body }) => name !== kept.name && body.branch === kept.body.branch);
  return names.some((each) => each.body.replacedBy === branch && isReplaced(each));
}

/** What a sweep has done, by names. */
export interface Swept {
  readonly expired: string[];
  readonly purged: string[];
  readonly failed: { readonly name: string; readonly error: DbError }[];
}

/** A branch that is led by a node that does not stop cannot be taken: it is tried again at the next sweep. */
const PURGE_MS = 30_000;

const openStateOf = ({ committed, settings }: NonNullable<ServedBranch["openState"]>): OpenState => ({
  revision: committed,
  frozen: settings.replaced !== null,
  writeProtected: settings.writeProtected,
});
