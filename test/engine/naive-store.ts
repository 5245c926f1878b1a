import type {
  Compare,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
} from "../../src/engine/engine.ts";

interface Pair {
  key: string;
  create: number;
  mod: number;
  version: number;
  value: string;
  lease: bigint;
}

type State = ReadonlyMap<string, Pair>;
class Failure extends Error {}

/**
 * etcd's key space in the plainest words: the whole state is kept for every revision, and copied for each change.
 * Answers are plain data, as `plain` in requests.ts makes them of the engine's; errors are kinds.
 */
export class NaiveStore {
  readonly states: State[] = [new Map(), new Map()];
  readonly leases = new Set<bigint>();
  compactRevision = -1;
  /** Keys changed by the newest transaction, in order: "+key" or "-key". */
  changes: string[] = [];
  /** The newest transaction is one that etcd 3.6 does not survive. */
  etcdAborts = false;
  #work = new Map<string, Pair>();

  get revision(): number {
    return this.states.length - 1;
  }

  get state(): State {
    return this.states[this.revision]!;
  }

  txn(request: TxnRequest): unknown {
    this.#work = new Map(this.state);
    this.changes = [];
    this.etcdAborts = false;
    try {
      const path = new Map<TxnRequest, boolean>();
      this.#choose(request, path);
      this.#check(request, path);
      const responses = this.#execute(request, path);
      const revision = this.#now();
      if (this.changes.length > 0) this.states.push(this.#work);
      return { revision, succeeded: path.get(request), responses };
    } catch (error) {
      this.changes = [];
      if (error instanceof Failure) return error.message;
      throw error;
    }
  }

  #now(): number {
    return this.revision + (this.changes.length > 0 ? 1 : 0);
  }

  #taken(request: TxnRequest, path: Map<TxnRequest, boolean>): RequestOp[] {
    return path.get(request) ? request.success : request.failure;
  }

  #choose(request: TxnRequest, path: Map<TxnRequest, boolean>): void {
    path.set(
      request,
      request.compare.every((compare) => this.#holds(compare)),
    );
    for (const op of this.#taken(request, path)) if (op.kind === "txn") this.#choose(op, path);
  }

  #holds(compare: Compare): boolean {
    const pairs = select(this.state, compare.key, compare.rangeEnd);
    const zero: Pair = { key: "", create: 0, mod: 0, version: 0, value: "", lease: 0n };
    if (pairs.length === 0) return compare.target !== "value" && compareOne(compare, zero);
    return pairs.every((pair) => compareOne(compare, pair));
  }

  #check(request: TxnRequest, path: Map<TxnRequest, boolean>): void {
    for (const op of this.#taken(request, path)) {
      if (op.kind === "range" && op.revision !== 0) {
        if (op.revision > this.revision) throw new Failure("futureRevision");
        if (op.revision < this.compactRevision) throw new Failure("compacted");
      }
      if (op.kind === "put") {
        if ((op.ignoreLease || op.ignoreValue) && !this.state.has(op.key)) throw new Failure("keyNotFound");
        if (op.lease !== 0n && !this.leases.has(op.lease)) throw new Failure("leaseNotFound");
      }
      if (op.kind === "txn") this.#check(op, path);
    }
  }

  #execute(request: TxnRequest, path: Map<TxnRequest, boolean>): unknown[] {
    return this.#taken(request, path).map((op) => {
      switch (op.kind) {
        case "range":
          return this.#range(op);
        case "put":
          return this.#put(op);
        case "deleteRange":
          return this.#delete(op);
        case "txn":
          return { revision: 0, succeeded: path.get(op), responses: this.#execute(op, path) };
        default:
          throw new Error("an empty operation");
      }
    });
  }

  #put(op: PutRequest): unknown {
    const prev = this.#work.get(op.key);
    // Gone within this very transaction: etcd aborts its process here.
    if ((op.ignoreLease || op.ignoreValue) && prev === undefined) {
      this.etcdAborts = true;
      throw new Failure("keyNotFound");
    }
    const revision = this.revision + 1;
    this.#work.set(op.key, {
      key: op.key,
      create: prev?.create ?? revision,
      mod: revision,
      version: (prev?.version ?? 0) + 1,
      value: op.ignoreValue ? prev!.value : Buffer.from(op.value).toString("latin1"),
      lease: op.ignoreLease ? prev!.lease : op.lease,
    });
    this.changes.push(`+${op.key}`);
    return { revision, prev: op.prevKv && prev ? shownPair(prev) : null };
  }

  #delete(op: DeleteRangeRequest): unknown {
    const gone = select(this.#work, op.key, op.rangeEnd);
    for (const { key } of gone) {
      this.#work.delete(key);
      this.changes.push(`-${key}`);
    }
    return { revision: this.#now(), deleted: gone.length, prevs: op.prevKv ? gone.map(shownPair) : [] };
  }

  #range(op: RangeRequest): unknown {
    const state = op.revision > 0 ? this.states[op.revision]! : this.#work;
    let pairs = select(state, op.key, op.rangeEnd);
    const count = pairs.length;
    const revision = this.#now();
    if (op.countOnly) return { revision, more: false, count, rows: [] };
    const filters = [op.minModRevision, op.maxModRevision, op.minCreateRevision, op.maxCreateRevision];
    const isFiltered = filters.some((bound) => bound !== 0);
    // Q1
    if (op.limit > 0 && op.sortOrder === 0 && !isFiltered) pairs = pairs.slice(0, op.limit + 1);
    if (op.minModRevision !== 0) pairs = pairs.filter(({ mod }) => mod >= op.minModRevision);
    if (op.maxModRevision !== 0) pairs = pairs.filter(({ mod }) => mod <= op.maxModRevision);
    if (op.minCreateRevision !== 0) pairs = pairs.filter(({ create }) => create >= op.minCreateRevision);
    if (op.maxCreateRevision !== 0) pairs = pairs.filter(({ create }) => create <= op.maxCreateRevision);
    const target = (["key", "version", "create", "mod", "value"] as const)[op.sortTarget]!;
    const sign = op.sortOrder === 2 ? -1 : 1;
    pairs.sort((a, b) => sign * (a[target] < b[target] ? -1 : a[target] > b[target] ? 1 : 0));
    const more = op.limit > 0 && pairs.length > op.limit;
    if (more) pairs = pairs.slice(0, op.limit);
    return { revision, more, count, rows: pairs.map(shownPair) };
  }
}

function select(state: State, key: string, rangeEnd: string): Pair[] {
  const within = (name: string): boolean =>
    rangeEnd === "" ? name === key : name >= key && (rangeEnd === "\0" || name < rangeEnd);
  return [...state.values()].filter((pair) => within(pair.key)).sort((a, b) => (a.key < b.key ? -1 : 1));
}

function compareOne(compare: Compare, pair: Pair): boolean {
  if (compare.target === "unknown") return verdict(compare.result, 0, 0);
  if (compare.target === "value")
    return verdict(compare.result, pair.value, Buffer.from(compare.operand).toString("latin1"));
  return verdict(compare.result, BigInt(pair[compare.target]), compare.operand);
}

function verdict<T extends string | bigint | number>(result: Compare["result"], a: T, b: T): boolean {
  if (result === "equal") return a === b;
  if (result === "notEqual") return a !== b;
  return result === "unknown" || (result === "greater" ? a > b : a < b);
}

export const shownPair = (pair: Pair): string =>
  `${pair.key}=${pair.value}@${pair.create}/${pair.mod}/${pair.version}${pair.lease === 0n ? "" : `+${pair.lease}`}`;
