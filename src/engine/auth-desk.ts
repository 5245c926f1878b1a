import { DbError } from "../base/errors.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import type { Passwords, Random } from "../runtime/runtime.ts";
import { type Effect, spaces } from "../storage/storage.ts";
import type { AuthChange } from "./auth/auth-changes.ts";
import { AUTH_META_KEY, encodeAuthMeta, encodeRole, encodeUser } from "./auth/auth-records.ts";
import { type AuthState, type Caller, FIRST_AUTH_REVISION } from "./auth/auth-state.ts";
import { PasswordQueue } from "./auth/password-queue.ts";
import type { TokenProvider } from "./auth/tokens.ts";
import type { Draft } from "./draft.ts";
import type { AuthAnswer, Credentials, Login } from "./engine.ts";
import { recordKinds } from "./record.ts";
import type { Evaluate } from "./sequencer.ts";

/** Runs before an evaluation, in the same turn, against the same head: throws where its caller may not. */
export type Guard = (draft: Draft) => void;

export interface AuthDeskOptions {
  readonly tokens: TokenProvider;
  readonly passwords: Passwords;
  readonly random: Random;
  readonly bcryptCost: number;
  readonly passwordsWaitingMax: number;
  /** The common name of a client certificate is a user's name (`--client-cert-auth`). */
  readonly namesByCertificate: boolean;
  run<Request, Result>(
    evaluate: Evaluate<Request, Result>,
    request: Request,
    guard: Guard | null,
  ): MaybePromise<Result>;
  /** Why this node cannot prove that it leads, or null. */
  proof(): MaybePromise<DbError | null>;
  answer(): AuthAnswer;
  /** The newest record's number. */
  record(): number;
}

/**
 * Authentication of a branch under one leadership: the state, who is logged in, and the way by which it changes.
 *
 * Invariants:
 *   - What is sequenced is held against `head`, so that nothing is written under a permission that was revoked before
 *     it in the log. What is read is held against `committed`: a grant that is not durable shows nobody anything.
 *   - Both are whole states that are never changed. `committed` follows when a change is durable; then tokens end.
 */
export class AuthDesk {
  head: AuthState;
  committed: AuthState;
  readonly tokens: TokenProvider;
  /** Told when `committed` has changed. */
  readonly onCommitted = new Set<() => void>();
  readonly #options: AuthDeskOptions;
  readonly #queue: PasswordQueue;

  constructor(state: AuthState, options: AuthDeskOptions) {
    this.head = state;
    this.committed = state;
    this.tokens = options.tokens;
    this.#options = options;
    const { atOnce } = options.passwords;
    this.#queue = new PasswordQueue({ atOnce, waitingMax: options.passwordsWaitingMax });
  }

  get passwordsWaiting(): number {
    return this.#queue.waiting;
  }

  /** Who shows these credentials now (A5, A17); null: nobody. Throws `invalidAuthToken`. */
  callerOf(credentials: Credentials, state: AuthState): Caller | null {
    const token = credentials.token();
    if (token !== undefined) {
      const caller = this.tokens.callerOf(token, state.revision);
      if (caller === null) throw new DbError("invalidAuthToken");
      return caller;
    }
    const name = this.#options.namesByCertificate ? credentials.commonName() : null;
    return name === null ? null : { name, revision: state.revision };
  }

  run<Request, Result>(
    evaluate: Evaluate<Request, Result>,
    request: Request,
    guard: Guard | null,
  ): MaybePromise<Result> {
    return this.#options.run(evaluate, request, guard);
  }

  /** Carries a change out, if there is one to the state at the head. */
  change<Request>(
    make: (state: AuthState, request: Request) => AuthChange | null,
    request: Request,
    guard: Guard | null,
  ): MaybePromise<AuthAnswer> {
    return this.#options.run(this.#changeEvaluation, { make: make as Make, request }, guard);
  }

  readonly #changeEvaluation = (draft: Draft, { make, request }: { make: Make; request: unknown }): AuthAnswer => {
    const change = make(this.head, request);
    if (change !== null) {
      writeChange(draft, this.head, change);
      const { state, ends } = change;
      this.head = state;
      draft.afterCommit = () => {
        this.committed = state;
        if (ends !== undefined) this.tokens.end(ends.user);
        for (const told of this.onCommitted) told();
      };
    }
    return { revision: draft.revision };
  };

  /** A bcrypt hash as text (A18); in its turn. */
  hash(password: Uint8Array, address: string): Promise<string> {
    if (password.length > PASSWORD_BYTES_MAX) throw new DbError("passwordTooLong");
    const { passwords, random, bcryptCost: cost } = this.#options;
    return this.#queue.run(address, null, () => passwords.hash(password, { cost, salt: random.bytes(SALT_BYTES) }));
  }

  /** A3. The password is checked beside the loop: what has changed meanwhile is looked at again after it. */
  async authenticate(login: Login): Promise<AuthAnswer & { token: string }> {
    await this.#prove();
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const checked = await this.#checkPassword(login);
      await this.#prove();
      const { enabled, revision, users } = this.committed;
      if (!enabled) throw new DbError("authNotEnabled");
      // The password that was right may have been changed since: then it is checked again.
      if (users.get(login.name)?.passwordHash !== checked) continue;
      const token = this.tokens.issue(login.name, { revision, index: this.#options.record() });
      return { ...this.#options.answer(), token };
    }
    throw new DbError("tooManyRequests", "the password was changed again and again");
  }

  /** The hash that the password fits. */
  async #checkPassword({ name, password, address, signal }: Login): Promise<string> {
    const { enabled, users } = this.committed;
    if (!enabled) throw new DbError("authNotEnabled");
    const user = users.get(name);
    if (user === undefined) throw new DbError("authFailed");
    if (user.noPassword) throw new DbError("noPasswordUser");
    const { passwordHash } = user;
    const { passwords } = this.#options;
    const fits = await this.#queue.run(address, signal, () => passwords.verify(password, passwordHash));
    if (!fits) throw new DbError("authFailed");
    return passwordHash;
  }

  async #prove(): Promise<void> {
    const why = await this.#options.proof();
    if (why !== null) throw why;
  }
}

type Make = (state: AuthState, request: unknown) => AuthChange | null;

const SALT_BYTES = 16;
const PASSWORD_BYTES_MAX = 72;
/** How often a password may change under the eyes of one who logs in. */
const TRIES_MAX = 10;

function writeChange(draft: Draft, before: AuthState, { state, users, roles }: AuthChange): void {
  draft.kind = recordKinds.auth;
  // With the first change there is no entry yet.
  draft.entry(spaces.meta, AUTH_META_KEY, encodeAuthMeta(state), before.revision === FIRST_AUTH_REVISION ? 1 : 0);
  for (const { name, value, isNew } of users) {
    draft.entry(spaces.users, name, value === null ? null : encodeUser(value), effectOf(value, isNew));
  }
  for (const { name, value, isNew } of roles) {
    draft.entry(spaces.roles, name, value === null ? null : encodeRole(value), effectOf(value, isNew));
  }
}

const effectOf = (value: unknown, isNew: boolean): Effect => (value === null ? -1 : isNew ? 1 : 0);
