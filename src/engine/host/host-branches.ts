import { resolveBranch } from "../../leadership/branch-name.ts";
import {
  type Bucket,
  branchInfo,
  listBranchInfo,
  nameOfAny,
  type OpenState,
  readAncestry,
} from "../branches/branch-list.ts";
import type { Branches } from "../branches/branches.ts";
import type { BranchSet } from "./branch-set.ts";
import type { BranchSurroundings } from "./open-branch.ts";

/** The branches of a repository in a process that serves them: those that it leads are asked, the rest is in the store. */
export class HostBranches implements Pick<Branches, "list" | "show"> {
  readonly #bucket: Bucket;
  readonly #set: BranchSet;

  constructor({ store, runtime, settings }: BranchSurroundings, set: BranchSet) {
    this.#bucket = { store, runtime, request: { timeoutMs: settings.requestTimeoutMs } };
    this.#set = set;
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

  #open(name: string): OpenState | null {
    const served = this.#set.open.find((each) => each.name === name);
    if (served === undefined || served.failure !== null) return null;
    return { revision: served.database.committed, frozen: false };
  }
}
