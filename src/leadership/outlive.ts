import { DbError, isDbError } from "../base/errors.ts";
import type { Register, RegisterState } from "../objects/register.ts";
import { type RetryRuntime, sleep } from "../objects/retry.ts";
import { mayKill, type Sight, type Watched, watchedAfter } from "./challenge.ts";
import { type DirectoryIdentity, ended, isOutlivedBy, type SessionBody } from "./session-object.ts";
import type { SessionSettings } from "./settings.ts";

/** Who is waited for, for a line in the log. */
export interface Waiting {
  readonly session: string;
  readonly node: string;
  /** The wait ends this long after the last change of its session that was seen. */
  readonly waitMs: number;
}

export interface OutliveOptions {
  readonly session: string;
  readonly register: Register<SessionBody>;
  readonly runtime: RetryRuntime;
  readonly settings: SessionSettings;
  /** The challenger. */
  readonly node: string;
  readonly nonce: string;
  readonly directory: DirectoryIdentity | null;
  /** Asked at each look: false when the session's death is needed no more. */
  readonly wanted: () => Promise<boolean>;
  readonly onWaiting: (waiting: Waiting) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Failures of the store in a row before the wait is given up. */
const FAILURES_MAX = 10;
/** A pause after a swap that somebody else has won. */
const CONFLICT_PAUSE_MS = 20;

/**
 * Waits until a session is dead, and kills it when its time is over (challenge.ts); at once, where its process has been
 * outlived: its directory's lock is held here on the same boot, or it was made by this very run of the node.
 *
 * Loops for as long as the session is renewed: that is what standing by means. `signal` ends it, with `canceled`.
 */
export async function outlive(options: OutliveOptions): Promise<"dead" | "unwanted"> {
  const { register, runtime, settings } = options;
  const request = { timeoutMs: settings.requestTimeoutMs, ...(options.signal && { signal: options.signal }) };
  let watched: Watched | null = null;
  let failures = 0;
  let told = false;
  for (;;) {
    if (options.signal?.aborted) throw canceled(options);
    try {
      const state = await register.read(request);
      if (state === null || state.body.state !== "live") return "dead";
      const step = await look(options, state, watched);
      if (step.kind === "dead") return "dead";
      watched = step.watched;
      if (!told && step.kind === "wait") {
        const waitMs = step.watched.dueMs - step.watched.sinceMs;
        options.onWaiting({ session: options.session, node: state.body.node, waitMs });
        told = true;
      }
      await sleep(runtime, step.pauseMs, options.signal);
      if (step.kind === "wait" && !(await options.wanted())) return "unwanted";
      failures = 0;
    } catch (error) {
      if (!isDbError(error, "storeUnavailable") || ++failures >= FAILURES_MAX) throw error;
      await sleep(runtime, settings.challenged.renewalMs, options.signal);
    }
  }
}

type Step =
  | { kind: "dead" }
  | { kind: "wait"; watched: Watched; pauseMs: number }
  | { kind: "again"; watched: Watched | null; pauseMs: number };

/**
 * Nothing that was seen is lost by an answer that does not come: the wait goes on from what was seen, or begins anew.
 */
async function look(options: OutliveOptions, state: RegisterState<SessionBody>, before: Watched | null): Promise<Step> {
  const { register, settings } = options;
  const request = { timeoutMs: settings.requestTimeoutMs, ...(options.signal && { signal: options.signal }) };
  const session = state.body;
  const outlived = session.nonce === options.nonce || isOutlivedBy(session, options.directory);
  const sight = sightOf(options, state);
  const watched = watchedAfter(before, sight);
  if (outlived || mayKill(watched, sight.nowMs)) {
    const outcome = await register.swap(state, ended(session, "killed", options.node), request);
    return outcome.kind === "swapped" ? { kind: "dead" } : { kind: "again", watched, pauseMs: CONFLICT_PAUSE_MS };
  }
  if (session.challenger === null) {
    const outcome = await register.swap(state, { ...session, challenger: options.node }, request);
    if (outcome.kind !== "swapped") return { kind: "again", watched, pauseMs: CONFLICT_PAUSE_MS };
    return wait(options, watchedAfter(watched, sightOf(options, outcome.state)));
  }
  return wait(options, watched);
}

/** The clock is read here, after the answer came. */
const sightOf = (options: OutliveOptions, state: RegisterState<SessionBody>): Sight => ({
  nowMs: options.runtime.clock.monotonicMs(),
  counter: state.counter,
  session: state.body,
  marginMs: options.settings.marginMs,
});

function wait(options: OutliveOptions, watched: Watched): Step {
  const leftMs = watched.dueMs - options.runtime.clock.monotonicMs();
  return { kind: "wait", watched, pauseMs: Math.max(1, Math.min(options.settings.challenged.renewalMs, leftMs)) };
}

const canceled = (options: OutliveOptions): DbError =>
  new DbError("canceled", `waiting for session ${options.session} was given up by the caller`);
