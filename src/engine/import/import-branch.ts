import { assert } from "../../base/assert.ts";
import { DbError, isDbError } from "../../base/errors.ts";
import { nextTurn } from "../../base/event-loop.ts";
import { type BranchId, branchId, epoch, recordNumber, revision, slot } from "../../base/ids.ts";
import { isPromise } from "../../base/maybe-promise.ts";
import { endUnled } from "../../leadership/acquire.ts";
import { type BranchName, branchNameRegister, isFree, newBranchName } from "../../leadership/branch-name.ts";
import { encodeOrigin, rootOrigin } from "../../leadership/origin.ts";
import { createOnce } from "../../objects/conditional.ts";
import { originKey } from "../../objects/keys.ts";
import type { ObjectStore, RequestOptions } from "../../objects/objects.ts";
import type { RegisterState } from "../../objects/register.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { BlockCache } from "../../storage/block-cache.ts";
import type { RetentionPolicy } from "../../storage/checkpoint-retention.ts";
import { CheckpointWriter } from "../../storage/checkpoint-store.ts";
import { AT_HEAD, type Effect, KEYS, type Space, spaces } from "../../storage/storage.ts";
import { type BranchTree, openTree, type TreeSettings } from "../../storage/tree.ts";
import { AUTH_META_KEY, encodeAuthMeta, encodeRole, encodeUser } from "../auth/auth-records.ts";
import type { BboltReader } from "../bbolt/reader.ts";
import { checkBranchName, stillKept } from "../branches/name-checks.ts";
import { encodeLease } from "../lease/lease-record.ts";
import { leaseKey } from "../lease-key.ts";
import { alarmRecordKey } from "../maintenance/alarms.ts";
import { encodeCompactRevision, metaKeys, STRIPPED_LEASES } from "../meta.ts";
import { type EtcdState, REVISION_MAX, revisionOf, type StoredVersion, versionOf } from "./etcd-state.ts";

export interface ImportOptions {
  readonly store: ObjectStore;
  readonly runtime: Runtime;
  /** Of the new branch: one that no branch has. */
  readonly name: string;
  readonly file: BboltReader;
  /** Of `file`: read before anything is written. */
  readonly state: EtcdState;
  /** Called before the branch gets its name; throws where the file was not one and the same all the while. */
  readonly checkFile: () => void;
  /** Revisions that the branch's head is above the file's: clients may have seen that many more. */
  readonly bumpRevision: number;
  /** The branch is compacted at its head: whoever watches from before begins anew. */
  readonly markCompacted: boolean;
  readonly settings: {
    readonly tree: TreeSettings;
    readonly memtableBytes: number;
    readonly retention: RetentionPolicy;
  };
  readonly request: RequestOptions;
  readonly onProgress: (progress: { readonly done: number; readonly total: number }) => void;
}

export interface Imported {
  readonly branch: BranchId;
  readonly revision: number;
  readonly compactRevision: number;
  readonly keys: number;
  readonly versions: number;
  readonly leases: number;
  readonly users: number;
  readonly roles: number;
  readonly alarms: number;
}

/** Versions between two looks at who else waits. */
const VERSIONS_A_TURN = 1000;
const CACHE_BYTES = 64 << 20;
/**
 * A branch's first segment is missing where it begins with tables: so no state is looked for before its first
 * checkpoint, and none can be had.
 */
const FIRST_SLOT = slot(2);
/** Below any leadership's. */
const EPOCH = epoch(0);
/** The one that all entries beside the keys count as written by. */
const RECORD = recordNumber(1);
const NOTHING = Buffer.alloc(0);

/**
 * Makes a branch of the store of an etcd member: a root that begins with a checkpoint.
 *
 *   the name is free ─► origin ─► tables ─► checkpoint ─► name
 *
 * 1. Nobody finds the branch before it has its name, which is given last, on the version of it that was read first:
 *    a crash before leaves an origin and tables without a name, which collections remove in time (left-origins.ts),
 *    and take the name away from who is only slow. What fails ends the branch itself, in the same way.
 * 2. Tables are of epoch 0, before any leadership: no collection takes them before a later epoch has a checkpoint,
 *    which lists what is needed of them.
 * 3. The file is not believed: whether a version gives birth to its key is seen in what was read before it.
 */
export async function importBranch(options: ImportOptions): Promise<Imported> {
  const { store, runtime, name, request } = options;
  checkBranchName(name);
  const register = branchNameRegister(store, name, runtime);
  const nameBefore = await register.read(request);
  if (!isFree(nameBefore?.body ?? null)) throw taken(name, nameBefore);
  const branch = branchId(runtime.random.bytes(16).toString("hex"));
  const origin = encodeOrigin({ ...rootOrigin(branch), name });
  const created = await createOnce(store, originKey(branch), origin, { ...request, runtime });
  assert(created.kind === "created", "an id of 16 random bytes is nobody else's");
  let mayBeNamed = false;
  try {
    const imported = await new Import(options, branch).run();
    options.checkFile();
    checkWanted(request);
    // What it throws was not written, and will not be.
    const outcome = await register.swap(nameBefore, newBranchName(branch), request);
    mayBeNamed = outcome.kind !== "conflict";
    if (outcome.kind === "unknown")
      throw new DbError("storeUnavailable", `giving the branch its name ${name}: ${outcome.cause.message}`);
    if (outcome.kind === "conflict") throw taken(name, outcome.found);
    return imported;
  } finally {
    // Where the name may have come to be, nothing of the branch may go.
    if (!mayBeNamed) await end(options, branch);
  }
}

function checkWanted({ signal }: RequestOptions): void {
  if (signal?.aborted) throw new DbError("canceled", "interrupted: nothing was imported");
}

/** Where this fails, too, the rest is done as for one that a crash has left. */
async function end({ store, runtime, request: { timeoutMs } }: ImportOptions, branch: BranchId): Promise<void> {
  // Also where the operator has given up.
  const request = { timeoutMs };
  try {
    if (await endUnled({ store, runtime, request }, branch)) await store.delete(originKey(branch), request);
  } catch (error) {
    if (!isDbError(error)) throw error;
  }
}

function taken(name: string, found: RegisterState<BranchName> | null): DbError {
  if (found?.body.tombstone && found.body.purgeMs !== undefined) return stillKept(name);
  if (isFree(found?.body ?? null)) {
    const why = "an import that takes longer than an hour is given up where others clean the store";
    return new DbError("storeUnavailable", `the name ${name} changed meanwhile (${why}): try again`);
  }
  const how = "choose another name (--as), or a store that is empty";
  return new DbError("branchRefuses", `there is a branch named ${name} already: ${how}`);
}

class Import {
  readonly #options: ImportOptions;
  readonly #branch: BranchId;
  readonly #state: EtcdState;
  readonly #tree: BranchTree;
  /** The lease that each key hangs on, of those that hang on one. */
  readonly #held = new Map<string, bigint>();
  #flushing: Promise<void> = Promise.resolve();
  #versions = 0;
  #last: { readonly main: number; readonly sub: number } = { main: 0, sub: -1 };
  #sub = 0;

  constructor(options: ImportOptions, branch: BranchId) {
    const { store, runtime, state, settings } = options;
    this.#options = options;
    this.#branch = branch;
    this.#state = state;
    this.#tree = openTree({
      ...{ store, runtime, branch, checkpoint: null, settings: settings.tree },
      cache: new BlockCache({ bytesMax: CACHE_BYTES }),
    });
  }

  async run(): Promise<Imported> {
    const { runtime, store, settings, request, bumpRevision, markCompacted } = this.#options;
    const tree = this.#tree;
    // What waits for the store fails then.
    const giveUp = (): void => void tree.close();
    request.signal?.addEventListener("abort", giveUp);
    const checkpoints = new CheckpointWriter({
      ...{ store, runtime, branch: this.#branch, epoch: EPOCH, newest: null, firstSlot: FIRST_SLOT },
      retention: settings.retention,
      timeoutMs: request.timeoutMs,
    });
    tree.lead(checkpoints);
    try {
      await this.#keys();
      const head = Math.max(1, this.#last.main, this.#state.compactRevision) + bumpRevision;
      if (head > REVISION_MAX) throw new DbError("invalidArgument", `revision ${head} is above ${REVISION_MAX}`);
      const compactRevision = markCompacted ? head : this.#state.compactRevision;
      this.#rest(compactRevision);
      await this.#flushing;
      tree.freeze();
      const wallMs = runtime.clock.wallMs();
      const position = {
        ...rootOrigin(this.#branch).position,
        ...{ nextSlot: FIRST_SLOT, lastRecord: RECORD, revision: revision(head), wallMs },
      };
      const compacted = compactRevision < 0 ? -1 : revision(compactRevision);
      await tree.persist({ position, compactRevision: compacted, wallMs });
      return this.#imported(head, compactRevision);
    } catch (error) {
      checkWanted(request);
      throw error;
    } finally {
      request.signal?.removeEventListener("abort", giveUp);
      await this.#flushing.catch(() => {});
      await tree.close();
    }
  }

  async #keys(): Promise<void> {
    const { file, runtime, request, onProgress, settings } = this.#options;
    for (const page of file.pairs("key")) {
      for (const pair of page) {
        const version = versionOf(pair);
        if (version === null) {
          this.#last = revisionOf(pair.key);
          continue;
        }
        const found = this.#tree.get(KEYS, version.key, AT_HEAD);
        this.#apply(version, (isPromise(found) ? await found : found) !== null);
        if (this.#tree.activeBytes >= settings.memtableBytes) await this.#flush();
        if (++this.#versions % VERSIONS_A_TURN !== 0) continue;
        await nextTurn(runtime.timers);
        onProgress(file.progress);
      }
      checkWanted(request);
    }
  }

  #apply(version: StoredVersion, isAlive: boolean): void {
    const { main, sub, tombstone, key, bytes, lease } = version;
    const isNext = main > this.#last.main || (main === this.#last.main && sub > this.#last.sub);
    if (!isNext) throw new DbError("invalidArgument", `revision ${main}, number ${sub} is there twice`);
    this.#last = { main, sub };
    const effect: Effect = tombstone === isAlive ? (tombstone ? -1 : 1) : 0;
    this.#tree.apply({ space: KEYS, key, main, sub, tombstone, effect, bytes, start: 0, end: bytes.length });
    if (lease !== 0n) this.#held.set(key, lease);
    else this.#held.delete(key);
  }

  /** All that is not a key: as if one record had written it. */
  #rest(compactRevision: number): void {
    const { leases, users, roles, auth, alarms } = this.#state;
    const known = new Set(leases.map(({ id }) => id));
    for (const { id, ttlSeconds } of leases)
      this.#add(spaces.leases, leaseKey(id), encodeLease({ ttlSeconds, remainingSeconds: null }));
    let hangsOnNothing = false;
    for (const [key, lease] of this.#held) {
      if (known.has(lease)) this.#add(spaces.leaseKeys, leaseKey(lease) + key, NOTHING);
      else hangsOnNothing = true;
    }
    for (const user of users) this.#add(spaces.users, user.name, encodeUser(user));
    for (const role of roles) this.#add(spaces.roles, role.name, encodeRole(role));
    for (const alarm of alarms) this.#add(spaces.alarms, alarmRecordKey(alarm), NOTHING);
    this.#add(spaces.meta, AUTH_META_KEY, encodeAuthMeta(auth));
    if (compactRevision >= 0) this.#add(spaces.meta, metaKeys.compact, encodeCompactRevision(compactRevision));
    // An etcd that was killed while it revoked one leaves such keys.
    if (hangsOnNothing) this.#add(spaces.meta, metaKeys.stripped(this.#branch), Buffer.of(STRIPPED_LEASES));
  }

  #add(space: Exclude<Space, typeof KEYS>, key: string, bytes: Uint8Array): void {
    const place = { main: RECORD, sub: this.#sub++, tombstone: false, effect: 1 as const };
    this.#tree.apply({ space, key, ...place, bytes, start: 0, end: bytes.length });
  }

  /** One at a time, beside reading on: two memtables are in memory at most. */
  async #flush(): Promise<void> {
    await this.#flushing;
    // Versions that the file's last compaction hides may go at once.
    this.#flushing = this.#tree.writeOut(this.#state.compactRevision);
    // It is met where it is awaited.
    this.#flushing.catch(() => {});
  }

  #imported(head: number, compactRevision: number): Imported {
    const { leases, users, roles, alarms } = this.#state;
    return {
      branch: this.#branch,
      revision: head,
      compactRevision,
      keys: this.#tree.stats().keys,
      versions: this.#versions,
      leases: leases.length,
      users: users.length,
      roles: roles.length,
      alarms: alarms.length,
    };
  }
}
