import { resolveBranch } from "../../leadership/branch-name.ts";
import type { Repository } from "../../leadership/repository.ts";
import { type Bucket, branchInfo, listBranchInfo, nameOfAny, readAncestry } from "./branch-list.ts";
import type { Branches, CreateBranch } from "./branches.ts";
import { created, expiryOf } from "./created-branch.ts";
import { BranchCut, type CutParent, type CutPoint } from "./cut-branch.ts";
import { cutPointAt } from "./cut-point.ts";
import { checkBranchName } from "./name-checks.ts";

/** The branches of a repository from its bucket alone, whether or not anybody serves it. */
export class OfflineBranches implements Pick<Branches, "list" | "show" | "create"> {
  readonly #bucket: Bucket & { readonly repository: Repository };

  constructor(bucket: Bucket & { readonly repository: Repository }) {
    this.#bucket = bucket;
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
      ...{ store, runtime, request, parent, name, point },
      strip: { auth: asked.stripAuth, leases: asked.stripLeases },
      expiresMs,
    }).cut();
    return created(asked, origin, expiresMs);
  }

  list({ deleted }: { deleted: boolean }): ReturnType<Branches["list"]> {
    return listBranchInfo(this.#bucket, { deleted, open: () => null });
  }

  async show(name: string): ReturnType<Branches["show"]> {
    const { store, runtime, request } = this.#bucket;
    const body = await resolveBranch(store, name, runtime, request);
    const nameOf = nameOfAny(this.#bucket);
    const branch = await branchInfo(this.#bucket, { name, body, open: null, nameOf });
    return { branch, ancestry: await readAncestry(this.#bucket, branch, nameOf) };
  }
}
