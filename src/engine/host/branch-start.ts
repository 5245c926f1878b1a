import { DbError } from "../../base/errors.ts";
import type { BranchId, Slot } from "../../base/ids.ts";
import { type Origin, type OriginCheckpoint, type OriginRun, readOrigin } from "../../leadership/origin.ts";
import type { LogPosition } from "../../log/log.ts";
import { checkpointKey, originKey } from "../../objects/keys.ts";
import type { ObjectStore, RequestOptions } from "../../objects/objects.ts";
import type { Checkpoint } from "../../storage/checkpoint.ts";
import { newestCheckpoint, readCheckpoint } from "../../storage/checkpoint-store.ts";

/** What a branch is opened from: its newest checkpoint, or its origin while it has none. */
export interface BranchStart {
  /** Tells two starts apart. */
  readonly id: string;
  readonly position: LogPosition;
  /** The branch's own, or that which its origin begins with. */
  readonly checkpoint: Checkpoint | null;
  /** Of the ancestors' logs: what lies between the checkpoint and `position`. */
  readonly runs: readonly OriginRun[];
  /** The branch's log is kept from here on. */
  readonly firstSlot: Slot;
  /** Null where the branch has a checkpoint of its own. */
  readonly origin: Origin | null;
}

/** Reads starts of one branch; its origin and a checkpoint, which never change, once. */
export class BranchStarts {
  readonly #store: ObjectStore;
  readonly #branch: BranchId;
  readonly #request: RequestOptions;
  #atOrigin: BranchStart | null = null;
  #newest: Checkpoint | null = null;

  constructor(store: ObjectStore, branch: BranchId, request: RequestOptions) {
    this.#store = store;
    this.#branch = branch;
    this.#request = request;
  }

  async newest(): Promise<BranchStart> {
    const checkpoint = await newestCheckpoint(this.#store, this.#branch, this.#request, this.#newest);
    if (checkpoint !== null) {
      this.#newest = checkpoint;
      const { position } = checkpoint.point;
      return { id: checkpoint.id, position, checkpoint, runs: [], firstSlot: checkpoint.firstLogSlot, origin: null };
    }
    this.#atOrigin ??= await this.#readOrigin();
    return this.#atOrigin;
  }

  async #readOrigin(): Promise<BranchStart> {
    const origin = await readOrigin(this.#store, this.#branch, this.#request);
    const { position, runs } = origin;
    const checkpoint = origin.checkpoint === null ? null : await this.#readCheckpoint(origin.checkpoint);
    return { id: `origin of ${this.#branch}`, position, checkpoint, runs, firstSlot: position.nextSlot, origin };
  }

  /** An origin keeps what it names: a checkpoint that is missing, or another one, is corruption. */
  async #readCheckpoint(named: OriginCheckpoint): Promise<Checkpoint> {
    const object = originKey(this.#branch);
    const name = checkpointKey(named.branch, named.nextSlot, named.n);
    const checkpoint = await readCheckpoint(this.#store, named, this.#request);
    if (checkpoint === null) throw new DbError("corrupt", `object ${name} is missing: object ${object} begins with it`);
    if (checkpoint.id === named.sha256) return checkpoint;
    throw new DbError("corrupt", `object ${name}: has id ${checkpoint.id}, object ${object} names ${named.sha256}`);
  }
}
