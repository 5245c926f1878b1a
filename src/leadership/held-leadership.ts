import { assert } from "../base/assert.ts";
import { DbError, isDbError, messageOf } from "../base/errors.ts";
import type { BranchId, Epoch } from "../base/ids.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import type { Register } from "../objects/register.ts";
import { LATE, sleep, within } from "../objects/retry.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import { isDeposed, type LeaderRecord, releasedFrom } from "./leader-record.ts";
import type { Durability, Leadership } from "./leadership.ts";
import { BatchedCheck } from "./read-proof.ts";
import type { SessionHold } from "./session.ts";

/**
 * A leadership that was won. Three ways to prove it to a read:
 *
 *   disk    `local`: the lock of the set's only disk is held; an outage of the store ends nothing
 *   term    the session was renewed within its term (no request)
 *   bucket  the leader record, read after the read had arrived, still shows this epoch (no clock)
 *
 * 1. Once lost, released or abandoned it proves nothing, from before the release is sent.
 * 2. A session that was killed ends every way, `disk` too: only a forced takeover, or a challenger for another branch,
 *    kills it, and the branch must be won anew.
 */
export type ReadProof = "disk" | "term" | "bucket";

export interface HeldOptions {
  readonly branch: BranchId;
  readonly epoch: Epoch;
  readonly durability: Durability;
  readonly readProof: ReadProof;
  readonly hold: SessionHold;
  readonly register: Register<LeaderRecord>;
  readonly runtime: Pick<Runtime, "clock" | "timers">;
  readonly requestTimeoutMs: number;
  /** Of a read that waits for the bucket: it comes behind the check that is under way, and then waits for its own. */
  readonly proofTimeoutMs: number;
}

type State = { kind: "leading" } | { kind: "lost"; error: DbError } | { kind: "givenUp"; error: DbError };

/** Swaps of the record that others (a finished opening) made in the same epoch meanwhile. */
const RELEASE_CONFLICTS_MAX = 10;
const RELEASE_PAUSE_MS = 20;
/** After the bucket did not give its proof. */
const ASK_AGAIN_MS = 1000;

export class HeldLeadership implements Leadership {
  readonly branch: BranchId;
  readonly epoch: Epoch;
  readonly durability: Durability;
  onRegained: () => void = () => {};
  readonly #options: HeldOptions;
  readonly #bucket: BatchedCheck;
  #state: State = { kind: "leading" };
  /** Of the last check in the bucket. */
  #unproven: DbError | null = null;
  #again: Timer | null = null;
  #onLost: ((error: DbError) => void) | null = null;

  constructor(options: HeldOptions) {
    this.branch = options.branch;
    this.epoch = options.epoch;
    this.durability = options.durability;
    this.#options = options;
    this.#bucket = new BatchedCheck(() => this.#readRecord());
    options.hold.onLost = (error) => this.#lose(error);
    options.hold.onRegained = () => {
      if (options.readProof === "term" && this.#state.kind === "leading") this.onRegained();
    };
    if (options.hold.lost !== null) this.#lose(options.hold.lost);
  }

  get onLost(): (error: DbError) => void {
    return this.#onLost ?? (() => {});
  }

  /** What was lost before anybody listened is told soon after somebody does. */
  set onLost(listener: (error: DbError) => void) {
    const first = this.#onLost === null;
    this.#onLost = listener;
    const state = this.#state;
    if (first && state.kind === "lost") this.#options.runtime.timers.defer(() => listener(state.error));
  }

  proof(): MaybePromise<DbError | null> {
    if (this.#state.kind !== "leading") return this.#state.error;
    switch (this.#options.readProof) {
      case "disk":
        return null;
      case "term":
        return this.#options.hold.unprovenBecause();
      case "bucket":
        return this.#askBucket();
    }
  }

  unprovenBecause(): DbError | null {
    if (this.#state.kind !== "leading") return this.#state.error;
    switch (this.#options.readProof) {
      case "disk":
        return null;
      case "term":
        return this.#options.hold.unprovenBecause();
      case "bucket":
        return this.#unproven;
    }
  }

  async release(): Promise<void> {
    if (!this.#giveUp("is being released")) return;
    try {
      await this.#swapLast(releasedFrom);
    } finally {
      // Also after a release that failed: nothing is served any more, so others need not wait for the term.
      await this.#options.hold.release("end");
    }
  }

  async bury(): Promise<void> {
    if (!this.#giveUp("is being ended")) return;
    try {
      await this.#swapLast((record) => ({ ...releasedFrom(record), tombstone: true }));
    } finally {
      await this.#options.hold.release("end");
    }
  }

  async abandon(): Promise<void> {
    if (this.#giveUp("was given up")) await this.#options.hold.release("abandon");
  }

  /** False if it was given up before. From here on nothing is proven. */
  #giveUp(how: string): boolean {
    if (this.#state.kind === "givenUp") return false;
    this.#again?.cancel();
    this.#state = { kind: "givenUp", error: new DbError("noLeader", `the leadership of ${this.branch} ${how}`) };
    return true;
  }

  async #swapLast(change: (record: LeaderRecord) => LeaderRecord): Promise<void> {
    const { register, runtime, requestTimeoutMs: timeoutMs } = this.#options;
    const mine = { epoch: this.epoch, session: this.#options.hold.session };
    for (let attempt = 0; attempt < RELEASE_CONFLICTS_MAX; attempt++) {
      const state = await register.read({ timeoutMs });
      // Somebody else leads: there is nothing to give up. Or this release was applied, though its answer was lost.
      if (state === null || isDeposed(mine, state.body)) return;
      const outcome = await register.swap(state, change(state.body), { timeoutMs });
      if (outcome.kind === "swapped") return;
      await sleep(runtime, RELEASE_PAUSE_MS);
    }
    throw new DbError("storeUnavailable", `whether branch ${this.branch} was released is not known`);
  }

  async #askBucket(): Promise<DbError | null> {
    const { runtime, proofTimeoutMs: timeoutMs } = this.#options;
    const answer = await within(runtime, { timeoutMs }, this.#bucket.ask());
    if (answer !== LATE) return answer;
    const late = new DbError("noLeader", `the leader record could not be read within ${timeoutMs} ms`);
    // Until the check that is under way says better.
    if (this.#state.kind === "leading") this.#unproven ??= late;
    return late;
  }

  /** The bucket's answer to "do I still lead?". Failing to read is no proof, and no deposition. */
  async #readRecord(): Promise<DbError | null> {
    const { register, hold, requestTimeoutMs: timeoutMs } = this.#options;
    let answer: DbError | null;
    try {
      const state = await register.read({ timeoutMs });
      const record = state?.body ?? null;
      if (isDeposed({ epoch: this.epoch, session: hold.session }, record)) {
        const by = record === null ? "the leader record is gone" : `epoch ${record.epoch} of node ${record.node} leads`;
        this.#lose(new DbError("leadershipLost", `branch ${this.branch}: ${by}`));
      }
      answer = null;
    } catch (error) {
      if (!isDbError(error)) throw error;
      answer = new DbError("noLeader", `the leader record could not be read: ${messageOf(error)}`, { cause: error });
    }
    if (this.#state.kind !== "leading") return this.#state.error;
    const regained = this.#unproven !== null && answer === null;
    this.#unproven = answer;
    if (regained) this.onRegained();
    if (answer !== null) this.#askAgain();
    return answer;
  }

  /** Also where nobody reads: leases wait for the proof, and health shows that it is back. */
  #askAgain(): void {
    const ask = () => {
      this.#again = null;
      // What it throws is a bug, and ends the process.
      void this.#bucket.ask();
    };
    this.#again ??= this.#options.runtime.timers.set(ASK_AGAIN_MS, ask, { background: true });
  }

  #lose(error: DbError): void {
    if (this.#state.kind !== "leading") return;
    this.#again?.cancel();
    assert(error.kind === "leadershipLost", "what is lost is said to be lost");
    this.#state = { kind: "lost", error };
    this.#onLost?.(error);
  }
}
