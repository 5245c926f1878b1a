import { assert, unreachable } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import type { Random, Runtime } from "../runtime/runtime.ts";
import { ForwardingStore } from "./forwarding.ts";
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
import { LATE, sleep, within } from "./retry.ts";

export type Operation = "get" | "put" | "list" | "delete";

/** What may happen to a request. Reads that fail have, by contract, been tried again already: they throw. */
export type Fault =
  /** Nothing is done; the answer is lost (put: unknown, else storeUnavailable). */
  | { kind: "errorBefore" }
  /** It is done; the answer is lost. */
  | { kind: "errorAfter" }
  /** Nothing is done, and the store says so: throttled (retryable), or forbidden. */
  | { kind: "refused"; retryable: boolean }
  /** It is done `delayMs` later: when that is past the request's timeout, the answer is lost and the effect late. */
  | { kind: "delay"; delayMs: number }
  /** No answer, and never an effect. */
  | { kind: "hang" }
  /** A get's body ends after `bytes` bytes. */
  | { kind: "truncate"; bytes: number }
  /** A get's body has bit `bit` (counted over the whole body, modulo its size) inverted. */
  | { kind: "flip"; bit: number };

export interface FaultCall {
  readonly operation: Operation;
  /** The key, or a list's prefix. */
  readonly key: string;
  /** 0 for the first request of this store, and so on. */
  readonly number: number;
}

/** Decides what happens to a request; null: nothing out of the ordinary. */
export type FaultPlan = (call: FaultCall) => Fault | null;

export interface ScriptedFault {
  operation: Operation;
  /** Requests for keys that match; unset: all. */
  key?: RegExp;
  /** How many matching requests pass before this one strikes. */
  after?: number;
  fault: Fault;
}

/** Each scripted fault strikes once. The array may be appended to while the store is in use. */
export function scriptedFaults(script: ScriptedFault[]): FaultPlan {
  const passed = new Map<ScriptedFault, number>();
  return (call) => {
    for (const [index, step] of script.entries()) {
      if (step.operation !== call.operation || (step.key && !step.key.test(call.key))) continue;
      const before = passed.get(step) ?? 0;
      passed.set(step, before + 1);
      if (before < (step.after ?? 0)) continue;
      script.splice(index, 1);
      return step.fault;
    }
    return null;
  };
}

/** Probability of each kind of fault for a request that it can strike; their sum is at most 1. */
export type FaultRates = Partial<Record<Fault["kind"], number>> & { delayMsMax?: number };

/** Faults drawn from `random`: the same seed gives the same faults for the same requests. */
export function seededFaults(random: Pick<Random, "uint32" | "float">, rates: FaultRates): FaultPlan {
  const kinds = ["errorBefore", "errorAfter", "refused", "delay", "hang", "truncate", "flip"] as const;
  assert(kinds.reduce((sum, kind) => sum + (rates[kind] ?? 0), 0) <= 1, "the rates of faults sum up to at most 1");
  return (call) => {
    let draw = random.float();
    for (const kind of kinds) {
      draw -= rates[kind] ?? 0;
      if (draw >= 0) continue;
      if ((kind === "truncate" || kind === "flip") && call.operation !== "get") return null;
      return faultOf(kind, random, rates.delayMsMax ?? 1000);
    }
    return null;
  };
}

function faultOf(kind: Fault["kind"], random: Pick<Random, "uint32" | "float">, delayMsMax: number): Fault {
  switch (kind) {
    case "refused":
      return { kind, retryable: true };
    case "delay":
      return { kind, delayMs: random.float() * delayMsMax };
    case "truncate":
      return { kind, bytes: random.uint32() % 4096 };
    case "flip":
      return { kind, bit: random.uint32() };
    case "errorBefore":
    case "errorAfter":
    case "hang":
      return { kind };
    default:
      return unreachable(kind);
  }
}

/** A store whose requests fail as a plan says: for tests and simulation. */
export class FaultyStore extends ForwardingStore {
  readonly #runtime: Pick<Runtime, "timers">;
  readonly #plan: FaultPlan;
  readonly #late = new Set<Promise<unknown>>();
  #requests = 0;

  constructor(inner: ObjectStore, runtime: Pick<Runtime, "timers">, plan: FaultPlan) {
    super(inner);
    this.#runtime = runtime;
    this.#plan = plan;
  }

  override async get(key: ObjectKey, options: GetOptions): Promise<StoredObject | null> {
    const fault = this.#fault("get", key, options);
    const object = await this.#read(`get ${key}`, fault, options, (request) =>
      this.inner.get(key, { ...options, ...request }),
    );
    if (object && fault?.kind === "truncate") return { ...object, body: object.body.subarray(0, fault.bytes) };
    if (object && fault?.kind === "flip" && object.body.length > 0) {
      const bit = fault.bit % (object.body.length * 8);
      object.body[bit >>> 3]! ^= 1 << (bit & 7);
    }
    return object;
  }

  override list(prefix: string, options: ListOptions): Promise<ListPage> {
    const fault = this.#fault("list", prefix, options);
    return this.#read(`list ${prefix}`, fault, options, (request) =>
      this.inner.list(prefix, { ...options, ...request }),
    );
  }

  override delete(key: ObjectKey, options: RequestOptions): Promise<void> {
    const fault = this.#fault("delete", key, options);
    return this.#read(`delete ${key}`, fault, options, (request) => this.inner.delete(key, request));
  }

  override async put(key: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    const fault = this.#fault("put", key, options);
    const lost = (why: string): PutOutcome => ({ kind: "unknown", cause: new Error(`put ${key}: ${why} (injected)`) });
    switch (fault?.kind) {
      case "errorBefore":
        return lost("connection reset");
      case "errorAfter":
        await this.inner.put(key, body, options);
        return lost("connection reset");
      case "refused": {
        const cause = new Error(`put ${key}: ${fault.retryable ? "slow down" : "access denied"} (injected)`);
        return { kind: "refused", cause, retryable: fault.retryable };
      }
      case "hang":
      case "delay": {
        const copy = Buffer.from(body);
        const request = { ...unbounded, condition: options.condition };
        const done = await this.#slow(fault, options, () => this.inner.put(key, copy, request));
        return done === LATE ? lost("no answer in time") : done;
      }
      default:
        return this.inner.put(key, body, options);
    }
  }

  /** Resolves when every delayed effect has taken place. */
  async settled(): Promise<void> {
    while (this.#late.size > 0) await Promise.allSettled([...this.#late]);
  }

  #fault(operation: Operation, key: string, options: RequestOptions): Fault | null {
    const fault = this.#plan({ operation, key, number: this.#requests++ });
    // Who has given up before it began reaches no store that could fail.
    return options.signal?.aborted ? null : fault;
  }

  async #read<T>(
    what: string,
    fault: Fault | null,
    options: RequestOptions,
    run: (request: RequestOptions) => Promise<T>,
  ): Promise<T> {
    const lost = () =>
      options.signal?.aborted
        ? new DbError("canceled", `${what}: given up by the caller`)
        : new DbError("storeUnavailable", `${what}: no answer (injected)`);
    switch (fault?.kind) {
      case "errorBefore":
        throw lost();
      case "errorAfter":
        await run(options);
        throw lost();
      case "refused":
        throw fault.retryable ? lost() : new DbError("storeRefused", `${what}: access denied (injected)`);
      case "hang":
      case "delay": {
        const done = await this.#slow(fault, options, () => run(unbounded));
        if (done === LATE) throw lost();
        return done;
      }
      default:
        return run(options);
    }
  }

  #slow<T>(
    fault: Fault & { kind: "hang" | "delay" },
    options: RequestOptions,
    run: () => Promise<T>,
  ): Promise<T | typeof LATE> {
    if (fault.kind === "hang") return within(this.#runtime, options, new Promise<never>(() => {}));
    const effect = sleep(this.#runtime, fault.delayMs).then(run);
    this.#late.add(effect);
    const forget = () => this.#late.delete(effect);
    effect.then(forget, forget);
    return within(this.#runtime, options, effect);
  }
}

/** A delayed effect is not bound by the request that it outlives. */
const unbounded: RequestOptions = { timeoutMs: 60_000 };
