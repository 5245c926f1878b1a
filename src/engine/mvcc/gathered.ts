import { assert } from "../../base/assert.ts";
import { DbError } from "../../base/errors.ts";
import { isPromise, type MaybePromise } from "../../base/maybe-promise.ts";
import { KEYS, type Tree, type Version, type Walk } from "../../storage/storage.ts";
import type { RangeRequest, RequestOp, TxnRequest, TxnResult } from "../engine.ts";
import { keyRange } from "./key-range.ts";
import { type Found, find, isBackwards, scanLimit } from "./range.ts";

/** Rows of transactions' ranges, from when they are read until their answers have been taken, of a whole process. */
const GATHERED_BYTES_MAX = 128 << 20;
/** What a row costs in memory beside its bytes. */
const ROW_OVERHEAD_BYTES = 100;
/** So few rows are not worth counting: bounded by how many calls there may be. */
const FEW_ROWS = 10;
const PAGE_ROWS = 4096;
const PAGE_BYTES = 256 << 10;

/** Bytes that may be gathered together. */
export class GatherBudget {
  readonly #bytesMax: number;
  readonly #refusal: string;
  #bytes = 0;

  constructor(
    bytesMax: number,
    refusal = "ranges of transactions hold too much in memory: ask for them by themselves",
  ) {
    this.#bytesMax = bytesMax;
    this.#refusal = refusal;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Throws `tooManyRequests` where there is no room. */
  take(bytes: number): void {
    if (this.#bytes + bytes > this.#bytesMax) throw new DbError("tooManyRequests", this.#refusal);
    this.#bytes += bytes;
  }

  giveBack(bytes: number): void {
    this.#bytes -= bytes;
    assert(this.#bytes >= 0, "only what was taken is given back");
  }
}

const ofProcess = new GatherBudget(GATHERED_BYTES_MAX);

/**
 * What one transaction has gathered. It may be evaluated several times; what an earlier run has read for an operation
 * is given back when a later one reads it anew.
 */
export class Gathered {
  readonly #budget: GatherBudget;
  readonly #bytes = new Map<RangeRequest, number>();
  #released = false;

  constructor(budget = ofProcess) {
    this.#budget = budget;
  }

  /** Called when nobody holds the rows any more; more than once does no harm. */
  release(): void {
    this.#released = true;
    for (const bytes of this.#bytes.values()) this.#budget.giveBack(bytes);
    this.#bytes.clear();
  }

  /** The rows of a range, as `find` gives them. */
  find(tree: Tree, request: RangeRequest, at: number, extra: number): MaybePromise<Found> {
    if (!isCounted(request)) return find(tree, request, at, extra);
    if (this.#released) throw new DbError("canceled");
    this.#budget.giveBack(this.#bytes.get(request) ?? 0);
    this.#bytes.set(request, 0);
    const range = keyRange(request.key, request.rangeEnd);
    const limit = scanLimit(request, extra);
    const walk = tree.walk(range, at, isBackwards(request));
    // In one turn with the first page: a compaction may pass before the last one.
    const count = limit > 0 ? tree.count(KEYS, range, at) : null;
    const gathering: Gathering = { request, walk, limit, rows: [] };
    const wait = this.#read(gathering);
    if (wait === null && !isPromise(count)) return found(gathering, count);
    return this.#readLater(gathering, wait, count);
  }

  async #readLater(gathering: Gathering, first: Promise<Version[]> | null, count: MaybePromise<number> | null) {
    // What fails while pages are read is met when it is awaited.
    if (isPromise(count)) count.catch(() => {});
    // Each page gets further, to the end of the range or of the budget.
    for (let wait = first; wait !== null; ) {
      const page = await wait;
      if (this.#released) throw new DbError("canceled");
      wait = this.#take(gathering, page) ? null : this.#read(gathering);
    }
    return found(gathering, await count);
  }

  /** Reads as far as pages are at hand; null: to the end. */
  #read(gathering: Gathering): Promise<Version[]> | null {
    const { walk, limit, rows } = gathering;
    for (;;) {
      const page = walk.next(limit === 0 ? PAGE_ROWS : Math.min(PAGE_ROWS, limit - rows.length), PAGE_BYTES);
      if (isPromise(page)) return page;
      if (this.#take(gathering, page)) return null;
    }
  }

  /** Whether that was all. */
  #take({ request, walk, limit, rows }: Gathering, page: Version[]): boolean {
    let bytes = page.length * ROW_OVERHEAD_BYTES;
    for (const { start, end } of page) bytes += end - start;
    this.#budget.take(bytes);
    this.#bytes.set(request, this.#bytes.get(request)! + bytes);
    for (const row of page) rows.push(row);
    return page.length === 0 || rows.length === limit || walk.ended;
  }
}

/** Runs a transaction; rows that it gathers are counted until whoever gets the answer releases them. */
export function counted(
  request: TxnRequest,
  run: (request: TxnRequest) => MaybePromise<TxnResult>,
): MaybePromise<TxnResult> {
  if (!gathers(request)) return run(request);
  const gathered = new Gathered();
  const release = (): void => gathered.release();
  const answered = (result: TxnResult): TxnResult => {
    result.release = release;
    return result;
  };
  const failed = (error: unknown): never => {
    release();
    throw error;
  };
  try {
    const answer = run({ ...request, gathered });
    return isPromise(answer) ? answer.then(answered, failed) : answered(answer);
  } catch (error) {
    return failed(error);
  }
}

interface Gathering {
  readonly request: RangeRequest;
  readonly walk: Walk;
  readonly limit: number;
  readonly rows: Version[];
}

const found = ({ rows, limit }: Gathering, count: number | null): Found => ({
  rows,
  count: limit === 0 || rows.length < limit ? rows.length : count!,
});

/** Whether a range may hold more than a few rows. */
const isCounted = ({ rangeEnd, countOnly, limit }: RangeRequest): boolean =>
  rangeEnd !== "" && !countOnly && !(limit > 0 && limit <= FEW_ROWS);

/** Whether it may gather more than a few rows. */
const gathers = (txn: TxnRequest): boolean =>
  txn.plain === undefined && (txn.success.some(opGathers) || txn.failure.some(opGathers));

const opGathers = (op: RequestOp): boolean => (op.kind === "range" ? isCounted(op) : op.kind === "txn" && gathers(op));
