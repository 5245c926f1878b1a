import { assert } from "../base/assert.ts";
import { DbError, isDbError } from "../base/errors.ts";
import type { BranchId, ObjectKey } from "../base/ids.ts";
import { prefixes, sessionKey } from "../objects/keys.ts";
import { LIST_LIMIT_MAX, type ObjectStore } from "../objects/objects.ts";
import { Register } from "../objects/register.ts";
import { sleep } from "../objects/retry.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { Heartbeat } from "./heartbeat.ts";
import { SESSION_NUMBER_MAX, sessionId, sessionIdPrefix, sessionNumber } from "./identity.ts";
import { outlive, type Waiting } from "./outlive.ts";
import { type DirectoryIdentity, decodeSession, type SessionBody } from "./session-object.ts";
import { checkNode, checkSessionSettings, type SessionSettings } from "./settings.ts";
import { instant, noTerm, termAfter } from "./term.ts";

/**
 * The session of a running node: made when the first branch is to be led, ended when the last one is given up.
 *
 * 1. A session's id is made of the node's name and a number. The next number is used only once the session of the last
 *    one is dead: two live sessions of one name cannot be, the second waits.
 * 2. What was held by a session that was lost is lost: its branches must be won anew, by a new session.
 * 3. Who gives up the last branch has stopped serving it; only then is the session ended.
 */
export interface NodeSessionOptions {
  readonly store: ObjectStore;
  readonly repositoryId: string;
  readonly runtime: Pick<Runtime, "clock" | "timers" | "random">;
  readonly node: string;
  /** Of the data directory whose lock this process holds; null: none, so its restart waits for the term. */
  readonly directory: DirectoryIdentity | null;
  readonly settings: SessionSettings;
}

/** A branch's share in the session. */
export interface SessionHold {
  readonly session: string;
  readonly lost: DbError | null;
  /** Null while the term proves reads. */
  unprovenBecause(): DbError | null;
  onLost: (error: DbError) => void;
  onRegained: () => void;
  /** The branch is given up; the last one ends the session (`end`), or leaves it as a crash would (`abandon`). */
  release(how: "end" | "abandon"): Promise<void>;
}

export interface HoldOptions {
  readonly onWaiting: (waiting: Waiting) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Sessions that others of the same name made meanwhile. */
const ATTEMPTS_MAX = 100;
const PAGES_MAX = 10_000;
const ATTEMPT_PAUSE_MS = 50;

export class NodeSession {
  readonly #options: NodeSessionOptions;
  /** Tells this run's sessions from those of any other process. */
  readonly #nonce: string;
  readonly #holds = new Map<BranchId, Hold>();
  #heartbeat: Heartbeat | null = null;
  /** Of old sessions: nobody's start waits for it; the end of this session does. */
  #removal: Promise<void> = Promise.resolve();
  /** Ids of this run's sessions: the present one, and the last ones before it. */
  readonly #made = new Set<string>();
  /** Making and ending go one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Where to begin listing this node's sessions. */
  #lastNumber = 0;

  constructor(options: NodeSessionOptions) {
    checkSessionSettings(options.settings);
    checkNode(options.node, []);
    this.#options = options;
    this.#nonce = options.runtime.random.bytes(16).toString("hex");
  }

  get node(): string {
    return this.#options.node;
  }

  /** The live session's id; null if there is none. */
  get id(): string | null {
    return this.#heartbeat !== null && this.#heartbeat.lost === null ? this.#heartbeat.id : null;
  }

  /** Holds the session for a branch; makes one first where there is none. At most one hold for each branch. */
  hold(branch: BranchId, options: HoldOptions): Promise<SessionHold> {
    return this.#inTurn(async () => {
      assert(!this.#holds.has(branch), `branch ${branch} is held once by a process`);
      if (options.signal?.aborted) throw new DbError("canceled", "making a session was given up by the caller");
      this.#heartbeat = this.id === null ? await this.#make(options) : this.#heartbeat;
      const hold = new Hold(this.#heartbeat!, (how) => this.#release(branch, hold, how));
      this.#holds.set(branch, hold);
      return hold;
    });
  }

  /**
   * Waits until another session is dead, and kills it where that is due. One that cannot be read tells nothing of how
   * long its node may serve, so it is left to who can tell; but for one of this very run, which serves nothing by it.
   */
  async outlive(
    session: string,
    options: HoldOptions & { wanted: () => Promise<boolean> },
  ): Promise<"dead" | "unwanted"> {
    assert(session !== this.id, "a node does not outlive its own live session");
    const { runtime, settings, node, directory } = this.#options;
    const register = this.#register(sessionKey(session));
    try {
      return await outlive({ session, register, runtime, settings, node, nonce: this.#nonce, directory, ...options });
    } catch (error) {
      if (!isDbError(error, "corrupt")) throw error;
      if (this.#made.has(session)) return "dead";
      const advice = "once the node that made it is stopped for certain, delete it: a missing session counts as over";
      throw new DbError("corrupt", `${error.message}; ${advice}`, { cause: error });
    }
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(run);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #make(options: HoldOptions): Promise<Heartbeat> {
    const { settings, runtime, node, directory, repositoryId } = this.#options;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const numbers = await this.#numbers(options.signal);
      const last = numbers.at(-1) ?? 0;
      if (last >= SESSION_NUMBER_MAX) throw new DbError("storeRefused", `node ${node} has used up its session numbers`);
      if (last > 0) await this.outlive(sessionId(repositoryId, node, last), { ...options, wanted: async () => true });
      const id = sessionId(repositoryId, node, last + 1);
      const { termMs } = settings.alone;
      const sentAt = instant(runtime.clock);
      // Decoded before it is written: a session that nobody can read could never be outlived.
      const body = decodeSession({
        node,
        number: last + 1,
        nonce: this.#nonce,
        state: "live",
        endedBy: null,
        termMs,
        marginMs: settings.marginMs,
        challenger: null,
        wallMs: sentAt.wallMs,
        directory,
      } satisfies SessionBody);
      const register = this.#register(sessionKey(id));
      // A crash here, or an answer that never comes, leaves a session that this node's next attempt outlives at once
      // (same nonce, same directory), and that others wait out.
      const outcome = await register.swap(null, body, this.#request(options.signal));
      if (outcome.kind === "unknown")
        throw new DbError("storeUnavailable", `creating session ${id}: ${outcome.cause.message}`);
      if (outcome.kind === "swapped") {
        this.#lastNumber = last + 1;
        this.#made.add(id);
        if (this.#made.size > MADE_KEPT) this.#made.delete(this.#made.values().next().value!);
        this.#removal = this.#removeOld(numbers);
        const term = termAfter(noTerm, { kind: "written", sentAt, termMs });
        return this.#beat({ id, register, runtime, settings, state: outcome.state, term });
      }
      await sleep(runtime, ATTEMPT_PAUSE_MS, options.signal);
    }
    throw new DbError("storeUnavailable", `node ${node}: others of its name made ${ATTEMPTS_MAX} sessions meanwhile`);
  }

  #beat(options: Omit<ConstructorParameters<typeof Heartbeat>[0], "onLost" | "onRegained">): Heartbeat {
    return new Heartbeat({
      ...options,
      onLost: (error) => {
        for (const hold of [...this.#holds.values()]) if (hold.session === options.id) hold.lose(error);
      },
      onRegained: () => {
        for (const hold of [...this.#holds.values()]) if (hold.session === options.id) hold.onRegained();
      },
    });
  }

  async #release(branch: BranchId, hold: Hold, how: "end" | "abandon"): Promise<void> {
    assert(this.#holds.get(branch) === hold, "a hold is released once");
    this.#holds.delete(branch);
    // A session that is lost needs no end, and must not wait here for the making of the next one.
    if (this.#holds.size > 0 || this.id === null) return;
    await this.#inTurn(async () => {
      const heartbeat = this.#heartbeat;
      if (this.#holds.size > 0 || heartbeat === null) return;
      this.#heartbeat = null;
      await this.#removal;
      await (how === "end" ? heartbeat.end() : heartbeat.abandon());
    });
  }

  /** The numbers of this node's sessions in the store, in order. */
  async #numbers(signal: AbortSignal | undefined): Promise<number[]> {
    const { store, repositoryId, node } = this.#options;
    const ids = sessionIdPrefix(repositoryId, node);
    const prefix = prefixes.sessions + ids;
    const numbers: number[] = [];
    // Everything below the last one seen is dead, and all but the one before it was deleted when that was made.
    const seen = this.#lastNumber - 2;
    let startAfter: ObjectKey | undefined = seen >= 1 ? sessionKey(sessionId(repositoryId, node, seen)) : undefined;
    for (let page = 0; page < PAGES_MAX; page++) {
      const request = { ...this.#request(signal), limit: LIST_LIMIT_MAX };
      const { objects, more } = await store.list(
        prefix,
        startAfter === undefined ? request : { ...request, startAfter },
      );
      for (const { key } of objects) {
        const number = sessionNumber(ids, key.slice(prefixes.sessions.length));
        if (number !== null) numbers.push(number);
      }
      if (!more) return numbers;
      startAfter = objects.at(-1)!.key;
    }
    throw new DbError("storeUnavailable", `listing ${prefix} gave more than ${PAGES_MAX} pages`);
  }

  /**
   * Deletes sessions of this name that lie below the predecessor of the new one: each was dead before the one behind it
   * was made, and a session that is missing is as good as a dead one.
   */
  async #removeOld(numbers: readonly number[]): Promise<void> {
    const { store, repositoryId, node } = this.#options;
    for (const number of numbers.slice(0, -1).slice(-REMOVED_MAX)) {
      try {
        await store.delete(sessionKey(sessionId(repositoryId, node, number)), this.#request(undefined));
      } catch (error) {
        // Litter, and the next start meets it again; a store that does not let us delete is no reason not to serve.
        if (!(error instanceof DbError)) throw error;
        return;
      }
    }
  }

  #register(key: ObjectKey): Register<SessionBody> {
    return new Register(this.#options.store, key, { runtime: this.#options.runtime, decode: decodeSession });
  }

  #request(signal: AbortSignal | undefined): { timeoutMs: number; signal?: AbortSignal } {
    return { timeoutMs: this.#options.settings.requestTimeoutMs, ...(signal && { signal }) };
  }
}

/**
 * Old sessions deleted at a start: one is left by each start, so more than a few come from crashes in between alone.
 */
const REMOVED_MAX = 8;

/** A branch is won anew, and names a new session, soon after its last one was lost. */
const MADE_KEPT = 100;

class Hold implements SessionHold {
  onLost: (error: DbError) => void = () => {};
  onRegained: () => void = () => {};
  readonly #heartbeat: Heartbeat;
  readonly #release: (how: "end" | "abandon") => Promise<void>;
  #released = false;

  constructor(heartbeat: Heartbeat, release: (how: "end" | "abandon") => Promise<void>) {
    this.#heartbeat = heartbeat;
    this.#release = release;
  }

  get session(): string {
    return this.#heartbeat.id;
  }

  get lost(): DbError | null {
    return this.#heartbeat.lost;
  }

  unprovenBecause(): DbError | null {
    assert(!this.#released, "a hold that was released is asked for no proof");
    return this.#heartbeat.unprovenBecause();
  }

  lose(error: DbError): void {
    if (!this.#released) this.onLost(error);
  }

  release(how: "end" | "abandon"): Promise<void> {
    assert(!this.#released, "a hold is released once");
    this.#released = true;
    return this.#release(how);
  }
}
