import { DbError } from "../../base/errors.ts";
import type { BranchId } from "../../base/ids.ts";
import { leaderRegister } from "../../leadership/acquire.ts";
import { type BranchName, branchNameRegister, listNames } from "../../leadership/branch-name.ts";
import { type Origin, readOrigin } from "../../leadership/origin.ts";
import type { ObjectStore, RequestOptions } from "../../objects/objects.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { newestCheckpoint } from "../../storage/checkpoint-store.ts";
import type { BranchInfo } from "./branches.ts";

export interface Bucket {
  readonly store: ObjectStore;
  readonly runtime: Pick<Runtime, "clock" | "timers" | "random">;
  readonly request: RequestOptions;
}

/** What a process knows of a branch that it has open. */
export interface OpenState {
  readonly revision: number;
  readonly frozen: boolean;
  readonly writeProtected: boolean;
}

/** Requests under way at once. */
const PARALLEL = 16;
/** An ancestry is longer only where it is a circle. */
const ANCESTORS_MAX = 10_000;

/** Of all names, deleted ones too where they are wanted, in their order. */
export async function listBranchInfo(
  bucket: Bucket,
  { deleted, open }: { deleted: boolean; open: (name: string) => OpenState | null },
): Promise<BranchInfo[]> {
  const names = await readNames(bucket);
  const nameOf = new Map<BranchId, string>();
  for (const { name, body } of names) if (!body.tombstone) nameOf.set(body.branch, name);
  const shown = names.filter(({ body }) => !body.tombstone || (deleted && body.purgeMs !== undefined));
  return inParallel(shown, ({ name, body }) =>
    readInfo(bucket, { name, body, nameOf: async (id) => nameOf.get(id) ?? null, open: open(name) }),
  );
}

/** Every name with what it points to, deleted ones too. */
export async function readNames(bucket: Bucket): Promise<{ name: string; body: BranchName }[]> {
  const { store, runtime, request } = bucket;
  const names = await inParallel(await listNames(store, request), async (name) => {
    const state = await branchNameRegister(store, name, runtime).read(request);
    return state === null ? null : { name, body: state.body };
  });
  return names.filter((each) => each !== null);
}

/** What one name points to. */
export async function branchInfo(
  bucket: Bucket,
  { name, body, open, nameOf }: { name: string; body: BranchName; open: OpenState | null; nameOf?: NameOf },
): Promise<BranchInfo> {
  return readInfo(bucket, { name, body, open, nameOf: nameOf ?? ((id) => new NamesOfAny(bucket).nameOf(id)) });
}

/** Looks through all names, once, when it is first asked. */
export class NamesOfAny {
  readonly #bucket: Bucket;
  #names: Promise<{ name: string; body: BranchName }[]> | null = null;

  constructor(bucket: Bucket) {
    this.#bucket = bucket;
  }

  async of(id: BranchId): Promise<{ name: string; body: BranchName } | undefined> {
    this.#names ??= readNames(this.#bucket);
    return (await this.#names).find(({ body }) => body.branch === id && !body.tombstone);
  }

  async nameOf(id: BranchId): Promise<string | null> {
    return (await this.of(id))?.name ?? null;
  }
}

type NameOf = (id: BranchId) => Promise<string | null>;

async function readInfo(
  bucket: Bucket,
  { name, body, open, nameOf }: { name: string; body: BranchName; open: OpenState | null; nameOf: NameOf },
): Promise<BranchInfo> {
  const { store, runtime, request } = bucket;
  const [origin, leader] = await Promise.all([
    originOrNull(bucket, body.branch),
    leaderRegister(store, body.branch, runtime).read(request),
  ]);
  const newest = open === null ? await newestCheckpoint(store, body.branch, request) : null;
  const isLed = leader !== null && !leader.body.released && !leader.body.tombstone;
  return {
    name,
    id: body.branch,
    parentId: origin?.parent ?? null,
    parentName: origin?.parent == null ? null : await nameOf(origin.parent),
    forkRevision: origin?.parent == null ? 0 : origin.position.revision,
    forkMs: origin?.parent == null ? 0 : origin.position.wallMs,
    protected: body.protected,
    expiresMs: body.expiresMs,
    deleted: body.tombstone,
    purgeMs: body.tombstone ? (body.purgeMs ?? null) : null,
    revision: open?.revision ?? newest?.point.position.revision ?? origin?.position.revision ?? 0,
    open: open !== null,
    leader: isLed ? leader.body.node : null,
    writeProtected: open?.writeProtected ?? null,
    frozen: open?.frozen ?? body.replacedBy !== undefined,
  };
}

/** From a branch up to the root: by the origins, which stay as long as the branch that they are of. */
export async function readAncestry(
  bucket: Bucket,
  first: BranchInfo,
  { names, open }: { names: NamesOfAny; open: (name: string) => OpenState | null },
): Promise<BranchInfo[]> {
  const line = [first];
  for (let id = first.parentId; id !== null; id = line.at(-1)!.parentId) {
    if (line.length >= ANCESTORS_MAX) throw new DbError("corrupt", `the ancestry of branch ${first.id} has no end`);
    const found = await names.of(id);
    const body = found?.body ?? { branch: id, protected: false, expiresMs: null, tombstone: true };
    const name = found?.name ?? "";
    const state = name === "" ? null : open(name);
    line.push(await readInfo(bucket, { name, body, open: state, nameOf: (other) => names.nameOf(other) }));
  }
  return line;
}

/** Null for a branch that is deleted, or just being made. */
async function originOrNull({ store, request }: Bucket, branch: BranchId): Promise<Origin | null> {
  try {
    return await readOrigin(store, branch, request);
  } catch (error) {
    if (error instanceof DbError && error.kind === "notFound") return null;
    throw error;
  }
}

/** In the order of the items. */
async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const at = next++;
      results[at] = await work(items[at]!);
    }
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, items.length) }, worker));
  return results;
}
