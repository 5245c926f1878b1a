import { isPromise } from "../base/maybe-promise.ts";
import type { Clock } from "../runtime/runtime.ts";
import type { Routes, StreamHandler, StreamTraffic, UnaryHandler } from "../transport/transport.ts";
import { doublingBounds, Histogram } from "./histogram.ts";

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
/** etcd's bounds for both: 0.1 ms to 52 s. */
const APPLY_BOUNDS_S = doublingBounds(0.0001, 20);

/** By whether it succeeded. */
export class Outcomes {
  readonly succeeded = new Histogram(APPLY_BOUNDS_S);
  readonly failed = new Histogram(APPLY_BOUNDS_S);
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
  readonly #clock: Clock;
  readonly #extensive: boolean;

  constructor(clock: Clock, extensive: boolean) {
    this.#clock = clock;
    this.#extensive = extensive;
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
    const timings = this.#extensive ? new Histogram(BOUNDS_S) : null;
    if (timings !== null) this.timings.set(path, timings);
    return outcomes === null && timings === null ? handler : this.#timed(handler, outcomes, timings);
  }

  #timed(handler: UnaryHandler, outcomes: Outcomes | null, timings: Histogram | null): UnaryHandler {
    const observe = (startedMs: number, succeeded: boolean): void => {
      const tookMs = this.#clock.monotonicMs() - startedMs;
      (succeeded ? outcomes?.succeeded : outcomes?.failed)?.observeMs(tookMs);
      timings?.observeMs(tookMs);
    };
    return (message, call) => {
      const startedMs = this.#clock.monotonicMs();
      try {
        const answer = handler(message, call);
        // Beside the answer's way, which gets no longer by it.
        if (isPromise(answer)) {
          answer.then(
            () => observe(startedMs, true),
            () => observe(startedMs, false),
          );
        } else observe(startedMs, true);
        return answer;
      } catch (error) {
        observe(startedMs, false);
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
