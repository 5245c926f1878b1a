import { DbError } from "../../base/errors.ts";
import { resolveBranch } from "../../leadership/branch-name.ts";
import type { LogPosition } from "../../log/log.ts";
import { LATE, within } from "../../objects/retry.ts";
import {
  type Bucket,
  branchInfo,
  listBranchInfo,
  nameOfAny,
  type OpenState,
  readAncestry,
} from "../branches/branch-list.ts";
import type { Branches, CreateBranch } from "../branches/branches.ts";
import { created, expiryOf } from "../branches/created-branch.ts";
import { BranchCut, type CutParent, type CutPoint } from "../branches/cut-branch.ts";
import { cutPointAt, cutPointAtEnd } from "../branches/cut-point.ts";
import { checkBranchName } from "../branches/name-checks.ts";
import type { BranchSet } from "./branch-set.ts";
import type { BranchSurroundings } from "./open-branch.ts";
import type { OpenBranch } from "./open-branch-handle.ts";

/** The branches of a repository in a process that serves them: those that it leads are asked, the rest is in the store. */
export class HostBranches implements Pick<Branches, "list" | "show" | "create"> {
  readonly #bucket: Bucket;
  readonly #window: number;
  readonly #set: BranchSet;

  constructor({ store, runtime, settings, repository }: BranchSurroundings, set: BranchSet) {
    this.#bucket = { store, runtime, request: { timeoutMs: settings.requestTimeoutMs } };
    this.#window = repository.window;
    this.#set = set;
  }

  /** Through the parent's leader, who uploads first what it has acknowledged. */
  async create(asked: CreateBranch): ReturnType<Branches["create"]> {
    checkBranchName(asked.name);
    const { store, runtime, request } = this.#bucket;
    const { moment, name } = asked;
    const { id: parent, leading } = await this.#set.lead(asked.from);
    const end = await this.#flush(leading);
    const point = async (found: CutParent): Promise<CutPoint> =>
      moment.kind === "newest"
        ? cutPointAtEnd(found, end)
        : cutPointAt({ store, window: this.#window, request, moment }, found);
    const expiresMs = expiryOf(asked, runtime.clock);
    const origin = await new BranchCut({
      ...{ store, runtime, request, parent, name, point },
      leader: leading.cutLeader(),
      strip: { auth: asked.stripAuth, leases: asked.stripLeases },
      expiresMs,
    }).cut();
    return created(asked, origin, expiresMs);
  }

  list({ deleted }: { deleted: boolean }): ReturnType<Branches["list"]> {
    return listBranchInfo(this.#bucket, { deleted, open: (name) => this.#open(name) });
  }

  async show(name: string): ReturnType<Branches["show"]> {
    const { store, runtime, request } = this.#bucket;
    const body = await resolveBranch(store, name, runtime, request);
    const nameOf = nameOfAny(this.#bucket);
    const branch = await branchInfo(this.#bucket, { name, body, open: this.#open(name), nameOf });
    return { branch, ancestry: await readAncestry(this.#bucket, branch, nameOf) };
  }

  async #flush(leading: OpenBranch): Promise<LogPosition> {
    const { runtime, request } = this.#bucket;
    const end = await within(runtime, request, leading.flush());
    if (end !== LATE) return end;
    throw new DbError("storeUnavailable", "what was acknowledged could not be uploaded in time");
  }

  #open(name: string): OpenState | null {
    const served = this.#set.open.find((each) => each.name === name);
    if (served === undefined || served.failure !== null) return null;
    return { revision: served.database.committed, frozen: false };
  }
}
