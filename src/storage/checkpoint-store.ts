import { assert } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
import type { BranchId, Epoch, ObjectKey, Slot } from "../base/ids.ts";
import { readDecoded } from "../objects/checked-read.ts";
import { createOnce } from "../objects/conditional.ts";
import { checkpointKey, parseKey, prefixes } from "../objects/keys.ts";
import type { ObjectStore } from "../objects/objects.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Checkpoint, CheckpointPosition, FirstCheckpoint, RetainedCheckpoint } from "./checkpoint.ts";
import { decodeCheckpoint, encodeCheckpoint } from "./checkpoint-codec.ts";
import { type RetentionPolicy, retain } from "./checkpoint-retention.ts";
import type { CheckpointSigner } from "./checkpoint-signature.ts";
import { appendLeaf, emptyRange } from "./mountain-range.ts";
import type { CheckpointPoint } from "./storage.ts";

const LIST_LIMIT = 1000;
/** A collector may take away what was just listed; then a newer one is there. */
const READ_ATTEMPTS_MAX = 10;
/** Between this machine's clock and the store's. */
const SKEW_MS_MAX = 60_000;
/** Others that may have written a checkpoint with the same next slot: deposed leaders, late. */
const CLASHES_MAX = 100;

/** The branch's newest checkpoint: that of the greatest next slot, of those the greatest n. Null if it has none. */
export async function newestCheckpoint(
  store: ObjectStore,
  branch: BranchId,
  options: { timeoutMs: number; signal?: AbortSignal },
  known: Checkpoint | null = null,
): Promise<Checkpoint | null> {
  // A name is created once, and the newest one is kept: with none behind the one that is known, that is the newest.
  const knownKey = known === null ? null : checkpointKey(branch, known.point.position.nextSlot, known.n);
  for (let attempt = 0; attempt < READ_ATTEMPTS_MAX; attempt++) {
    const key = await newestKey(store, branch, options, knownKey);
    if (key === null) return known;
    const found = await readDecoded(store, key, options, ({ body }) =>
      decodeCheckpoint(key, body, { proofs: "trusted" }),
    );
    if (found !== null) return found;
  }
  throw new DbError("storeUnavailable", `branch ${branch}: checkpoints are listed in ${store.name} but not found`);
}

async function newestKey(
  store: ObjectStore,
  branch: BranchId,
  options: { timeoutMs: number; signal?: AbortSignal },
  behind: ObjectKey | null,
): Promise<ObjectKey | null> {
  const prefix = prefixes.checkpoints(branch);
  let newest: ObjectKey | null = null;
  for (;;) {
    const startAfter = newest ?? behind;
    const from = startAfter === null ? {} : { startAfter };
    const page = await store.list(prefix, { ...options, ...from, limit: LIST_LIMIT, keysOnly: true });
    for (const { key } of page.objects) {
      const name = parseKey(key);
      if (name?.kind !== "checkpoint") {
        throw new DbError("corrupt", `object ${key}: is not named as a checkpoint is`);
      }
      newest = key;
    }
    if (!page.more || page.objects.length === 0) return newest;
  }
}

/** A checkpoint by its name, or null. */
export function readCheckpoint(
  store: ObjectStore,
  name: Pick<RetainedCheckpoint, "branch" | "nextSlot" | "n">,
  options: { timeoutMs: number; signal?: AbortSignal },
): Promise<Checkpoint | null> {
  const key = checkpointKey(name.branch, name.nextSlot, name.n);
  return readDecoded(store, key, options, ({ body }) => decodeCheckpoint(key, body));
}

export interface CheckpointWriterOptions {
  readonly store: ObjectStore;
  readonly runtime: Runtime;
  readonly branch: BranchId;
  readonly epoch: Epoch;
  /**
   * The branch's newest checkpoint; for a branch that has none yet, that of its origin; null if that has none either.
   */
  readonly newest: Checkpoint | null;
  /** The branch's first slot: the state before it is that of its origin. */
  readonly firstSlot: Slot;
  readonly retention: RetentionPolicy;
  /** Left out: nothing is signed. */
  readonly signer?: CheckpointSigner | null;
  readonly timeoutMs: number;
}

/**
 * Makes the checkpoints of one leadership, one at a time.
 *
 * 1. A checkpoint's parent is the one before it; one whose outcome stayed unknown is tried again first, with the same
 *    bytes, so that it either is the parent or will never be.
 * 2. A name that is taken by other bytes belongs to a late checkpoint of a deposed leader: the next n is tried. If its
 *    epoch is higher than ours, we are the deposed one.
 */
export class CheckpointWriter {
  readonly #options: CheckpointWriterOptions;
  /** Of the next one. */
  retention: RetentionPolicy;
  #newest: Checkpoint | null;
  #unresolved: { key: ObjectKey; body: Buffer; checkpoint: Checkpoint } | null = null;
  #busy = false;

  constructor(options: CheckpointWriterOptions) {
    this.#options = options;
    this.retention = options.retention;
    this.#newest = options.newest;
    if (options.newest !== null && options.newest.epoch > options.epoch) throw this.#deposed(options.newest);
  }

  get newest(): Checkpoint | null {
    return this.#newest;
  }

  /** One that was sent and has no answer yet, or got none: it may be the newest one already. */
  get unanswered(): Checkpoint | null {
    return this.#unresolved?.checkpoint ?? null;
  }

  get epoch(): Epoch {
    return this.#options.epoch;
  }

  /**
   * Throws `leadershipLost` when deposed; `storeUnavailable` when the outcome stays unknown: call again, with a later
   * point.
   */
  async write(
    point: CheckpointPoint<CheckpointPosition>,
    runs: Checkpoint["runs"],
    signal?: AbortSignal,
  ): Promise<Checkpoint> {
    assert(!this.#busy, "checkpoints are made one at a time");
    this.#busy = true;
    try {
      if (this.#unresolved !== null) await this.#create(this.#unresolved, signal);
      const newest = this.#newest;
      const before = newest?.branch === this.#options.branch ? newest.point.position.nextSlot : 1;
      assert(point.position.nextSlot >= before, "checkpoints cover more and more");
      for (let clash = 0; clash < CLASHES_MAX; clash++) {
        const made = this.#make(point, runs, clash);
        if (await this.#create(made, signal)) return made.checkpoint;
      }
      throw new DbError("corrupt", `branch ${this.#options.branch}: ${CLASHES_MAX} checkpoints at one slot`);
    } finally {
      this.#busy = false;
    }
  }

  /** True: it is there, and is the newest one now. False: the name has other bytes. */
  async #create(
    made: { key: ObjectKey; body: Buffer; checkpoint: Checkpoint },
    signal?: AbortSignal,
  ): Promise<boolean> {
    const { store, runtime, timeoutMs, epoch } = this.#options;
    this.#unresolved = made;
    // Dying here leaves a checkpoint that is whole or none: either is a state to start from.
    const outcome = await createOnce(store, made.key, made.body, { runtime, timeoutMs, ...(signal ? { signal } : {}) });
    this.#unresolved = null;
    if (outcome.kind === "created") {
      this.#newest = made.checkpoint;
      return true;
    }
    const other = decodeCheckpoint(made.key, outcome.object.body);
    if (other.epoch > epoch) throw this.#deposed(other);
    return false;
  }

  #make(
    point: CheckpointPoint<CheckpointPosition>,
    runs: Checkpoint["runs"],
    clash: number,
  ): { key: ObjectKey; body: Buffer; checkpoint: Checkpoint } {
    const { branch, epoch } = this.#options;
    const newest = this.#newest;
    const { nextSlot } = point.position;
    const sameSlot = newest !== null && newest.branch === branch && newest.point.position.nextSlot === nextSlot;
    const n = (sameSlot ? newest.n + 1 : 0) + clash;
    const { range, candidates, first } = historyAfter(newest, branch);
    const kept = newest === null || newest.branch !== branch ? this.#options.firstSlot : newest.firstLogSlot;
    const { retained, firstLogSlot } = this.#clockIsTrusted()
      ? retain(this.retention, candidates, { nowMs: point.wallMs, firstLogSlot: kept })
      : { retained: candidates, firstLogSlot: kept };
    const fields = { branch, epoch, n, parent: newest?.id ?? null, point, runs, retained, firstLogSlot, range };
    const body = encodeCheckpoint({ ...fields, ...(first && { first }) }, this.#options.signer ?? null);
    const key = checkpointKey(branch, nextSlot, n);
    return { key, body, checkpoint: decodeCheckpoint(key, body, { proofs: "trusted" }) };
  }

  /** Nothing is thinned by a clock that is wrong: what it takes for old may be new. */
  #clockIsTrusted(): boolean {
    const { store } = this.#options;
    const skewMs = store.clockSkewMs === undefined ? 0 : store.clockSkewMs();
    return skewMs !== null && Math.abs(skewMs) <= SKEW_MS_MAX;
  }

  #deposed(by: Checkpoint): DbError {
    const { branch, epoch } = this.#options;
    return new DbError("leadershipLost", `branch ${branch}: epoch ${epoch} met a checkpoint of epoch ${by.epoch}`);
  }
}

/** The range over all checkpoints up to and with `newest`, and those of them that may be retained. */
function historyAfter(
  newest: Checkpoint | null,
  branch: BranchId,
): { range: Checkpoint["range"]; candidates: RetainedCheckpoint[]; first?: FirstCheckpoint } {
  if (newest === null) return { range: emptyRange, candidates: [] };
  const own = newest.branch === branch;
  const before = own ? newest.retained : [];
  const proofs = before.map((each) => each.proof);
  const start = own ? newest.range : emptyRange;
  const known = start.leaves === 0 ? null : firstOf(newest);
  const appended = appendLeaf(start, newest.id, known === null ? proofs : [...proofs, { leaf: 0, path: known.path }]);
  const firstId = start.leaves === 0 ? newest.id : known?.id;
  const place = start.leaves === 0 ? appended.proofs.length - 1 : proofs.length;
  const first = firstId === undefined ? undefined : { id: firstId, path: appended.proofs[place]!.path };
  const candidates = before.map((each, i) => ({ ...each, proof: appended.proofs[i]! }));
  if (!own) return { range: appended.range, candidates, ...(first && { first }) };
  const { point, id, n } = newest;
  const { nextSlot, revision } = point.position;
  const proof = appended.proofs.at(-1)!;
  candidates.push({ id, branch: newest.branch, nextSlot, n, revision, wallMs: point.wallMs, proof });
  return { range: appended.range, candidates, ...(first && { first }) };
}

/** A checkpoint of before it was written down has it only while its history's first one is retained. */
function firstOf({ first, retained }: Checkpoint): FirstCheckpoint | null {
  const found = retained.find(({ proof }) => proof.leaf === 0);
  return first ?? (found === undefined ? null : { id: found.id, path: found.proof.path });
}
