import { fail } from "node:assert/strict";
import { type DbError, type ErrorKind, isDbError } from "../../src/base/errors.ts";
import { isPromise, type MaybePromise } from "../../src/base/maybe-promise.ts";
import type { Database, RangeResult, ResponseOp } from "../../src/engine/engine.ts";
import { plain } from "../engine/requests.ts";
import type { DatabaseNode } from "./database-node.ts";
import type { Call, ClientRequest, Moment, Outcome, WatchRun } from "./history.ts";
import { answerText } from "./model.ts";
import type { SimRandom } from "./random.ts";
import type { Simulation } from "./simulation.ts";

/** A client that has heard nothing for so long does something else; what it hears later still counts. */
const PATIENCE_MS = 12_000;
/** A message takes about so long from client to server. */
export const WAY_MS = 0.5;

/** Writes down what happens, in order. */
export class Recorder {
  readonly calls: Call[] = [];
  readonly watches: WatchRun[] = [];
  readonly #simulation: Simulation;
  #order = 0;

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
  }

  moment(): Moment {
    return { order: ++this.#order, ms: this.#simulation.nowMs };
  }

  /** The number of the next call, for the values that it writes. */
  get nextCall(): number {
    return this.calls.length;
  }

  begin(request: ClientRequest): Call {
    const outcome: Outcome = { kind: "unknown", error: "connectionLost" };
    const call: Call = { id: this.calls.length, request, begun: this.moment(), ended: null, outcome };
    this.calls.push(call);
    return call;
  }
}

/** Calls of clients to processes: over the network, so that a process that stalls or dies answers late or never. */
export class Caller {
  readonly recorder: Recorder;
  readonly #simulation: Simulation;
  readonly #random: SimRandom;
  /** What the calls under way at a process do when it ends. */
  readonly #under = new Map<DatabaseNode, Set<() => void>>();

  constructor(simulation: Simulation, recorder: Recorder) {
    this.#simulation = simulation;
    this.recorder = recorder;
    this.#random = simulation.random.fork("calls");
  }

  /** Resolves with the call when its outcome is known, when the process ends, or when the client has lost patience. */
  call(to: DatabaseNode, request: ClientRequest): Promise<Call> {
    const call = this.recorder.begin(request);
    return new Promise((resolve) => {
      const under = this.#underWay(to);
      const broken = (): void => {
        call.ended ??= this.recorder.moment();
        resolve(call);
      };
      const answer = (outcome: Outcome): void => {
        this.#after(() => {
          under.delete(broken);
          patience.cancelled = true;
          call.outcome = outcome;
          call.ended = this.recorder.moment();
          resolve(call);
        });
      };
      const patience = this.#simulation.schedule(PATIENCE_MS, null, `call ${call.id}: patience`, () => resolve(call));
      if (!to.node.alive) return answer(NO_LEADER);
      under.add(broken);
      this.#simulation.schedule(this.#random.latencyMs(WAY_MS), to.node, `call ${call.id} ${request.kind}`, () =>
        serve(to, request, answer),
      );
    });
  }

  #underWay(to: DatabaseNode): Set<() => void> {
    let under = this.#under.get(to);
    if (under === undefined) {
      under = new Set();
      this.#under.set(to, under);
      const calls = under;
      to.node.onKilled.push(() => {
        for (const broken of calls) this.#after(broken);
        calls.clear();
      });
    }
    return under;
  }

  /** The answer's way back does not need the process any more. */
  #after(run: () => void): void {
    this.#simulation.schedule(this.#random.latencyMs(WAY_MS), null, "answer", run);
  }
}

const NO_LEADER: Outcome = { kind: "notDone", error: "noLeader" };

/** In the process. */
function serve(to: DatabaseNode, request: ClientRequest, answer: (outcome: Outcome) => void): void {
  try {
    const { database } = to;
    const result = database === undefined ? NO_LEADER : perform(database, request);
    if (isPromise(result)) result.then(answer, (error: unknown) => answer(failure(error)));
    else answer(result);
  } catch (error) {
    answer(failure(error));
  }
}

const REFUSALS: ReadonlySet<ErrorKind> = new Set([
  "compacted",
  "futureRevision",
  "leaseNotFound",
  "leaseExists",
  "keyNotFound",
]);
const NOT_DONE: ReadonlySet<ErrorKind> = new Set([
  "noLeader",
  "tooManyRequests",
  "storeUnavailable",
  "diskFailed",
  "duplicateKey",
]);
const UNKNOWN: ReadonlySet<ErrorKind> = new Set(["timeout", "leadershipLost", "stopped"]);

export function failure(error: unknown): Outcome {
  if (!isDbError(error)) throw error;
  const { kind } = error as DbError;
  if (REFUSALS.has(kind)) return { kind: "refused", error: kind };
  if (NOT_DONE.has(kind)) return { kind: "notDone", error: kind };
  if (UNKNOWN.has(kind)) return { kind: "unknown", error: kind };
  fail(`a client was told ${kind}: ${error.message}\n${error.stack}`);
}

function perform(database: Database, request: ClientRequest): MaybePromise<Outcome> {
  switch (request.kind) {
    case "range":
      return then(database.range(request), plainOutcome);
    case "put":
      return then(database.put(request), plainOutcome);
    case "deleteRange":
      return then(database.deleteRange(request), plainOutcome);
    case "txn":
      return then(database.txn(request), plainOutcome);
    case "compact":
      return then(database.compact({ revision: request.revision, physical: false }), ({ revision }) =>
        answered({ revision }, revision, true),
      );
    case "grant": {
      const { id, ttlSeconds } = request;
      return then(database.leaseGrant({ id, ttlSeconds: BigInt(ttlSeconds) }), (result) =>
        answered({ id, ttlSeconds: result.ttlSeconds, revision: result.revision }, result.revision, true),
      );
    }
    case "revoke":
      return then(database.leaseRevoke(request.id), ({ revision }) => answered({ revision }, revision, true));
    case "keepAlive":
      return then(database.leaseKeepAlive(request.id), ({ ttlSeconds, revision }) =>
        answered({ ttlSeconds, revision }, revision, false),
      );
    case "timeToLive":
      return then(database.leaseTimeToLive(request), ({ ttlSeconds, grantedTtlSeconds, keys, revision }) => {
        if (ttlSeconds > grantedTtlSeconds || ttlSeconds < -1) fail(`${ttlSeconds} s left of ${grantedTtlSeconds}`);
        return answered({ granted: grantedTtlSeconds, keys: [...keys].sort(), revision }, revision, false);
      });
    case "leases":
      return then(database.leaseLeases(), ({ ids, revision }) => {
        const sorted = [...ids].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
        return answered({ ids: sorted, revision }, revision, false);
      });
  }
}

const then = <T>(result: MaybePromise<T>, outcome: (result: T) => Outcome): MaybePromise<Outcome> =>
  isPromise(result) ? result.then(outcome) : outcome(result);

const answered = (answer: unknown, revision: number, changed: boolean): Outcome => {
  return { kind: "answered", answer: answerText(answer), revision, changed };
};

const plainOutcome = (result: ResponseOp): Outcome =>
  answered(plain(result), revisionOf(result), result.kind !== "range" && hasChanged(result));

/** A past revision's read tells the present one in its header, as any other. */
const revisionOf = (result: ResponseOp): number => (result as RangeResult).revision;

function hasChanged(response: ResponseOp): boolean {
  switch (response.kind) {
    case "range":
      return false;
    case "put":
      return true;
    case "deleteRange":
      return response.deleted > 0;
    case "txn":
      return response.responses.some(hasChanged);
  }
}
