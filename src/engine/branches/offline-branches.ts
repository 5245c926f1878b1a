import { resolveBranch } from "../../leadership/branch-name.ts";
import { type Bucket, branchInfo, listBranchInfo, nameOfAny, readAncestry } from "./branch-list.ts";
import type { Branches } from "./branches.ts";

/** The branches of a repository from its bucket alone, whether or not anybody serves it. */
export class OfflineBranches implements Pick<Branches, "list" | "show"> {
  readonly #bucket: Bucket;

  constructor(bucket: Bucket) {
    this.#bucket = bucket;
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
