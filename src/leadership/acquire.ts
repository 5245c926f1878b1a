import { DbError, isDbError } from "../base/errors.ts";
import { type BranchId, type Epoch, epoch } from "../base/ids.ts";
import { leaderKey } from "../objects/keys.ts";
import type { ObjectStore, RequestOptions } from "../objects/objects.ts";
import { Register, type RegisterState } from "../objects/register.ts";
import { sleep } from "../objects/retry.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { type Claim, judge } from "./claim.ts";
import type { BranchDisk } from "./disk-identity.ts";
import { HeldLeadership } from "./held-leadership.ts";
import {
  decodeLeaderRecord,
  endedUnled,
  type InSyncDisk,
  type LeaderRecord,
  takenBy,
  withGeneration,
} from "./leader-record.ts";
import type { Leadership, TakeoverLog } from "./leadership.ts";
import { readOrigin } from "./origin.ts";
import type { Waiting } from "./outlive.ts";
import type { Repository } from "./repository.ts";
import type { NodeSession, SessionHold } from "./session.ts";
import { checkNode, type LeadershipSettings } from "./settings.ts";
import { takeOver } from "./takeover.ts";

/**
 * Wins a branch: judges the leader record, outlives its session where that is needed, swaps the record to the next
 * epoch, takes over the log.
 *
 *   read the record ─ judge ─ (outlive) ─ hold a session ─ (next generation to disk) ─ swap ─ (make it present)
 *     ▲                                                      │ not swapped, or not known
 *     └──────────────────────────────────────────────────────┘                        ─ take over the log ─ lead
 *
 * 1. The swap is on the very version that was judged: whatever changed since makes it fail, and is judged anew.
 * 2. A swap whose outcome is not known is never assumed. If it turns out to be applied, the record shows a session of
 *    this process, which outlives itself: the branch is taken again, in one epoch more.
 * 3. Any await may be the last: nothing is served before the end, and what the steps leave behind (a session, a
 *    generation, an epoch, fences) is what the next attempt of anybody begins from.
 */
export interface AcquireOptions<Start extends { readonly id: string }> {
  readonly store: ObjectStore;
  readonly repository: Repository;
  readonly branch: BranchId;
  /** For texts. */
  readonly branchName: string;
  readonly runtime: Pick<Runtime, "clock" | "timers" | "random">;
  readonly session: NodeSession;
  /** What `local` needs; or, in words, why this node cannot have it. */
  readonly local: LocalDisk | { readonly refusal: string };
  readonly settings: LeadershipSettings;
  readonly takeoverLog: TakeoverLog<Start>;
  /** Called once for each session that is waited for. */
  readonly onWaiting: (waiting: Waiting) => void;
  readonly signal?: AbortSignal | undefined;
  /** The branch is taken to be ended for ever; left out: to be led. */
  readonly ending?: boolean;
}

export interface LocalDisk {
  /** Of this branch, in a data directory whose lock is held. */
  readonly disk: BranchDisk;
  /**
   * Makes a local log in an empty directory, synced, where this disk joins the set anew: after the branch's log was
   * taken over, before anything is appended. Called again after a crash.
   */
  readonly createLog: (log: { path: string; epoch: Epoch }) => Promise<void>;
  /**
   * Reads the log of a disk that was the member, and whatever else of its opening no leadership is needed for: called
   * before the branch is won. What fails of it is met again when the log is opened.
   */
  readonly prepareLog?: (path: string) => Promise<unknown>;
}

export interface Acquired<Start> {
  readonly leadership: Leadership;
  /** What the log was taken over from: replay begins there. */
  readonly start: Start;
  /**
   * The local log; null in `object`. `recover`: this disk was the member, its tail is acknowledged, and a log that ends
   * before the bucket's is an old copy. `empty`: it was made just now, and goes on from the end of the bucket's.
   */
  readonly localLog: { readonly path: string; readonly tail: "recover" | "empty" } | null;
  /** What a forced takeover may have lost: for the log. */
  readonly warning: string | null;
}

/** Attempts without a wait for another's session in between: each means that somebody else has changed the record. */
const ATTEMPTS_MAX = 50;
const ATTEMPT_PAUSE_MS = 20;

export async function acquireLeadership<Start extends { readonly id: string }>(
  options: AcquireOptions<Start>,
): Promise<Acquired<Start>> {
  checkNode(options.session.node, options.settings.addresses);
  const attempt = new Acquisition(options);
  try {
    return await attempt.run();
  } catch (error) {
    // Nothing is served by it: others need not wait for the term.
    await attempt.giveUp();
    throw error;
  }
}

export const leaderRegister = (
  store: ObjectStore,
  branch: BranchId,
  runtime: Pick<Runtime, "clock" | "timers" | "random">,
): Register<LeaderRecord> => new Register(store, leaderKey(branch), { runtime, decode: decodeLeaderRecord });

/** Ends for ever a branch that nobody has led. False: somebody has, or it has ended before, or that is not known. */
export async function endUnled(
  bucket: { store: ObjectStore; runtime: Pick<Runtime, "clock" | "timers" | "random">; request: RequestOptions },
  branch: BranchId,
  node = "nobody",
): Promise<boolean> {
  const register = leaderRegister(bucket.store, branch, bucket.runtime);
  return (await register.swap(null, endedUnled(node), bucket.request)).kind === "swapped";
}

type Take = Extract<Claim, { kind: "take" }>;

/** At once, both to their end: what follows a failure of one of them does not meet the other at work. */
async function bothOf<A, B>(a: Promise<A>, b: Promise<B>): Promise<[A, B]> {
  const [first, second] = await Promise.allSettled([a, b]);
  if (first.status === "rejected") throw first.reason;
  if (second.status === "rejected") throw second.reason;
  return [first.value, second.value];
}

class Acquisition<Start extends { readonly id: string }> {
  readonly #options: AcquireOptions<Start>;
  readonly #register: Register<LeaderRecord>;
  readonly #request: RequestOptions;
  #hold: SessionHold | null = null;
  /** Of the local log; never rejects. */
  #prepared: Promise<unknown> = Promise.resolve();

  constructor(options: AcquireOptions<Start>) {
    this.#options = options;
    this.#register = leaderRegister(options.store, options.branch, options.runtime);
    this.#request = { timeoutMs: options.settings.requestTimeoutMs, ...(options.signal && { signal: options.signal }) };
  }

  async run(): Promise<Acquired<Start>> {
    const { runtime, signal } = this.#options;
    for (let attempts = 0; attempts < ATTEMPTS_MAX; attempts++) {
      this.#checkSignal();
      const state = await this.#register.read(this.#request);
      const claim = this.#judge(state);
      switch (claim.kind) {
        case "refused":
          throw claim.error;
        case "finishOpening":
          await this.#finishOpening(state!, claim);
          continue;
        case "take": {
          if (claim.outlive !== null) {
            if ((await this.#outlive(claim.outlive, state!)) === "unwanted") {
              attempts = 0;
              continue;
            }
          }
          const acquired = await this.#take(state, claim);
          if (acquired !== null) return acquired;
        }
      }
      await sleep(runtime, ATTEMPT_PAUSE_MS, signal);
    }
    throw new DbError(
      "storeUnavailable",
      `branch ${this.#options.branchName}: its leader record could not be won in ${ATTEMPTS_MAX} attempts`,
    );
  }

  async giveUp(): Promise<void> {
    const hold = this.#hold;
    this.#hold = null;
    await hold?.release("end");
  }

  #judge(state: RegisterState<LeaderRecord> | null): Claim {
    const { settings, session, local, branchName } = this.#options;
    return judge(state?.body ?? null, {
      durability: settings.durability,
      durabilityDefault: settings.durabilityDefault,
      changeDurability: settings.changeDurability,
      force: settings.forceTakeover,
      ending: this.#options.ending ?? false,
      branchName,
      localRefusal: "refusal" in local ? local.refusal : null,
      disk: "refusal" in local ? null : local.disk.state,
      ownSession: session.id,
    });
  }

  #outlive(session: string, judged: RegisterState<LeaderRecord>): Promise<"dead" | "unwanted"> {
    const { onWaiting, signal } = this.#options;
    const wanted = async () => (await this.#register.read(this.#request))?.counter === judged.counter;
    return this.#options.session.outlive(session, { onWaiting, signal, wanted });
  }

  async #finishOpening(
    state: RegisterState<LeaderRecord>,
    claim: Extract<Claim, { kind: "finishOpening" }>,
  ): Promise<void> {
    if (!claim.swapped) {
      const body = withGeneration(state.body, claim.disk, claim.generation);
      const outcome = await this.#register.swap(state, body, this.#request);
      if (outcome.kind !== "swapped") return;
    }
    await this.#localDisk().disk.finish();
  }

  /** Null: the record was not won, or was lost again; judge anew. */
  async #take(state: RegisterState<LeaderRecord> | null, claim: Take): Promise<Acquired<Start> | null> {
    const { session, settings, takeoverLog } = this.#options;
    takeoverLog.readAhead?.();
    if (claim.disk === "keep") this.#prepareLog();
    const firstEpoch = state === null ? await this.#firstEpoch() : epoch(state.body.epoch + 1);
    const [hold, inSync] = await bothOf(this.#held(), this.#openDisk(claim.disk));
    const record = takenBy(
      state?.body ?? null,
      {
        session: hold.session,
        node: session.node,
        addresses: settings.addresses,
        durability: claim.durability,
        inSync,
      },
      firstEpoch,
    );
    const outcome = await this.#register.swap(state, record, this.#request);
    if (outcome.kind !== "swapped") return null;
    try {
      // An opening that is not finished when it is fenced is finished by the next start, as after any crash.
      const finished = claim.disk === "none" ? Promise.resolve() : this.#localDisk().disk.finish();
      const [start] = await bothOf<Start, unknown>(this.#takeOverLog(record.epoch, claim.fence, hold), finished);
      const localLog = await this.#openLocalLog(claim.disk, record.epoch);
      const leadership = this.#leadership(record, hold);
      this.#hold = null;
      return { leadership, start, localLog, warning: claim.warning };
    } catch (error) {
      // Another has taken over meanwhile, or has killed the session: that is judged anew.
      if (isDbError(error, "leadershipLost")) return null;
      throw error;
    }
  }

  /** One hold serves all attempts, until its session is lost. */
  async #held(): Promise<SessionHold> {
    const { session, branch, onWaiting, signal } = this.#options;
    if (this.#hold !== null && this.#hold.lost !== null) await this.giveUp();
    this.#hold ??= await session.hold(branch, { onWaiting, signal });
    return this.#hold;
  }

  async #firstEpoch(): Promise<Epoch> {
    const { store, branch } = this.#options;
    const origin = await readOrigin(store, branch, this.#request);
    return epoch(origin.position.highestEpoch + 1);
  }

  async #openDisk(how: Take["disk"]): Promise<InSyncDisk[]> {
    if (how === "none") return [];
    const { disk } = this.#localDisk();
    const { disk: id, next } = await (how === "join" ? disk.join() : disk.begin());
    return [{ disk: id, generation: next! }];
  }

  #prepareLog(): void {
    const { disk, prepareLog } = this.#localDisk();
    this.#prepared = prepareLog?.(disk.logPath).catch(() => {}) ?? Promise.resolve();
  }

  #takeOverLog(won: Epoch, fence: boolean, hold: SessionHold): Promise<Start> {
    const { takeoverLog, repository, signal } = this.#options;
    const canceled = () => (signal?.aborted ? new DbError("canceled", "taking over was given up by the caller") : null);
    return takeOver({
      log: takeoverLog,
      epoch: won,
      window: repository.window,
      fence,
      stopped: () => hold.lost ?? canceled(),
    });
  }

  async #openLocalLog(how: Take["disk"], won: Epoch): Promise<Acquired<Start>["localLog"]> {
    if (how === "none") return null;
    const { disk, createLog } = this.#localDisk();
    if (how === "keep") return { path: disk.logPath, tail: "recover" };
    // An earlier attempt may have been about to keep it.
    await this.#prepared;
    await disk.emptyLog();
    await createLog({ path: disk.logPath, epoch: won });
    await disk.establish();
    return { path: disk.logPath, tail: "empty" };
  }

  #leadership(record: LeaderRecord, hold: SessionHold): Leadership {
    const { branch, runtime, settings } = this.#options;
    return new HeldLeadership({
      branch,
      epoch: record.epoch,
      durability: record.durability,
      readProof: record.durability === "local" ? "disk" : settings.readProof,
      hold,
      register: this.#register,
      runtime,
      requestTimeoutMs: settings.requestTimeoutMs,
      proofTimeoutMs: settings.proofTimeoutMs,
    });
  }

  #localDisk(): LocalDisk {
    const { local } = this.#options;
    if ("refusal" in local) throw new DbError("invalidArgument", local.refusal);
    return local;
  }

  #checkSignal(): void {
    if (this.#options.signal?.aborted) throw new DbError("canceled", "acquiring leadership was given up by the caller");
  }
}
