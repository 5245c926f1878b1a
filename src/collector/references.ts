import { DbError } from "../base/errors.ts";
import type { BranchId, Epoch, ObjectKey, Slot } from "../base/ids.ts";
import { behindBranch, checkpointKey, type ObjectName, objectKey, parseKey, prefixes } from "../objects/keys.ts";
import type { ObjectStore, RequestOptions } from "../objects/objects.ts";
import { type BranchReferences, type ReferenceOptions, readBranchReferences, tablesIn } from "./branch-references.ts";

/** What all branches of a repository need together. */
export class References {
  readonly branches: ReadonlyMap<BranchId, BranchReferences>;
  readonly #tables: ReadonlySet<ObjectKey>;
  readonly #checkpoints: ReadonlySet<ObjectKey>;
  readonly #runs: ReadonlyMap<BranchId, readonly SlotRange[]>;

  constructor(
    branches: ReadonlyMap<BranchId, BranchReferences>,
    tables: ReadonlySet<ObjectKey>,
    checkpoints: ReadonlySet<ObjectKey>,
  ) {
    this.branches = branches;
    this.#tables = tables;
    this.#checkpoints = checkpoints;
    const runs = new Map<BranchId, SlotRange[]>();
    for (const { origin } of branches.values()) {
      for (const { branch, first, last } of origin?.runs ?? [])
        runs.set(branch, [...(runs.get(branch) ?? []), { first, last }]);
    }
    this.#runs = runs;
  }

  /** Whether a table, checkpoint or segment is needed by any branch. */
  has(name: ObjectName): boolean {
    switch (name.kind) {
      case "table":
        return this.#tables.has(objectKey(name));
      case "checkpoint":
        return this.#checkpoints.has(objectKey(name));
      case "segment":
        return this.#hasSlot(name.branch, name.slot);
      default:
        return true;
    }
  }

  /**
   * Whether a table that was never referenced never will be: whoever could do that for the first time is deposed, and
   * its checkpoints are forks.
   */
  isOrphan(table: { branch: BranchId; epoch: Epoch }): boolean {
    const branch = this.branches.get(table.branch);
    if (branch === undefined) return false;
    return branch.tombstone || (branch.newest !== null && table.epoch < branch.newest.epoch);
  }

  #hasSlot(branch: BranchId, slot: Slot): boolean {
    const references = this.branches.get(branch);
    // A log without a branch is nobody's to judge.
    if (references === undefined) return true;
    if (references.logFrom !== null && slot >= references.logFrom) return true;
    return this.#runs.get(branch)?.some(({ first, last }) => slot >= first && slot <= last) ?? false;
  }
}

interface SlotRange {
  readonly first: Slot;
  readonly last: Slot;
}

/** Reads the references of all branches anew, those without a name included. */
export async function readReferences(options: ReferenceOptions): Promise<References> {
  const branches = new Map<BranchId, BranchReferences>();
  const tables = new Set<ObjectKey>();
  const checkpoints = new Set<ObjectKey>();
  for (const branch of await listBranches(options.store, options.request)) {
    const references = await readBranchReferences(branch, options);
    branches.set(branch, references);
    for (const key of references.tables) tables.add(key);
    for (const key of references.checkpoints) checkpoints.add(key);
    const start = references.origin?.checkpoint ?? null;
    if (start === null) continue;
    const key = checkpointKey(start.branch, start.nextSlot, start.n);
    checkpoints.add(key);
    for (const table of await tablesIn(key, options)) tables.add(table);
  }
  return new References(branches, tables, checkpoints);
}

/** Every branch that has any object, by one request for each. */
export async function listBranches(store: ObjectStore, request: RequestOptions): Promise<BranchId[]> {
  const branches: BranchId[] = [];
  for (;;) {
    const last = branches.at(-1);
    const after = last === undefined ? {} : { startAfter: behindBranch(last) };
    const { objects } = await store.list(prefixes.branches, { ...request, ...after, limit: 1 });
    const [first] = objects;
    if (first === undefined) return branches;
    const name = parseKey(first.key);
    if (name === null || !("branch" in name)) {
      throw new DbError("corrupt", `object ${first.key}: is foreign, expected only what branches have there`);
    }
    branches.push(name.branch);
  }
}
