import { DbError } from "../../base/errors.ts";
import type { BranchId } from "../../base/ids.ts";
import { sleep } from "../../objects/retry.ts";
import type { Runtime } from "../../runtime/runtime.ts";

/** Who may hold a branch in this process. */
export interface Claimant {
  /** The name by which it serves the branch; for texts. */
  readonly name: string;
}

const TRIES_MAX = 10;
const PAUSE_MS = 50;

/**
 * Which part of a process holds which branch, by its id: one at a time, from before it is opened until it is given up.
 * A branch has two names amid a promotion, and each of the two may be called.
 */
export class BranchClaims {
  readonly #runtime: Pick<Runtime, "clock" | "timers">;
  readonly #holders = new Map<BranchId, Claimant>();
  /** Asks a holder to look whether it is still to hold the branch, for another one's sake; resolves when it has. */
  readonly #ask: (holder: Claimant, by: Claimant) => Promise<void>;

  constructor(runtime: Pick<Runtime, "clock" | "timers">, ask: (holder: Claimant, by: Claimant) => Promise<void>) {
    this.#runtime = runtime;
    this.#ask = ask;
  }

  /** Throws `noLeader` where another one goes on holding it. Who waits here holds no branch: no circle of waiters. */
  async take(id: BranchId, claimant: Claimant): Promise<void> {
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const holder = this.#holders.get(id);
      if (holder === undefined || holder === claimant) {
        this.#holders.set(id, claimant);
        return;
      }
      await this.#ask(holder, claimant);
      if (this.#holders.get(id) === holder) await sleep(this.#runtime, PAUSE_MS);
    }
    const { name } = this.#holders.get(id) ?? claimant;
    throw new DbError("noLeader", `the branch is open as ${name}: it is being promoted`);
  }

  /** Also of what was not got. */
  release(id: BranchId, claimant: Claimant): void {
    if (this.#holders.get(id) === claimant) this.#holders.delete(id);
  }

  holderOf(id: BranchId): Claimant | undefined {
    return this.#holders.get(id);
  }
}
