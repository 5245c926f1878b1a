import { ClosedByBug, DbError, isDbError, messageOf } from "../../base/errors.ts";
import type { BranchId } from "../../base/ids.ts";
import type { Waiting } from "../../leadership/outlive.ts";
import type { Timer } from "../../runtime/runtime.ts";
import type { BranchDatabase } from "../database.ts";
import type { Database } from "../engine.ts";
import type { BranchClaims } from "./branch-claims.ts";
import { type BranchSurroundings, openBranch } from "./open-branch.ts";
import type { OpenBranch } from "./open-branch-handle.ts";

/** What an attempt to open that failed is answered with, until the next one succeeds. */
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5000;
/** How often the name of a branch that is being replaced is looked up. */
const NAME_MS_MIN = 100;
const NAME_MS_MAX = 5000;

type State = { kind: "opening"; failure: DbError | null } | { kind: "open"; branch: OpenBranch } | { kind: "closed" };

export interface ServedPort {
  readonly claims: BranchClaims;
  /** What the name points to now. */
  readonly resolve: () => Promise<BranchId>;
  /** Has it looked up what the name points to, and followed. */
  readonly lookAgain: () => void;
}

/**
 * A branch that this process serves: whoever asks gets the database of the present leadership, or a clear `noLeader`.
 * When that has ended (deposed, disk or log failed) the instance is discarded whole and the branch opened anew; nothing
 * is undone in place.
 *
 *   opening ⇄ open ─► closed
 */
export class ServedBranch {
  readonly name: string;
  #surroundings: BranchSurroundings;
  #branch: { id: BranchId; name: string };
  readonly #port: ServedPort;
  readonly #closing = new AbortController();
  /** Gives up the opening that is under way. */
  #opening = new AbortController();
  /** What its name points to was looked up just now. */
  #isResolved = true;
  #state: State = { kind: "opening", failure: null };
  #work: Promise<void>;
  #retryMs = RETRY_MS_MIN;
  #openedMs = 0;
  #timer: Timer | null = null;
  #closed: Promise<void> | null = null;
  #following: Promise<void> = Promise.resolve();
  #tried = false;
  #firstTry: { resolve: () => void; promise: Promise<void> };
  readonly #firstAnswer = Promise.withResolvers<void>();

  constructor(surroundings: BranchSurroundings, branch: { id: BranchId; name: string }, port: ServedPort) {
    this.name = branch.name;
    this.#surroundings = surroundings;
    this.#branch = branch;
    this.#port = port;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#firstTry = { promise, resolve };
    this.#work = this.#open();
  }

  /**
   * The database of the present leadership; throws `noLeader` (saying why) while there is none, `stopped` once closed.
   */
  get database(): Database {
    const { failure } = this;
    if (this.#state.kind === "open" && failure === null) return this.#state.branch.database;
    const isSaid = failure?.kind === "stopped" || failure?.kind === "frozen";
    throw isSaid ? failure : new DbError("noLeader", failure?.message);
  }

  /** Null while it is open, else why not. */
  get failure(): DbError | null {
    const state = this.#state;
    // By its other name it is served.
    if (state.kind === "open")
      return state.branch.database.settings.replaced?.name === this.name ? frozen(this.name) : null;
    return state.kind === "closed"
      ? new DbError("stopped")
      : (state.failure ?? new DbError("noLeader", "being opened"));
  }

  get id(): BranchId {
    return this.#branch.id;
  }

  /** It was open, ended as it was told to, and will be open again at once. */
  get isReopening(): boolean {
    return this.#state.kind === "opening" && this.#state.failure?.kind === "frozen";
  }

  /** Of the branch itself, whoever may call it; null while it is not open. */
  get openState(): Pick<BranchDatabase, "committed" | "settings"> | null {
    return this.#state.kind === "open" ? this.#state.branch.database : null;
  }

  /** The leadership under which it is open now, to whoever changes it as a whole. Throws as `database` does. */
  get leading(): OpenBranch {
    if (this.#state.kind === "open") return this.#state.branch;
    const { failure } = this;
    throw failure?.kind === "stopped" ? failure : new DbError("noLeader", failure?.message);
  }

  /** Resolves when it is first known what calls are to be answered: it is open, or there is a reason why not. */
  get answers(): Promise<void> {
    return this.#firstAnswer.promise;
  }

  /**
   * Resolves when it has been opened for the first time. Rejects when what stands against it does not go away by itself
   * (another node's disk in `local`, a durability that was asked for and is not the branch's, corruption): the process
   * should say so and end.
   */
  async opened(): Promise<void> {
    await this.#firstTry.promise;
    const { failure } = this;
    // One that is being replaced is open, for whoever goes on with that.
    if (failure !== null && failure.kind !== "frozen") throw failure;
  }

  get memtableBytes(): number {
    return this.#state.kind === "open" ? this.#state.branch.memtableBytes : 0;
  }

  /** What it fails of is told by the branch itself. */
  relieve(): void {
    if (this.#state.kind === "open") this.#state.branch.relieve();
  }

  /** Writes a checkpoint of all that has happened before the call; for tools and tests. */
  async checkpoint(): Promise<void> {
    if (this.#state.kind === "open") await this.#state.branch.checkpoint();
  }

  async #open(): Promise<void> {
    const { notices } = this.#surroundings;
    try {
      let ended: DbError | null = null;
      let branch: OpenBranch | null = null;
      const onEnd = (error: DbError) => {
        ended = error;
        if (branch !== null) this.#ended(branch, error);
      };
      this.#opening = new AbortController();
      const { signal } = this.#opening;
      if (this.#closing.signal.aborted) this.#opening.abort();
      // Another process may have given the name to another branch since.
      if (!this.#isResolved) this.#leaveFor(await this.#port.resolve());
      this.#isResolved = false;
      await this.#port.claims.take(this.#branch.id, this);
      let waited = false;
      const onWaiting = (waiting: Waiting) => {
        waited = true;
        this.#waiting(waiting);
      };
      const opened = await openBranch(this.#surroundings, this.#branch, { signal, onWaiting, onEnd });
      if (waited) await this.#checkName(opened, signal);
      branch = opened;
      this.#openedMs = this.#surroundings.runtime.clock.monotonicMs();
      this.#state = { kind: "open", branch };
      this.#surroundings = withoutOrders(this.#surroundings);
      const { epoch, committed, identity } = branch.database;
      notices.info("leading", { branch: identity.branchName, epoch, revision: committed, node: identity.name });
      this.#tried = true;
      this.#firstTry.resolve();
      this.#firstAnswer.resolve();
      if (this.failure?.kind === "frozen") this.#lookForName(NAME_MS_MIN);
      if (ended !== null) this.#ended(branch, ended);
    } catch (error) {
      this.#failed(error);
    }
  }

  /**
   * Whoever led the branch while this node stood by may have given its name away, or deleted it, and then it is
   * nobody's by that name.
   */
  async #checkName(branch: OpenBranch, signal: AbortSignal): Promise<void> {
    try {
      if ((await this.#port.resolve()) === this.#branch.id) return;
    } catch (error) {
      await branch.abandon(new DbError("stopped"));
      throw error;
    }
    // Cleanly: others wait for it.
    await this.#giveUp({ kind: "open", branch }, signal);
    throw new DbError("noLeader", `branch ${this.name} is another one since`);
  }

  /** Another node leads: this one stands by. */
  #waiting({ node, session, waitMs }: Waiting): void {
    const until = `until it stops, or its session is not renewed for ${(waitMs / 1000).toFixed(1)} s`;
    const { notices } = this.#surroundings;
    notices.info(`another node leads, standing by ${until}`, { branch: this.name, node, session });
    if (this.#state.kind !== "opening") return;
    const failure = new DbError("noLeader", `branch ${this.name}: node ${node} leads, standing by ${until}`);
    this.#state = { kind: "opening", failure };
    this.#firstAnswer.resolve();
  }

  #failed(error: unknown): void {
    this.#firstAnswer.resolve();
    if (this.#closing.signal.aborted) return;
    // Whoever gave it up opens another one.
    if (this.#opening.signal.aborted && isDbError(error)) return;
    if (!isDbError(error)) {
      // A bug while opening: its owner is the process, which must not go on half open.
      this.#state = { kind: "opening", failure: new DbError("noLeader", messageOf(error), { cause: error }) };
      this.#firstTry.resolve();
      throw error;
    }
    this.#state = { kind: "opening", failure: error };
    const retryMs = this.#retryMs;
    this.#again();
    if (isLasting(error) && !this.#tried) {
      // Who waits for the first try is told, and says it.
      this.#tried = true;
      this.#firstTry.resolve();
      return;
    }
    const { notices } = this.#surroundings;
    notices.warn("the branch could not be opened, it will be tried again", {
      branch: this.name,
      why: error.message,
      retryMs,
    });
  }

  #ended(branch: OpenBranch, error: DbError): void {
    // One that is given up ends, too.
    if (this.#state.kind !== "open" || this.#state.branch !== branch || this.#closing.signal.aborted) return;
    const { notices } = this.#surroundings;
    const facts = { branch: this.name, why: error.message };
    if (error.kind === "frozen") notices.info("the branch is opened anew", facts);
    else if (error instanceof ClosedByBug && notices.bug !== undefined) notices.bug(error.cause, { branch: this.name });
    else notices.error("the branch's leadership has ended, it is opened anew", facts);
    this.#state = { kind: "opening", failure: error };
    // One that ends soon after each opening is opened less and less often: every opening writes fences.
    const openMs = this.#surroundings.runtime.clock.monotonicMs() - this.#openedMs;
    if (openMs >= RETRY_MS_MAX) this.#retryMs = RETRY_MS_MIN;
    this.#work = branch.abandon(error).then(
      () => this.#again(),
      (failure: unknown) => this.#failed(failure),
    );
  }

  /**
   * Serves what the name points to from now on, where that is another branch than before: the old one is given up,
   * cleanly as far as the store allows until `signal` fires.
   */
  follow(id: BranchId, signal: AbortSignal): Promise<void> {
    // One after the other: several may have seen that the name has moved.
    this.#following = this.#following.then(() => this.#follow(id, signal));
    return this.#following;
  }

  async #follow(id: BranchId, signal: AbortSignal): Promise<void> {
    if (id === this.#branch.id || this.#closed !== null) return;
    this.#timer?.cancel();
    // It may stand by for as long as another node leads the old one.
    if (this.#state.kind === "opening") this.#opening.abort();
    await this.#work;
    this.#timer?.cancel();
    if (this.#closing.signal.aborted) return;
    const last = this.#state;
    this.#state = { kind: "opening", failure: frozen(this.name) };
    this.#retryMs = RETRY_MS_MIN;
    const leaving = this.#giveUp(last, signal).then(() => this.#leaveFor(id));
    // Not waited for: another node may lead the new one, for as long as it likes.
    this.#work = leaving.then(() => this.#open());
    await leaving;
  }

  /** Nothing of the old one is open any more. */
  #leaveFor(id: BranchId): void {
    if (id === this.#branch.id) return;
    this.#port.claims.release(this.#branch.id, this);
    this.#branch = { id, name: this.name };
    this.#isResolved = true;
  }

  /** What was not uploaded in time is found by its next leader, as after a crash. */
  async #giveUp(last: State, signal: AbortSignal): Promise<void> {
    if (last.kind !== "open") return;
    await last.branch.release(signal).catch((error: unknown) => {
      if (!isDbError(error)) throw error;
      const { notices } = this.#surroundings;
      notices.warn("a branch was not given up cleanly", { branch: this.name, why: messageOf(error) });
    });
  }

  /**
   * Amid a promotion: whoever swaps the names may be another process. Where this one does, `follow` is quicker; once
   * the branch is not frozen any more, or not open, nobody looks.
   */
  #lookForName(afterMs: number): void {
    this.#timer = this.#surroundings.runtime.timers.set(
      afterMs,
      () => {
        if (this.#state.kind !== "open" || this.failure?.kind !== "frozen" || this.#closing.signal.aborted) return;
        this.#port.lookAgain();
        this.#lookForName(Math.min(2 * afterMs, NAME_MS_MAX));
      },
      { background: true },
    );
  }

  #again(): void {
    if (this.#closing.signal.aborted) return;
    this.#timer = this.#surroundings.runtime.timers.set(this.#retryMs, () => {
      this.#work = this.#open();
    });
    this.#retryMs = Math.min(RETRY_MS_MAX, this.#retryMs * 2);
  }

  /** Gives it up, cleanly if it is open. Rejects when the store did not take everything before `signal` fired. */
  close(signal: AbortSignal): Promise<void> {
    this.#closed ??= this.#close(signal);
    return this.#closed;
  }

  async #close(signal: AbortSignal): Promise<void> {
    // From here on nothing is opened any more, and a branch that ends is not abandoned but released, which fails.
    this.#closing.abort();
    this.#opening.abort();
    this.#timer?.cancel();
    await this.#following;
    await this.#work;
    const last = this.#state;
    this.#state = { kind: "closed" };
    this.#firstTry.resolve();
    this.#firstAnswer.resolve();
    try {
      if (last.kind === "open") await last.branch.release(signal);
    } finally {
      this.#port.claims.release(this.#branch.id, this);
    }
  }
}

const frozen = (name: string): DbError =>
  new DbError("frozen", `branch ${name} is being replaced by another one: connect again`);

/** What an operator ordered for once is carried out: a branch lost later is not taken back by force. */
function withoutOrders(surroundings: BranchSurroundings): BranchSurroundings {
  const { settings } = surroundings;
  const leadership = { ...settings.leadership, forceTakeover: false, changeDurability: false };
  return { ...surroundings, settings: { ...settings, leadership } };
}

/** What does not go away by waiting. */
function isLasting(error: DbError): boolean {
  switch (error.kind) {
    case "corrupt":
    case "storeRefused":
    case "invalidArgument":
    case "diskFailed":
    case "notFound":
    case "unimplemented":
      return true;
    default:
      return false;
  }
}
