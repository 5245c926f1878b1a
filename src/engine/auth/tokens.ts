import type { Caller } from "./auth-state.ts";

/**
 * How those who have logged in are known again. Of one branch under one leadership: what a provider remembers ends with
 * it, as etcd's simple tokens end with a restart (clients log in again by themselves).
 *
 * A follower that serves reads will have one, too: it asks the leader's for what it does not know, and forgets what the
 * auth changes that it applies end.
 */
export interface TokenProvider {
  /** Null: the token is not, or no more, one of ours. `revision`: of the auth state that the call is held against. */
  callerOf(token: string, revision: number): Caller | null;
  /** A new token of a user whose password has been checked. `index`: the newest record's number, as etcd's. */
  issue(user: string, at: { revision: number; index: number }): string;
  /** All tokens of a user (null: of everybody) end now. */
  end(user: string | null): void;
  readonly size: number;
}

/** Where authentication by token is not wanted (`--auth-token ''`): by certificate alone. */
export const noTokens: TokenProvider = {
  callerOf: () => null,
  issue: () => "",
  end() {},
  size: 0,
};
