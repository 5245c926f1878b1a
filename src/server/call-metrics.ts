import { isPromise } from "../base/maybe-promise.ts";
import type { Clock } from "../runtime/runtime.ts";
import type { Call, Routes, StreamHandler, StreamTraffic, UnaryHandler } from "../transport/transport.ts";
import { doublingBounds, Histogram } from "./histogram.ts";
import type { SlowCalls } from "./slow-calls.ts";

/** The bounds of grpc's own metrics. */
const BOUNDS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** What changes the store, by the name that etcd_server_apply_duration_seconds has for it. */
const WRITES: Readonly<Record<string, string>> = {
  "/etcdserverpb.KV/Put": "Put",
  "/etcdserverpb.KV/DeleteRange": "DeleteRange",
  "/etcdserverpb.KV/Txn": "Txn",
  "/etcdserverpb.KV/Compact": "Compaction",
  "/etcdserverpb.Lease/LeaseGrant": "LeaseGrant",
  "/etcdserverpb.Lease/LeaseRevoke": "LeaseRevoke",
};
const RANGE = "/etcdserverpb.KV/Range";
/** What goes through all that is stored, with the metric that times it and etcd's bounds of that. */
const LONG_WORK: Readonly<Record<string, { name: string; help: string; boundsS: readonly number[] }>> = {
  "/etcdserverpb.Maintenance/Hash": {
    name: "etcd_mvcc_hash_duration_seconds",
    help: "Hashes of all that is stored",
    boundsS: doublingBounds(0.01, 15),
  },
  "/etcdserverpb.Maintenance/HashKV": {
    name: "etcd_mvcc_hash_rev_duration_seconds",
    help: "Hashes of all keys at a revision",
    boundsS: doublingBounds(0.01, 15),
  },
  "/etcdserverpb.Maintenance/Defragment": {
    name: "etcd_disk_backend_defrag_duration_seconds",
    help: "Merging of all that can be merged",
    boundsS: doublingBounds(0.1, 13),
  },
};
/** etcd's bounds for both: 0.1 ms to 52 s. */
const APPLY_BOUNDS_S = doublingBounds(0.0001, 20);

/** By whether it succeeded. */
export class Outcomes {
  readonly succeeded: Histogram;
  readonly failed: Histogram;

  constructor(boundsS: readonly number[] = APPLY_BOUNDS_S) {
    this.succeeded = new Histogram(boundsS);
    this.failed = new Histogram(boundsS);
  }
}

/**
 * What is counted around the handlers: messages of streams, how long writes and ranges took, and, with
 * --metrics=extensive, every unary call (grpc_server_handling_seconds).
 */
export class CallMetrics {
  /** By path. */
  readonly traffic = new Map<string, StreamTraffic>();
  readonly timings = new Map<string, Histogram>();
  /** From a write's arrival until it is durable, by its name. */
  readonly applied = new Map<string, Outcomes>();
  readonly ranges = new Outcomes();
  /** Of what succeeded, by the metric's name. */
  readonly longWork = new Map<string, { readonly help: string; readonly timings: Histogram }>();
  /** How long leases were granted for: 1 s to 97 days, etcd's bounds. */
  readonly leaseTtls = new Histogram(doublingBounds(1, 24));
  /** What the checks of /livez and /readyz found. */
  readonly checks = new Map<string, { type: string; name: string; passed: boolean; success: number; error: number }>();
  readonly #clock: Clock;
  readonly #extensive: boolean;
  readonly #slow: SlowCalls | null;
  /** When the branch of a call that had to wait for it was open. */
  readonly #openedMs = new WeakMap<object, number>();

  /** `slow` tells of unary calls that took too long. */
  constructor(clock: Clock, { extensive, slow = null }: { extensive: boolean; slow?: SlowCalls | null }) {
    this.#clock = clock;
    this.#extensive = extensive;
    this.#slow = slow;
  }

  /** The call's branch is open now: that it was not is no fault of the call. */
  branchOpened(call: object): void {
    this.#openedMs.set(call, this.#clock.monotonicMs());
  }

  checked({ type, name, passed }: { type: string; name: string; passed: boolean }): void {
    const key = `${type} ${name}`;
    const before = this.checks.get(key) ?? { type, name, passed, success: 0, error: 0 };
    before.passed = passed;
    before[passed ? "success" : "error"]++;
    this.checks.set(key, before);
  }

  around({ unary, streams }: Pick<Routes, "unary" | "streams">): Pick<Routes, "unary" | "streams"> {
    return {
      unary: new Map([...unary].map(([path, handler]) => [path, this.#around(path, handler)])),
      streams: new Map([...streams].map(([path, handler]) => [path, this.#counted(path, handler)])),
    };
  }

  #around(path: string, handler: UnaryHandler): UnaryHandler {
    let outcomes = path === RANGE ? this.ranges : null;
    const operation = WRITES[path];
    if (operation !== undefined) {
      outcomes = new Outcomes();
      this.applied.set(operation, outcomes);
    }
    const long = LONG_WORK[path];
    if (long !== undefined) {
      const { name, help, boundsS } = long;
      outcomes = new Outcomes(boundsS);
      this.longWork.set(name, { help, timings: outcomes.succeeded });
    }
    const timings = this.#extensive ? new Histogram(BOUNDS_S) : null;
    if (timings !== null) this.timings.set(path, timings);
    const untimed = outcomes === null && timings === null && this.#slow === null;
    return untimed ? handler : this.#timed(handler, outcomes, timings);
  }

  #timed(handler: UnaryHandler, outcomes: Outcomes | null, timings: Histogram | null): UnaryHandler {
    const slow = this.#slow;
    const observe = (startedMs: number, succeeded: boolean, call: Call, requestBytes: number): void => {
      const tookMs = this.#clock.monotonicMs() - startedMs;
      (succeeded ? outcomes?.succeeded : outcomes?.failed)?.observeMs(tookMs);
      timings?.observeMs(tookMs);
      if (!slow?.isSlow(tookMs)) return;
      const servedMs = tookMs - Math.max(0, (this.#openedMs.get(call) ?? startedMs) - startedMs);
      if (slow.isSlow(servedMs)) slow.tell(call, { tookMs: servedMs, requestBytes, failed: !succeeded });
    };
    return (message, call) => {
      const startedMs = this.#clock.monotonicMs();
      // Not the message: until the answer that would pin what it was read into.
      const requestBytes = message.length;
      try {
        const answer = handler(message, call);
        // Beside the answer's way, which gets no longer by it.
        if (isPromise(answer)) {
          answer.then(
            () => observe(startedMs, true, call, requestBytes),
            () => observe(startedMs, false, call, requestBytes),
          );
        } else observe(startedMs, true, call, requestBytes);
        return answer;
      } catch (error) {
        observe(startedMs, false, call, requestBytes);
        throw error;
      }
    };
  }

  #counted(path: string, handler: StreamHandler): StreamHandler {
    const traffic: StreamTraffic = { received: 0, sent: 0 };
    this.traffic.set(path, traffic);
    return (stream) => {
      stream.traffic = traffic;
      handler(stream);
    };
  }
}
