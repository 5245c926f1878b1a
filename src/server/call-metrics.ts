import { isPromise } from "../base/maybe-promise.ts";
import type { Clock } from "../runtime/runtime.ts";
import type { Routes, StreamHandler, StreamTraffic, UnaryHandler } from "../transport/transport.ts";
import { Histogram } from "./histogram.ts";

/** The bounds of grpc's own metrics. */
const BOUNDS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/**
 * What is counted around the handlers: messages of streams, and, with --metrics=extensive, how long unary calls took
 * (grpc_server_handling_seconds).
 */
export class CallMetrics {
  /** By path. */
  readonly traffic = new Map<string, StreamTraffic>();
  readonly timings = new Map<string, Histogram>();
  readonly #clock: Clock;
  readonly #extensive: boolean;

  constructor(clock: Clock, extensive: boolean) {
    this.#clock = clock;
    this.#extensive = extensive;
  }

  around({ unary, streams }: Pick<Routes, "unary" | "streams">): Pick<Routes, "unary" | "streams"> {
    return {
      unary: this.#extensive ? new Map([...unary].map(([path, handler]) => [path, this.#timed(path, handler)])) : unary,
      streams: new Map([...streams].map(([path, handler]) => [path, this.#counted(path, handler)])),
    };
  }

  #timed(path: string, handler: UnaryHandler): UnaryHandler {
    const histogram = new Histogram(BOUNDS_S);
    this.timings.set(path, histogram);
    return (message, call) => {
      const startedMs = this.#clock.monotonicMs();
      const observe = (): void => histogram.observeMs(this.#clock.monotonicMs() - startedMs);
      try {
        const answer = handler(message, call);
        if (isPromise(answer)) return answer.finally(observe);
        observe();
        return answer;
      } catch (error) {
        observe();
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
