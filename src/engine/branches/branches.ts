import type { BranchId } from "../../base/ids.ts";
import type { Moment } from "./moment.ts";

/**
 * The branches of a repository, as whoever serves or tools see them: in a process that serves them (host-branches.ts)
 * and on the bucket alone (offline-branches.ts). Who calls over a network is checked by who serves it
 * (api/repository/authorize.ts). Every method rejects with a DbError.
 */
export interface Branches {
  list(options: { deleted: boolean }): Promise<BranchInfo[]>;
  /** With its ancestry, from itself up to the root. */
  show(name: string): Promise<{ branch: BranchInfo; ancestry: BranchInfo[] }>;
  create(request: CreateBranch): Promise<{ branch: BranchInfo; revision: number }>;
  update(request: UpdateBranch): Promise<BranchInfo>;
  delete(name: string): Promise<BranchInfo>;
  undelete(name: string): Promise<BranchInfo>;
  /** Back to a moment, under its name. */
  restore(request: RestoreBranch): Promise<Restored>;
  promote(request: PromoteBranch): Promise<{ promoted: BranchInfo; replaced: BranchInfo | null; revision: number }>;
}

export interface BranchInfo {
  readonly name: string;
  readonly id: BranchId;
  readonly parentId: BranchId | null;
  /** Of a branch that has that id now; null if none has. */
  readonly parentName: string | null;
  readonly forkRevision: number;
  readonly forkMs: number;
  readonly protected: boolean;
  /** Null: never. */
  readonly expiresMs: number | null;
  readonly deleted: boolean;
  /** When the data goes, ms since 1970; null while it is not deleted, and when it is gone. */
  readonly purgeMs: number | null;
  /** As served, where it is open here; else of its newest checkpoint. */
  readonly revision: number;
  readonly open: boolean;
  /** The node that leads it, as its leader record says; null: none. */
  readonly leader: string | null;
  /** It takes no writes until that is lifted; null: not open here, so not known. */
  readonly writeProtected: boolean | null;
  /** It is being, or was, replaced by promotion, and takes no writes. */
  readonly frozen: boolean;
}

export interface CreateBranch {
  readonly name: string;
  readonly from: string;
  readonly moment: Moment;
  /** From now on; null: never. */
  readonly expiresInMs: number | null;
  /** Without users and roles, authentication off. */
  readonly stripAuth: boolean;
  /** Without leases; keys that hang on one stay. */
  readonly stripLeases: boolean;
}

/** What is undefined stays as it is. */
export interface UpdateBranch {
  readonly name: string;
  readonly protected?: boolean | undefined;
  readonly writeProtected?: boolean | undefined;
  /** From now on; null: never. */
  readonly expiresInMs?: number | null | undefined;
}

export interface PromoteBranch {
  /** The branch that takes the place. */
  readonly name: string;
  /** The one whose place, and name, it takes. */
  readonly over: string;
  /** The name that the old one gets; null: OVER-old-N. */
  readonly keepAs: string | null;
  /** Takes back a promotion that has not swapped the names yet. */
  readonly revoke: boolean;
}

export interface RestoreBranch {
  readonly name: string;
  readonly moment: Moment;
  /** The name that what it was gets; null: NAME-old-N. */
  readonly keepAs: string | null;
}

export interface Restored {
  readonly restored: BranchInfo;
  /** What it was, under another name. */
  readonly replaced: BranchInfo | null;
  readonly revision: number;
}
