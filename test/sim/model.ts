import type { RequestOp, TxnRequest } from "../../src/engine/engine.ts";
import { NaiveStore, shownPair } from "../engine/naive-store.ts";
import type { ClientRequest, TruePair, TrueRecord } from "./history.ts";

type State = NaiveStore["states"][number];

export interface Evaluation {
  /** Plain data as text; an error is its kind. */
  readonly answer: string;
  /** "+key" and "-key" in order; empty if it writes nothing. */
  readonly changes: readonly string[];
  /** The state after it; null if it writes nothing. */
  readonly state: State | null;
}

/** The answer of a call as text, the same for the engine's answers and for the model's. */
export const answerText = (answer: unknown): string =>
  typeof answer === "string"
    ? answer
    : JSON.stringify(answer, (_, value: unknown) => (typeof value === "bigint" ? `${value}` : value));

/**
 * A branch in the plainest words, built from the records of its log: says at any of them what a request is to be
 * answered, without carrying it out.
 */
export class Model {
  readonly #store = new NaiveStore();
  readonly #ttls = new Map<bigint, number>();

  get revision(): number {
    return this.#store.revision;
  }

  get compactRevision(): number {
    return this.#store.compactRevision;
  }

  /** As of a revision. */
  pair(key: string, revision = this.revision): TruePair | undefined {
    return this.#store.states[revision]?.get(key);
  }

  hasLease(id: bigint): boolean {
    return this.#ttls.has(id);
  }

  /**
   * Applies a record. Returns what is wrong with it in itself: revisions, versions, births, keys of a lease that ended.
   */
  apply(record: TrueRecord): string[] {
    const problems: string[] = [];
    const wanted = this.revision + (record.changes.length > 0 ? 1 : 0);
    if (record.revision !== wanted) problems.push(`its revision is ${record.revision}, not ${wanted}`);
    if (record.ended.length > 0) {
      const keys = record.ended.flatMap((id) => this.#attached(id)).map((key) => `-${key}`);
      const found = changesOf(record);
      if (`${keys}` !== `${found}`) problems.push(`a lease ended with [${found}], its keys were [${keys}]`);
    }
    if (record.changes.length > 0) this.#store.states.push(this.#after(record, problems));
    for (const { id, ttlSeconds } of record.granted) {
      if (this.#ttls.has(id)) problems.push(`lease ${id} was granted twice`);
      this.#ttls.set(id, ttlSeconds);
      this.#store.leases.add(id);
    }
    for (const id of record.ended) {
      if (!this.#ttls.delete(id)) problems.push(`lease ${id} ended, and was not there`);
      this.#store.leases.delete(id);
    }
    if (record.compacted !== null) {
      if (record.compacted <= this.compactRevision) problems.push(`compacted back to ${record.compacted}`);
      this.#store.compactRevision = record.compacted;
    }
    return problems;
  }

  #after(record: TrueRecord, problems: string[]): State {
    const state = new Map(this.#store.state);
    for (const { key, pair } of record.changes) {
      const before = state.get(key);
      if (pair === null) {
        if (!state.delete(key)) problems.push(`${key} was deleted, and was not there`);
        continue;
      }
      state.set(key, pair);
      const create = before?.create ?? record.revision;
      const version = (before?.version ?? 0) + 1;
      if (pair.key !== key || pair.mod !== record.revision || pair.create !== create || pair.version !== version)
        problems.push(`${shownPair(pair)} follows ${before === undefined ? "nothing" : shownPair(before)}`);
    }
    return state;
  }

  evaluate(request: ClientRequest): Evaluation {
    switch (request.kind) {
      case "txn":
        return this.#txn(request, (answer) => answer);
      case "put":
        // Alone, a put looks for its lease before its key; in a transaction after it.
        if (request.lease !== 0n && !this.#ttls.has(request.lease)) return nothing("leaseNotFound");
        return this.#txn(txnOf(request), first);
      case "range":
      case "deleteRange":
        return this.#txn(txnOf(request), first);
      case "compact":
        return this.#compact(request.revision);
      case "grant": {
        if (this.#ttls.has(request.id)) return nothing("leaseExists");
        return nothing({ id: request.id, ttlSeconds: request.ttlSeconds, revision: this.revision });
      }
      case "revoke": {
        if (!this.#ttls.has(request.id)) return nothing("leaseNotFound");
        const changes = this.#attached(request.id).map((key) => `-${key}`);
        return nothing({ revision: this.revision + (changes.length > 0 ? 1 : 0) });
      }
      case "keepAlive":
        return nothing({ ttlSeconds: this.#ttls.get(request.id) ?? 0, revision: this.revision });
      case "timeToLive": {
        const { id, keys } = request;
        const attached = keys && this.#ttls.has(id) ? this.#attached(id) : [];
        return nothing({ granted: this.#ttls.get(id) ?? 0, keys: attached, revision: this.revision });
      }
      case "leases":
        return nothing({ ids: [...this.#ttls.keys()].sort(byNumber), revision: this.revision });
    }
  }

  #compact(revision: number): Evaluation {
    if (revision <= this.compactRevision) return nothing("compacted");
    if (revision > this.revision) return nothing("futureRevision");
    return nothing({ revision: this.revision });
  }

  /** What it would do: done, looked at, and undone. */
  #txn(request: TxnRequest, pick: (answer: unknown) => unknown): Evaluation {
    const store = this.#store;
    const before = store.revision;
    const answer = store.txn(request);
    const changes = store.changes;
    const state = store.revision > before ? (store.states.pop() ?? null) : null;
    return { answer: answerText(typeof answer === "string" ? answer : pick(answer)), changes, state };
  }

  #attached(id: bigint): string[] {
    const pairs = [...this.#store.state.values()].filter(({ lease }) => lease === id);
    return pairs.map(({ key }) => key).sort();
  }
}

const nothing = (answer: unknown): Evaluation => ({ answer: answerText(answer), changes: [], state: null });

const first = (answer: unknown) => (answer as { responses: unknown[] }).responses[0];

const txnOf = (op: RequestOp): TxnRequest => ({ kind: "txn", compare: [], success: [op], failure: [] });

const byNumber = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);

export const changesOf = (record: TrueRecord): string[] =>
  record.changes.map(({ key, pair }) => (pair === null ? `-${key}` : `+${key}`));

/** Whether a request, evaluated just before a record, does just what the record did. */
export function doesWhat(record: TrueRecord, { changes, state }: Evaluation): boolean {
  if (state === null || changes.length === 0 || `${changes}` !== `${changesOf(record)}`) return false;
  for (const { key, pair } of lastChanges(record)) {
    const made = state.get(key);
    if ((pair === null) !== (made === undefined)) return false;
    if (pair !== null && shownPair(made!) !== shownPair(pair)) return false;
  }
  return true;
}

function lastChanges(record: TrueRecord): Iterable<{ key: string; pair: TruePair | null }> {
  return new Map(record.changes.map((change) => [change.key, change])).values();
}
