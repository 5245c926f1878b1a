import { assert } from "../../src/base/assert.ts";
import { DbError } from "../../src/base/errors.ts";
import type { ObjectKey } from "../../src/base/ids.ts";
import {
  type GetOptions,
  LIST_LIMIT_MAX,
  type ListOptions,
  type ListPage,
  type ObjectStore,
  type PutOptions,
  type PutOutcome,
  type RequestOptions,
  type StoredObject,
} from "../../src/objects/objects.ts";
import { rangeOf } from "../../src/objects/range.ts";
import { SimBucket } from "./bucket.ts";
import { fingerprint, type SimNode } from "./node.ts";
import type { SimRandom } from "./random.ts";
import { type Simulation, START_WALL_MS } from "./simulation.ts";

/** What goes wrong with requests; each a probability of one request. A scenario changes them as it goes. */
export interface StoreFaults {
  /** An error comes back and nothing was done. Who put cannot know that. */
  errorBefore: number;
  /** It was done, and an error comes back: a response lost on the way. */
  errorAfter: number;
  /** Nothing comes back; done or not. */
  silence: number;
  /** Done only after the caller has given up waiting: seconds to hours later. Nothing comes back. */
  late: number;
  /** Refused as too many: certainly not done. */
  throttled: number;
  /** Takes up to `slowMsMax`. */
  slow: number;
  slowMsMax: number;
}

export const noStoreFaults: StoreFaults = {
  errorBefore: 0,
  errorAfter: 0,
  silence: 0,
  late: 0,
  throttled: 0,
  slow: 0,
  slowMsMax: 0,
};

export const someStoreFaults: StoreFaults = {
  errorBefore: 0.03,
  errorAfter: 0.03,
  silence: 0.02,
  late: 0.03,
  throttled: 0.02,
  slow: 0.05,
  slowMsMax: 3000,
};

/** The name of the store as an end of SimNetwork.cut. */
export const STORE_HOST = "bucket";

const RETRY_MS = 50;
/** So many attempts at reading that get no answer fit into the time of a call. */
const ATTEMPTS_OF_SILENCE = 4;

/** An object storage with one bucket, and a way to it for each process. */
export class SimStorage {
  readonly simulation: Simulation;
  readonly bucket: SimBucket;
  readonly random: SimRandom;
  readonly faults: StoreFaults;
  /**
   * Of a request from sending to its effect; a response takes a part of it. By the seed: from a store in the rack to a
   * far one.
   */
  readonly typicalMs: number;
  #outages = 0;

  constructor(simulation: Simulation, faults: StoreFaults = noStoreFaults) {
    this.simulation = simulation;
    this.random = simulation.random.fork("storage");
    this.bucket = new SimBucket(this.random.pick(["counter", "content"]));
    this.faults = { ...faults };
    this.typicalMs = this.random.pick([1, 5, 20, 60]);
  }

  storeOf(node: SimNode): ObjectStore {
    return new SimObjectStore(this, node);
  }

  /** No request gets through for a while. Those under way may take effect when it ends. */
  outage(durationMs: number): void {
    this.simulation.note(STORE_HOST, `outage of ${durationMs} ms`);
    this.#outages++;
    this.simulation.schedule(durationMs, null, "the outage of the bucket ends", () => this.#outages--);
  }

  reaches(node: SimNode): boolean {
    return this.#outages === 0 && !this.simulation.network.isCut(node.machine.name, STORE_HOST);
  }

  wallMs(): number {
    return Math.floor(START_WALL_MS + this.simulation.nowMs);
  }

  /** How long after its caller's timeout a late request may still take effect. */
  latenessMs(): number {
    return this.random.between(0, this.random.pick([100, 2000, 60_000, 3_600_000]));
  }
}

const noAnswer = Symbol("no answer");

type Fate = "normal" | "errorBefore" | "errorAfter" | "silence" | "late" | "throttled";

/**
 * The store as one process has it. Its requests outlive it: what it sent before it was killed may still take effect.
 */
class SimObjectStore implements ObjectStore {
  readonly name = "sim:bucket";
  readonly local = false;
  readonly #storage: SimStorage;
  readonly #simulation: Simulation;
  readonly #node: SimNode;
  readonly #random: SimRandom;
  #closed = false;

  constructor(storage: SimStorage, node: SimNode) {
    this.#storage = storage;
    this.#simulation = storage.simulation;
    this.#node = node;
    this.#random = storage.random.fork(node.name);
  }

  get(key: ObjectKey, options: GetOptions): Promise<StoredObject | null> {
    return this.#retried(`get ${key}`, options, () => {
      const object = this.#storage.bucket.objects.get(key);
      if (object === undefined) return null;
      const { start, end } = rangeOf(options.range, object.body.length);
      return { body: Buffer.from(object.body.subarray(start, end)), etag: object.etag, bytes: object.body.length };
    });
  }

  list(prefix: string, options: ListOptions): Promise<ListPage> {
    assert(options.limit >= 1 && options.limit <= LIST_LIMIT_MAX, "a page has 1 to 1000 objects");
    return this.#retried(`list ${prefix}`, options, () => {
      const { startAfter, limit } = options;
      const keys = this.#storage.bucket.keys(prefix).filter((key) => startAfter === undefined || key > startAfter);
      const objects = keys.slice(0, limit).map((key) => {
        const { body, modifiedMs } = this.#storage.bucket.objects.get(key)!;
        return { key: key as ObjectKey, bytes: body.length, modifiedMs };
      });
      return { objects, more: keys.length > limit };
    });
  }

  delete(key: ObjectKey, options: RequestOptions): Promise<void> {
    const apply = (): void => {
      this.#storage.bucket.delete(key, { atMs: this.#simulation.nowMs, by: this.#node.name });
    };
    if (!this.#random.chance(this.#storage.faults.late)) return this.#retried(`delete ${key}`, options, apply);
    this.#later(`delete ${key}, late`, this.#afterTimeoutMs(options), apply);
    return this.#retried<void>(`delete ${key}`, options, () => noAnswer);
  }

  put(key: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    assert(!this.#closed, "the store is open");
    if (options.signal?.aborted) return Promise.resolve({ kind: "refused", cause: canceled(), retryable: true });
    const label = `put ${key} (${options.condition.kind}), ${fingerprint(body)}`;
    const bytes = Buffer.from(body);
    const apply = (): PutOutcome => {
      const change = { atMs: this.#simulation.nowMs, by: this.#node.name, wallMs: this.#storage.wallMs() };
      const etag = this.#storage.bucket.put(key, bytes, options.condition, change);
      this.#simulation.note(STORE_HOST, `${label}: ${etag === null ? "precondition failed" : `written ${etag}`}`);
      return etag === null ? { kind: "preconditionFailed" } : { kind: "written", etag };
    };
    return new Promise((resolve) => {
      const unknown = (why: string): void => resolve({ kind: "unknown", cause: new Error(`${label}: ${why}`) });
      this.#withDeadline(
        label,
        options,
        (why) => unknown(why),
        (settle) => {
          const answer = (outcome: PutOutcome): void => this.#answer(label, () => settle(() => resolve(outcome)));
          const error = (why: string): void => this.#answer(label, () => settle(() => unknown(why)));
          this.#send(label, options, apply, { answer, error, throttled: () => answer(throttledOutcome(label)) });
        },
      );
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  /** One request that is not sent again. */
  #send(
    label: string,
    options: RequestOptions,
    apply: () => PutOutcome,
    to: { answer: (outcome: PutOutcome) => void; error: (why: string) => void; throttled: () => void },
  ): void {
    if (!this.#storage.reaches(this.#node)) {
      // Somewhere on the way it may be kept, and go on when the way is free again.
      if (this.#random.chance(0.3)) this.#later(`${label}, held up`, this.#afterTimeoutMs(options), apply);
      if (this.#random.chance(0.5)) this.#after(label, () => to.error("connection refused"));
      return;
    }
    const fate = this.#fate();
    if (fate === "late") {
      this.#later(`${label}, late`, this.#afterTimeoutMs(options), apply);
      return;
    }
    this.#later(label, this.#travelMs(), () => {
      if (fate === "throttled") return to.throttled();
      if (fate === "errorBefore") return to.error("500 before the effect");
      if (fate === "silence" && this.#random.chance(0.5)) return;
      const outcome = apply();
      if (fate === "errorAfter") return to.error("500 after the effect");
      if (fate !== "silence") to.answer(outcome);
    });
  }

  /** Something that may be done more than once: tried again until it succeeds or its time is up. */
  #retried<T>(label: string, options: RequestOptions, apply: () => T | typeof noAnswer): Promise<T> {
    assert(!this.#closed, "the store is open");
    if (options.signal?.aborted) return Promise.reject(canceled());
    return new Promise((resolve, reject) => {
      const fail = (why: string, aborted: boolean): void =>
        reject(aborted ? canceled() : new DbError("storeUnavailable", `${label}: ${why}`));
      const timeoutMs = this.#node.machine.trueMs(options.timeoutMs);
      this.#withDeadline(label, options, fail, (settle, settled) => {
        const again = (): void => {
          if (!settled())
            this.#simulation.schedule(this.#random.latencyMs(RETRY_MS), this.#node, `${label}, again`, attempt);
        };
        const attempt = (): void => {
          if (settled()) return;
          if (!this.#storage.reaches(this.#node)) {
            this.#after(label, again);
            return;
          }
          const fate = this.#fate();
          this.#later(label, this.#travelMs(), () => {
            if (fate === "errorBefore" || fate === "throttled") return this.#answer(label, again);
            const value = apply();
            if (value === noAnswer) return;
            if (fate === "errorAfter") return this.#answer(label, again);
            if (fate === "normal") return this.#answer(label, () => settle(() => resolve(value)));
            // Nothing comes back: an attempt is given up long before the whole call is.
            this.#simulation.schedule(timeoutMs / ATTEMPTS_OF_SILENCE, this.#node, `${label}, silence`, again);
          });
        };
        attempt();
      });
    });
  }

  /** Runs `begin`; the first of its `settle`, the timeout and the caller's signal decides. */
  #withDeadline(
    label: string,
    options: RequestOptions,
    fail: (why: string, aborted: boolean) => void,
    begin: (settle: (how: () => void) => void, settled: () => boolean) => void,
  ): void {
    assert(options.timeoutMs > 0, "a request has a time limit");
    let open = true;
    const settle = (how: () => void): void => {
      if (!open) return;
      open = false;
      deadline.cancelled = true;
      options.signal?.removeEventListener("abort", aborted);
      how();
    };
    const aborted = (): void => settle(() => fail("given up by the caller", true));
    const timeoutMs = this.#node.machine.trueMs(options.timeoutMs);
    const deadline = this.#simulation.schedule(timeoutMs, this.#node, `${label}: timeout`, () =>
      settle(() => fail(`no answer in ${options.timeoutMs} ms`, false)),
    );
    options.signal?.addEventListener("abort", aborted);
    if (this.#node.alive) begin(settle, () => !open);
  }

  /**
   * At the bucket, after `delayMs`. A process that was killed or stalled meanwhile may not have got it out: then it is
   * never done, or done when the process wakes.
   */
  #later(label: string, delayMs: number, run: () => void): void {
    const sentMs = this.#simulation.nowMs;
    const arrive = (): void => {
      const { alive, stalled, endedMs } = this.#node;
      const leftMs = sentMs + delayMs / 2;
      if (!alive && endedMs < leftMs && this.#random.chance(0.5)) return;
      if (alive && stalled && this.#random.chance(0.3)) {
        this.#simulation.schedule(0, this.#node, `${label}, sent after a stall`, run);
        return;
      }
      run();
    };
    this.#simulation.schedule(delayMs, null, `${STORE_HOST} gets ${label} of ${this.#node.name}`, arrive);
  }

  /** The response's way back, if there is one. */
  #answer(label: string, run: () => void): void {
    if (this.#storage.reaches(this.#node)) this.#after(`${label}: answer`, run);
  }

  #after(label: string, run: () => void): void {
    this.#simulation.schedule(this.#random.latencyMs(this.#storage.typicalMs / 3), this.#node, label, run);
  }

  #travelMs(): number {
    const { faults, typicalMs } = this.#storage;
    const slowMs = this.#random.chance(faults.slow) ? this.#random.between(0, faults.slowMsMax) : 0;
    return this.#random.latencyMs(typicalMs) + slowMs;
  }

  #afterTimeoutMs(options: RequestOptions): number {
    return this.#node.machine.trueMs(options.timeoutMs) + this.#storage.latenessMs();
  }

  #fate(): Fate {
    const { faults } = this.#storage;
    let left = this.#random.float();
    for (const fate of ["errorBefore", "errorAfter", "silence", "late", "throttled"] as const) {
      left -= faults[fate];
      if (left < 0) return fate;
    }
    return "normal";
  }
}

const throttledOutcome = (label: string): PutOutcome => {
  return { kind: "refused", cause: new Error(`${label}: 503 slow down`), retryable: true };
};

const canceled = (): DbError => new DbError("canceled", "sim: the request was given up by its caller");
