import { DbError } from "../base/errors.ts";
import type { BranchId } from "../base/ids.ts";
import { branchByNameOrId } from "../leadership/branch-name.ts";
import { type Repository, readRepository } from "../leadership/repository.ts";
import type { ObjectStore, RequestOptions } from "../objects/objects.ts";
import type { Runtime } from "../runtime/runtime.ts";

/** A repository as a tool has it that leads nothing: all that it knows is in the bucket. */
export interface OfflineRepository {
  readonly store: ObjectStore;
  readonly runtime: Runtime;
  readonly repository: Repository;
  /** Bound of one request; `signal` fires when the operator gives up. */
  readonly request: RequestOptions;
}

/** Throws `notFound` where there is no repository: a tool founds none. */
export async function openOffline(
  store: ObjectStore,
  runtime: Runtime,
  request: RequestOptions,
): Promise<OfflineRepository> {
  const repository = await readRepository(store, request);
  if (repository === null)
    throw new DbError("notFound", `there is no repository in ${store.name} (--store, --data-dir)`);
  return { store, runtime, repository, request };
}

export interface OfflineBranch {
  readonly id: BranchId;
  /** Null where it was asked for by its id. */
  readonly name: string | null;
}

/** A branch by its name, or by its id of 32 hexadecimal digits: so can be found what no name points to any more. */
export async function findBranch(repository: OfflineRepository, nameOrId: string): Promise<OfflineBranch> {
  const { store, runtime, request } = repository;
  const { branch, name } = await branchByNameOrId(store, nameOrId, runtime, request);
  return { id: branch, name };
}
