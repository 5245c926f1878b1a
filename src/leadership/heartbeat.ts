import { assert } from "../base/assert.ts";
import { DbError, isDbError, messageOf } from "../base/errors.ts";
import type { Register, RegisterState } from "../objects/register.ts";
import type { RetryRuntime } from "../objects/retry.ts";
import type { Timer } from "../runtime/runtime.ts";
import { ended, type SessionBody } from "./session-object.ts";
import type { Pace, SessionSettings } from "./settings.ts";
import { instant, isProven, type Term, termAfter } from "./term.ts";

/**
 * Keeps one live session renewed, and knows until when it proves reads.
 *
 * 1. One renewal at a time, each conditional on the version known last; its term counts from before it was sent.
 * 2. A renewal whose outcome is not known is followed by a reading: what it finds decides, nothing is assumed.
 * 3. A session found killed, or gone, is lost for good. One that nobody killed is renewed late and goes on.
 */
export interface HeartbeatOptions {
  readonly id: string;
  readonly register: Register<SessionBody>;
  readonly runtime: RetryRuntime;
  readonly settings: SessionSettings;
  readonly state: RegisterState<SessionBody>;
  readonly term: Term;
  /** The session is dead; called once, and nothing is called after it. */
  readonly onLost: (error: DbError) => void;
  /** Proven again after a time without proof. */
  readonly onRegained: () => void;
}

/** Renewals in a row that a challenger's writing made fail; one such write is possible for each renewal. */
const CONFLICTS_MAX = 4;
/**
 * The announcement is taken off this early, so that one who still waits makes a new one before the terms grow longer.
 */
const CHALLENGE_SHOWN = 0.75;

export class Heartbeat {
  readonly id: string;
  readonly #options: HeartbeatOptions;
  /** Null: the last outcome is unknown. */
  #known: RegisterState<SessionBody> | null;
  #term: Term;
  #challengedAtMs = Number.NEGATIVE_INFINITY;
  #timer: Timer | null = null;
  #beating: Promise<void> | null = null;
  #stopped = false;
  #lost: DbError | null = null;

  constructor(options: HeartbeatOptions) {
    this.id = options.id;
    this.#options = options;
    this.#known = options.state;
    this.#term = options.term;
    this.#note(options.state.body);
    this.#schedule(options.runtime.clock.monotonicMs());
  }

  get lost(): DbError | null {
    return this.#lost;
  }

  /** Null while reads are proven by the term. */
  unprovenBecause(): DbError | null {
    if (this.#lost !== null) return this.#lost;
    assert(!this.#stopped, "a session that was given up is asked for no proof");
    if (isProven(this.#term, this.#options.runtime.clock)) return null;
    return new DbError(
      "noLeader",
      `session ${this.id} could not be renewed in time: nothing proves that this node leads`,
    );
  }

  /** Stops renewing, as a crash would. */
  async abandon(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#beating;
  }

  /** Stops, and says so in the session object: nobody waits for its term. The caller serves nothing by it any more. */
  async end(): Promise<void> {
    await this.abandon();
    try {
      await this.#swapEnd();
    } catch (error) {
      // Where it cannot be said, the session ends when its term does.
      if (!(error instanceof DbError)) throw error;
    }
  }

  async #swapEnd(): Promise<void> {
    const { register, settings } = this.#options;
    const request = { timeoutMs: settings.requestTimeoutMs };
    for (let conflicts = 0; conflicts < CONFLICTS_MAX && this.#lost === null; conflicts++) {
      const known = this.#known ?? (await register.read(request));
      if (known === null || known.body.state !== "live") return;
      const outcome = await register.swap(known, ended(known.body, "ended", known.body.node), request);
      if (outcome.kind !== "conflict") return;
      this.#known = outcome.found;
      if (outcome.found === null) return;
    }
  }

  #pace(): Pace {
    const { settings, runtime } = this.#options;
    return this.#challenged(runtime.clock.monotonicMs(), 1) ? settings.challenged : settings.alone;
  }

  /** Whether a challenger was seen not longer ago than this share of the time for which that counts. */
  #challenged(nowMs: number, share: number): boolean {
    return nowMs < this.#challengedAtMs + this.#options.settings.challengeMs * share;
  }

  /** `sentMs`: when the last renewal was sent. */
  #schedule(sentMs: number): void {
    if (this.#stopped || this.#lost !== null) return;
    const { runtime } = this.#options;
    const { renewalMs } = this.#pace();
    const delayMs = Math.max(renewalMs / 10, sentMs + renewalMs - runtime.clock.monotonicMs());
    this.#timer = runtime.timers.set(delayMs, () => this.#fire(), { background: true });
  }

  #fire(): void {
    const sentMs = this.#options.runtime.clock.monotonicMs();
    this.#beating = this.#beat().then(
      () => this.#schedule(sentMs),
      (error: unknown) => {
        this.#known = null;
        // What cannot be read cannot be renewed, ever. The store's troubles pass, or an operator mends them: the term
        // runs out meanwhile. Anything else is a bug.
        if (isDbError(error, "corrupt")) this.#lose(`cannot be read any more: ${error.message}`, error);
        else if (error instanceof DbError) this.#schedule(sentMs);
        else this.#lose(`was given up after a bug: ${messageOf(error)}`, error);
      },
    );
  }

  async #beat(): Promise<void> {
    const { register, runtime } = this.#options;
    for (let conflicts = 0; conflicts < CONFLICTS_MAX; conflicts++) {
      const known = this.#known ?? this.#see(await register.read({ timeoutMs: this.#pace().renewalMs }));
      if (known === null || this.#stopped) return;
      const { termMs, renewalMs } = this.#pace();
      const sentAt = instant(runtime.clock);
      const challenger = this.#challenged(sentAt.monotonicMs, CHALLENGE_SHOWN) ? known.body.challenger : null;
      const body: SessionBody = { ...known.body, termMs, challenger, wallMs: sentAt.wallMs };
      this.#term = termAfter(this.#term, { kind: "sent", now: sentAt, termMs });
      this.#known = null;
      const outcome = await register.swap(known, body, { timeoutMs: renewalMs });
      if (outcome.kind === "unknown") return;
      if (outcome.kind === "swapped") {
        const before = isProven(this.#term, runtime.clock);
        this.#known = outcome.state;
        this.#term = termAfter(this.#term, { kind: "written", sentAt, termMs });
        if (!before && !this.#stopped) this.#options.onRegained();
        return;
      }
      this.#known = this.#see(outcome.found);
    }
  }

  /** What was found: null when the session is lost. */
  #see(found: RegisterState<SessionBody> | null): RegisterState<SessionBody> | null {
    const { state: mine } = this.#options;
    if (found === null) return this.#lose("is gone from the store");
    if (found.body.state !== "live") return this.#lose(`was ${found.body.state} by ${found.body.endedBy}`);
    if (found.body.nonce !== mine.body.nonce) return this.#lose("belongs to another process");
    this.#note(found.body);
    this.#known = found;
    return found;
  }

  #note(body: SessionBody): void {
    if (body.challenger !== null) this.#challengedAtMs = this.#options.runtime.clock.monotonicMs();
  }

  #lose(what: string, cause?: unknown): null {
    if (this.#lost !== null) return null;
    this.#timer?.cancel();
    this.#lost = new DbError("leadershipLost", `session ${this.id} ${what}`, { cause });
    if (!this.#stopped) this.#options.onLost(this.#lost);
    return null;
  }
}
