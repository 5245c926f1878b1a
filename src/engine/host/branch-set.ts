import { assert } from "../../base/assert.ts";
import { DbError, isDbError, messageOf } from "../../base/errors.ts";
import type { BranchId } from "../../base/ids.ts";
import type { MaybePromise } from "../../base/maybe-promise.ts";
import { nearNames } from "../../base/near-names.ts";
import { listNames, resolveBranch } from "../../leadership/branch-name.ts";
import { isBranchName } from "../../objects/keys.ts";
import { sleep, within } from "../../objects/retry.ts";
import type { Timer } from "../../runtime/runtime.ts";
import type { Database } from "../engine.ts";
import { BranchClaims, type Claimant } from "./branch-claims.ts";
import { MemoryShare } from "./memory-share.ts";
import type { BranchSurroundings } from "./open-branch.ts";
import { ServedBranch } from "./served-branch.ts";

export interface BranchSetSettings {
  /** A branch that nobody has used for so long, and that keeps no lease and no watch, is closed. */
  readonly idleMs: number;
  /** More are not held open at once: the one longest unused makes room, else calls are refused. */
  readonly openMax: number;
  /** What a branch that is deleted keeps its data for, so that it can be brought back. */
  readonly graceMs: number;
  /** Whoever cuts a branch and has not named it so long after is taken for crashed. Carries no safety. */
  readonly cutMsMax: number;
  /** What the branches may have in memory together that no table has, before they make tables early. */
  readonly memtableBytes: number;
}

export const defaultBranchSetSettings: BranchSetSettings = {
  idleMs: 5 * 60_000,
  openMax: 100,
  graceMs: 3_600_000,
  cutMsMax: 3_600_000,
  memtableBytes: 192 << 20,
};

/** Names asked for in vain are not asked for again so soon: each costs requests. */
const UNKNOWN_MS = 1000;
const UNKNOWN_MAX = 1000;
/** Branches being looked up and opened at once; more calls for closed branches are refused. */
const OPENING_MAX = 16;
const LOOK_MS_MAX = 10_000;
/** How often the name of an open branch is looked up: another process may have deleted it, or given it away. */
const NAME_MS = 60_000;
/** How often it is looked at whether a branch is open again. */
const REOPENED_MS = 20;
/** What an idle branch may take for its last uploads; it is tried again at the next look. */
const CLOSE_MS = 30_000;

interface Held {
  readonly served: ServedBranch;
  /** Open as long as the process serves, used or not. */
  pinned: boolean;
  usedMs: number;
  namedMs: number;
  closing: Promise<void> | null;
}

/**
 * The branches that a process has open. A pinned one is opened at once and stays; any other is opened by the first call
 * for it, and closed, cleanly, when it has been idle: no call, no snapshot or merge, no live lease, no watch.
 *
 *   (unknown) ─ first call ─► looked up ─► opening ─► open ─ idle, or room is needed ─► closing ─► (unknown)
 *
 * 1. A branch is held once at a time: who calls for one that is closing waits until it is closed.
 * 2. The name decides, at each opening anew, and is looked up again while the branch is open: at once where this
 *    process has changed it, within a minute where another one has.
 */
export class BranchSet {
  readonly #surroundings: BranchSurroundings;
  readonly #settings: BranchSetSettings;
  readonly #held = new Map<string, Held>();
  readonly #claims: BranchClaims;
  readonly #lookups = new Map<string, Promise<Held>>();
  readonly #unknown = new Map<string, { error: DbError; untilMs: number }>();
  readonly #memory: MemoryShare;
  #timer: Timer | null = null;
  #closed = false;

  constructor(surroundings: BranchSurroundings, settings: BranchSetSettings) {
    this.#surroundings = surroundings;
    this.#settings = settings;
    this.#claims = new BranchClaims(surroundings.runtime, (holder, by) => this.#makeWay(holder, by));
    this.#memory = new MemoryShare({
      timers: surroundings.runtime.timers,
      users: () => this.open,
      bytesMax: settings.memtableBytes,
    });
    this.#look();
  }

  get open(): readonly ServedBranch[] {
    return [...this.#held.values()].map(({ served }) => served);
  }

  /** Serves a branch from now on, used or not. Throws `notFound`. */
  async pin(name: string): Promise<ServedBranch> {
    const held = await this.#hold(name);
    held.pinned = true;
    return held.served;
  }

  async leave(name: string): Promise<void> {
    const held = this.#held.get(name);
    if (held !== undefined) await this.#close(name, held, "it is not used any more");
  }

  /**
   * The database of a branch, opened if need be. Throws, or rejects with, `notFound` (naming what is close), `noLeader`
   * (why it is not open), `tooManyRequests`.
   */
  find(name: string): MaybePromise<Database> {
    const held = this.#held.get(name);
    if (held === undefined || held.closing !== null) return this.#open(name);
    held.usedMs = this.#nowMs();
    return held.served.failure === null ? held.served.database : this.#whenOpen(held);
  }

  /** The branch itself, opened if need be, for what is done to it as a whole. Rejects as `find`. */
  async lead(name: string): Promise<ServedBranch> {
    const { runtime, settings } = this.#surroundings;
    const held = await this.#hold(name);
    held.usedMs = this.#nowMs();
    await within(runtime, { timeoutMs: settings.requestTimeoutMs }, held.served.answers);
    // It may just be being opened anew, after a change such as this caller's.
    const untilMs = this.#nowMs() + settings.requestTimeoutMs;
    while (held.served.openState === null && held.served.isReopening && this.#nowMs() < untilMs) {
      await sleep(runtime, REOPENED_MS);
    }
    // Says why not.
    void held.served.leading;
    return held.served;
  }

  /** The same, by whatever name it is open here. */
  async leadAny(name: string): Promise<ServedBranch> {
    const held = this.#held.get(name);
    if (held === undefined || held.closing !== null || held.served.openState === null) {
      const id = await this.#resolve(name).catch((error: unknown) => this.#explain(name, error));
      const other = this.open.find((each) => each.id === id && each.openState !== null);
      if (other !== undefined) return other;
    }
    return this.lead(name);
  }

  /** What the store says of the name has changed: whoever serves it here serves what it points to now, or nobody. */
  async renamed(name: string): Promise<void> {
    this.#unknown.delete(name);
    await this.#lookups.get(name)?.catch(() => {});
    const held = this.#held.get(name);
    if (held !== undefined && held.closing === null) await this.#settle(name, held);
  }

  /** What fails now is tried again by whoever asked for it. */
  #lookAgain(name: string): void {
    const { notices } = this.#surroundings;
    this.renamed(name).catch((error: unknown) => {
      if (!isDbError(error)) throw error;
      notices.warn("what a name points to could not be looked up", { branch: name, why: error.message });
    });
  }

  async #settle(name: string, held: Held): Promise<void> {
    const id = await this.#resolve(name).catch((error: unknown) => {
      if (isDbError(error, "notFound")) return null;
      throw error;
    });
    if (id === null) return this.#close(name, held, "its name is gone");
    await held.served.follow(id, this.#timeLimit(CLOSE_MS));
  }

  async #resolve(name: string): Promise<BranchId> {
    const { store, runtime, settings } = this.#surroundings;
    return (await resolveBranch(store, name, runtime, { timeoutMs: settings.requestTimeoutMs })).branch;
  }

  async #open(name: string): Promise<Database> {
    return this.#whenOpen(await this.#hold(name));
  }

  async #whenOpen(held: Held): Promise<Database> {
    const { runtime, settings } = this.#surroundings;
    // The first answer, good or bad; what goes on trying behind it is not waited for.
    await within(runtime, { timeoutMs: settings.requestTimeoutMs }, held.served.answers);
    return held.served.database;
  }

  #hold(name: string): MaybePromise<Held> {
    this.#checkOpen();
    const held = this.#held.get(name);
    if (held !== undefined && held.closing === null) return held;
    const there = this.#lookups.get(name);
    if (there !== undefined) return there;
    const unknown = this.#unknown.get(name);
    if (unknown !== undefined && unknown.untilMs > this.#nowMs()) throw unknown.error;
    if (this.#lookups.size >= OPENING_MAX) throw new DbError("tooManyRequests");
    const lookup = this.#lookUp(name, held?.closing ?? null).finally(() => this.#lookups.delete(name));
    this.#lookups.set(name, lookup);
    return lookup;
  }

  async #lookUp(name: string, closing: Promise<void> | null): Promise<Held> {
    await closing;
    const id = await this.#resolve(name).catch((error: unknown) => this.#explain(name, error));
    await this.#memory.room();
    // Bounded by the branches that there are: each turn closes one, or throws. Others may come in meanwhile.
    while (this.#held.size >= this.#settings.openMax) await this.#makeRoom();
    this.#checkOpen();
    assert(!this.#held.has(name), "a branch is held once");
    const port = {
      claims: this.#claims,
      resolve: () => this.#resolve(name),
      lookAgain: () => this.#lookAgain(name),
    };
    const served = new ServedBranch(this.#surroundings, { id, name }, port);
    const nowMs = this.#nowMs();
    const held: Held = { served, pinned: false, usedMs: nowMs, namedMs: nowMs, closing: null };
    this.#held.set(name, held);
    return held;
  }

  /** A name may have gone, or point elsewhere, by now; else a pinned name comes first. */
  async #makeWay(holder: Claimant, by: Claimant): Promise<void> {
    const held = this.#held.get(holder.name);
    if (held === undefined || held.served !== holder) return;
    await (held.closing ?? this.#settle(holder.name, held));
    const asker = this.#held.get(by.name);
    if (this.#held.get(holder.name) !== held || this.#claims.holderOf(held.served.id) !== holder) return;
    if (asker?.served === by && asker.pinned && !held.pinned) {
      await this.#close(holder.name, held, `it is ${by.name}, too, which is pinned`);
    }
  }

  /** Nobody in this process has the branch open while `work` goes on. */
  async exclusively<T>(id: BranchId, work: () => Promise<T>): Promise<T> {
    const claimant = { name: "one that is being deleted" };
    await this.#claims.take(id, claimant);
    try {
      return await work();
    } finally {
      this.#claims.release(id, claimant);
    }
  }

  async #explain(name: string, error: unknown): Promise<never> {
    if (!isDbError(error, "notFound")) throw error;
    const { store, settings } = this.#surroundings;
    const names = isBranchName(name) ? await listNames(store, { timeoutMs: settings.requestTimeoutMs }) : [];
    const near = nearNames(
      name,
      names.filter((each) => each !== name),
    );
    const hint = near.length === 0 ? "" : `; did you mean ${near.join(" or ")}?`;
    const explained = new DbError("notFound", `${error.message}${hint}`, { cause: error });
    if (this.#unknown.size >= UNKNOWN_MAX) this.#unknown.clear();
    this.#unknown.set(name, { error: explained, untilMs: this.#nowMs() + UNKNOWN_MS });
    throw explained;
  }

  /** Closes the branch longest unused. Throws where all are in use. */
  async #makeRoom(): Promise<void> {
    // A call that is under way began no longer ago than a request may take.
    const unusedSinceMs = this.#nowMs() - this.#surroundings.settings.engine.requestTimeoutMs;
    const [name, oldest] =
      [...this.#held]
        .filter(([, held]) => held.usedMs <= unusedSinceMs && isIdle(held))
        .sort(([, a], [, b]) => a.usedMs - b.usedMs)[0] ?? [];
    if (name === undefined || oldest === undefined) {
      throw new DbError("tooManyRequests", `${this.#held.size} branches are open and in use, as many as there may be`);
    }
    await this.#close(name, oldest);
  }

  #look(): void {
    const { timers } = this.#surroundings.runtime;
    const everyMs = Math.min(LOOK_MS_MAX, this.#settings.idleMs / 2);
    this.#timer = timers.set(everyMs, () => this.#look(), { background: true });
    const nowMs = this.#nowMs();
    for (const [name, held] of this.#held) {
      if (held.usedMs <= nowMs - this.#settings.idleMs && isIdle(held)) void this.#close(name, held);
      else if (held.namedMs <= nowMs - NAME_MS) {
        held.namedMs = nowMs;
        this.#lookAgain(name);
      }
    }
  }

  /** Never rejects: what was not uploaded in time is found by the next opening, as after a crash. */
  #close(name: string, held: Held, why = "it was idle"): Promise<void> {
    const { notices } = this.#surroundings;
    held.closing ??= held.served
      .close(this.#timeLimit(CLOSE_MS))
      .then(
        () => notices.info("closed", { branch: name, why }),
        (error: unknown) => notices.warn("a branch was not closed cleanly", { branch: name, why: messageOf(error) }),
      )
      .finally(() => {
        if (this.#held.get(name) === held) this.#held.delete(name);
      });
    return held.closing;
  }

  #timeLimit(ms: number): AbortSignal {
    const ended = new AbortController();
    this.#surroundings.runtime.timers.set(ms, () => ended.abort(), { background: true });
    return ended.signal;
  }

  #nowMs(): number {
    return this.#surroundings.runtime.clock.monotonicMs();
  }

  #checkOpen(): void {
    if (this.#closed) throw new DbError("stopped");
  }

  /** Gives up all of them, cleanly as far as the store allows until `signal` fires. Rejects with the first failure. */
  async close(signal: AbortSignal): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#memory.close();
    const all = [...this.#held.values()];
    const results = await Promise.allSettled(all.map(({ served, closing }) => closing ?? served.close(signal)));
    this.#held.clear();
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }
}

/** Nothing would be lost or cut off by closing it. */
function isIdle(held: Held): boolean {
  if (held.pinned || held.closing !== null) return false;
  if (held.served.failure !== null) return true;
  const { database } = held.served.leading;
  if (database.callsPending > 0 || database.maintenance.busy) return false;
  const { leases, watchStreams } = database.status();
  return leases === 0 && watchStreams === 0;
}
