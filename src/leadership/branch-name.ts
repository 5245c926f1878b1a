import { DbError } from "../base/errors.ts";
import { type BranchId, branchId, type ObjectKey } from "../base/ids.ts";
import { isBranchName, nameKey, parseKey, prefixes } from "../objects/keys.ts";
import type { ObjectStore, RequestOptions } from "../objects/objects.ts";
import { Register } from "../objects/register.ts";
import type { RetryRuntime } from "../objects/retry.ts";
import { Fields, patterns } from "./fields.ts";

/** More names than this are not listed at once. */
export const NAMES_MAX = 10_000;

/** What a branch's name points to (docs/formats/control-objects.md). Overwritten by compare-and-swap; never deleted. */
export interface BranchName {
  readonly branch: BranchId;
  /** Refuses deletion and promotion over it until it is taken off. */
  readonly protected: boolean;
  /** Wall time, ms since 1970, from which on the branch may be deleted; null: never by itself. */
  readonly expiresMs: number | null;
  /** The name is free again; `branch` is what it pointed to last. */
  readonly tombstone: boolean;
  /**
   * Of a name that was deleted: wall time, ms since 1970, from which on the branch's data goes. Left out: it has gone,
   * or the branch has another name.
   */
  readonly purgeMs?: number | undefined;
  /** The branch was replaced by promotion, by the one of this id, and got this name. */
  readonly replacedBy?: BranchId | undefined;
}

export function decodeBranchName(json: unknown): BranchName {
  const fields = new Fields(json, ["branch", "protected", "expiresMs", "tombstone", "purgeMs", "replacedBy"]);
  return {
    branch: branchId(fields.text("branch", patterns.hex16)),
    protected: fields.flag("protected"),
    expiresMs: fields.orNull("expiresMs", () => fields.count("expiresMs")),
    tombstone: fields.flag("tombstone"),
    ...(fields.has("purgeMs") && { purgeMs: fields.count("purgeMs") }),
    ...(fields.has("replacedBy") && { replacedBy: branchId(fields.text("replacedBy", patterns.hex16)) }),
  };
}

export const newBranchName = (branch: BranchId, expiresMs: number | null = null): BranchName => ({
  branch,
  protected: false,
  expiresMs,
  tombstone: false,
});

/** No branch has the name, and none that was deleted could come back by it. */
export const isFree = (body: BranchName | null): boolean =>
  body === null || (body.tombstone && body.purgeMs === undefined);

export const branchNameRegister = (store: ObjectStore, name: string, runtime: RetryRuntime): Register<BranchName> =>
  new Register(store, nameKey(name), { runtime, decode: decodeBranchName });

/** What `name` points to. Throws `invalidArgument` for what is no name, `notFound` for one that points nowhere. */
export async function resolveBranch(
  store: ObjectStore,
  name: string,
  runtime: RetryRuntime,
  request: RequestOptions,
): Promise<BranchName> {
  if (!isBranchName(name)) {
    throw new DbError("invalidArgument", `branch ${JSON.stringify(name)}: a name is a DNS label of 1 to 63 characters`);
  }
  const state = await branchNameRegister(store, name, runtime).read(request);
  return alive(name, state?.body ?? null);
}

/**
 * By its name, or by its id of 32 hexadecimal digits where no branch has those as its name, which one may. `name` is
 * null then. Throws as `resolveBranch` does.
 */
export async function branchByNameOrId(
  store: ObjectStore,
  nameOrId: string,
  runtime: RetryRuntime,
  request: RequestOptions,
): Promise<{ branch: BranchId; name: string | null }> {
  if (patterns.hex16.test(nameOrId)) {
    const state = await branchNameRegister(store, nameOrId, runtime).read(request);
    if (state === null || state.body.tombstone) return { branch: branchId(nameOrId), name: null };
  }
  return { branch: (await resolveBranch(store, nameOrId, runtime, request)).branch, name: nameOrId };
}

/** Throws `notFound` where the name points nowhere; where what it pointed to can come back, that says how. */
export function alive(name: string, body: BranchName | null): BranchName {
  if (body !== null && !body.tombstone) return body;
  const { purgeMs = 0 } = body ?? {};
  const hint = purgeMs > 0 ? `; one was deleted: t4 branch undelete ${name}` : "";
  throw new DbError("notFound", `there is no branch named ${name}${hint}`);
}

/** All names that were ever given, tombstoned ones too, in order; at most NAMES_MAX. */
export async function listNames(store: ObjectStore, request: RequestOptions): Promise<string[]> {
  const names: string[] = [];
  for (let startAfter: ObjectKey | undefined; names.length < NAMES_MAX; ) {
    const page = await store.list(prefixes.names, { ...request, limit: 1000, ...(startAfter && { startAfter }) });
    for (const { key } of page.objects) {
      const name = parseKey(key);
      if (name?.kind === "name") names.push(name.name);
      startAfter = key;
    }
    if (!page.more) break;
  }
  return names;
}
