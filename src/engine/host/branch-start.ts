import type { BranchId } from "../../base/ids.ts";
import { type Origin, readOrigin } from "../../leadership/origin.ts";
import type { LogPosition } from "../../log/log.ts";
import type { ObjectStore, RequestOptions } from "../../objects/objects.ts";
import type { Checkpoint } from "../../storage/checkpoint.ts";
import { newestCheckpoint } from "../../storage/checkpoint-store.ts";

/** What a branch is opened from: its newest checkpoint, or its origin while it has none. */
export interface BranchStart {
  /** Tells two starts apart. */
  readonly id: string;
  readonly position: LogPosition;
  readonly checkpoint: Checkpoint | null;
}

/** Reads starts of one branch; its origin, which never changes, once. */
export class BranchStarts {
  readonly #store: ObjectStore;
  readonly #branch: BranchId;
  readonly #request: RequestOptions;
  #origin: Origin | null = null;

  constructor(store: ObjectStore, branch: BranchId, request: RequestOptions) {
    this.#store = store;
    this.#branch = branch;
    this.#request = request;
  }

  async newest(): Promise<BranchStart> {
    const checkpoint = await newestCheckpoint(this.#store, this.#branch, this.#request);
    if (checkpoint !== null) return { id: checkpoint.id, position: checkpoint.point.position, checkpoint };
    this.#origin ??= await readOrigin(this.#store, this.#branch, this.#request);
    return { id: `origin of ${this.#branch}`, position: this.#origin.position, checkpoint: null };
  }
}
