import { isDbError } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import type { Clock } from "../runtime/runtime.ts";
import type { Operation } from "./faulty.ts";
import { ForwardingStore } from "./forwarding.ts";
import { type ObjectKind, parseKey } from "./keys.ts";
import type {
  GetOptions,
  ListOptions,
  ListPage,
  ObjectStore,
  PutOptions,
  PutOutcome,
  RequestOptions,
  StoredObject,
} from "./objects.ts";

/** `missing`: a get of what is not there. `failed`: a read, list or delete that threw. */
export type Outcome = "done" | "missing" | "preconditionFailed" | "unknown" | "refused" | "failed";

/** A list is counted under the kind of the first object it gave. */
export type MeteredKind = ObjectKind | "other";

/** Upper bounds, ms, of the classes that requests are counted in by their time; the last class is open. */
export const timeBoundsMs: readonly number[] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];

/** All requests of one operation, kind of object and outcome. */
export interface RequestSeries {
  readonly operation: Operation;
  readonly object: MeteredKind;
  readonly outcome: Outcome;
  count: number;
  /** Of bodies written or read. */
  bytes: number;
  sumMs: number;
  /** One more than `timeBoundsMs`. */
  readonly counts: number[];
}

/**
 * Counts what goes through to a store. A request here is a call with all its tries; what a store sends over the network
 * is counted by the store itself.
 */
export class MeteredStore extends ForwardingStore {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #series = new Map<string, RequestSeries>();
  #inFlight = 0;

  constructor(inner: ObjectStore, clock: Pick<Clock, "monotonicMs">) {
    super(inner);
    this.#clock = clock;
  }

  /** At most one series for each of the closed sets' combinations. */
  series(): Iterable<Readonly<RequestSeries>> {
    return this.#series.values();
  }

  get requestsInFlight(): number {
    return this.#inFlight;
  }

  override get(key: ObjectKey, options: GetOptions): Promise<StoredObject | null> {
    return this.#measure("get", this.inner.get(key, options), (object) => ({
      kind: kindOf(key),
      outcome: object === null ? "missing" : "done",
      bytes: object?.body.length ?? 0,
    }));
  }

  override put(key: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    const bytes = body.length;
    return this.#measure("put", this.inner.put(key, body, options), (outcome) => ({
      kind: kindOf(key),
      outcome: outcome?.kind === "written" ? "done" : (outcome?.kind ?? "failed"),
      bytes: outcome?.kind === "written" ? bytes : 0,
    }));
  }

  override list(prefix: string, options: ListOptions): Promise<ListPage> {
    return this.#measure("list", this.inner.list(prefix, options), (page) => ({
      kind: kindOf(page?.objects[0]?.key ?? prefix),
      outcome: "done",
      bytes: 0,
    }));
  }

  override delete(key: ObjectKey, options: RequestOptions): Promise<void> {
    return this.#measure("delete", this.inner.delete(key, options), () => ({
      kind: kindOf(key),
      outcome: "done",
      bytes: 0,
    }));
  }

  async #measure<T>(
    operation: Operation,
    call: Promise<T>,
    judge: (answer: T | null) => { kind: MeteredKind; outcome: Outcome; bytes: number },
  ): Promise<T> {
    const startMs = this.#clock.monotonicMs();
    this.#inFlight++;
    try {
      const answer = await call;
      const { kind, outcome, bytes } = judge(answer);
      this.#count(operation, kind, outcome, bytes, startMs);
      return answer;
    } catch (error) {
      this.#count(operation, judge(null).kind, isDbError(error, "storeRefused") ? "refused" : "failed", 0, startMs);
      throw error;
    } finally {
      this.#inFlight--;
    }
  }

  #count(operation: Operation, object: MeteredKind, outcome: Outcome, bytes: number, startMs: number): void {
    const elapsedMs = this.#clock.monotonicMs() - startMs;
    const id = `${operation} ${object} ${outcome}`;
    let series = this.#series.get(id);
    if (!series) {
      const counts = new Array<number>(timeBoundsMs.length + 1).fill(0);
      series = { operation, object, outcome, count: 0, bytes: 0, sumMs: 0, counts };
      this.#series.set(id, series);
    }
    series.count++;
    series.bytes += bytes;
    series.sumMs += elapsedMs;
    const place = timeBoundsMs.findIndex((bound) => elapsedMs <= bound);
    series.counts[place < 0 ? timeBoundsMs.length : place]! += 1;
  }
}

const kindOf = (key: string): MeteredKind => parseKey(key)?.kind ?? "other";
