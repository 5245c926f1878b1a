import { readGrpcTimeout } from "../../base/grpc-timeout.ts";
import type { Call, HttpRequest } from "../../transport/transport.ts";
import type { ServiceTimers } from "../settings.ts";

export interface CallSurroundings {
  readonly timers: Pick<ServiceTimers, "set">;
  readonly monotonicMs: () => number;
  /** Told of what those who wait for a call's end throw. */
  readonly onBug: (error: unknown) => void;
}

const METADATA_PREFIX = "grpc-metadata-";

/**
 * A request to the gateway, as the method that it is for sees it. Its metadata are the header fields Grpc-Metadata-…,
 * Authorization, which is the token, and Origin, by which a browser says which page asks. A client certificate's name
 * is not passed on: as in etcd it logs nobody in here.
 */
export class GatewayCall implements Call {
  readonly path: string;
  readonly authority: string;
  readonly remoteAddress: string;
  readonly peer = null;
  readonly label: string | undefined;
  readonly takesPieces = true;
  /** Grpc-Timeout was sent, and is none. */
  readonly timeoutMalformed: boolean;
  protected readonly request: HttpRequest;
  readonly #surroundings: CallSurroundings;
  readonly #deadlineMs: number | undefined;
  #timer: { cancel(): void } | null = null;
  #cancelled = false;
  #over = false;
  #handlers: (() => void)[] = [];
  /** Called once, when the deadline passes before the call is over. */
  onExpired: () => void = () => {};

  constructor(path: string, request: HttpRequest, surroundings: CallSurroundings) {
    this.path = path;
    this.request = request;
    this.authority = request.headers.get("host") ?? "";
    this.remoteAddress = request.remoteAddress;
    this.label = request.label;
    this.#surroundings = surroundings;
    const timeout = request.headers.get("grpc-timeout");
    const timeoutMs = timeout === undefined ? undefined : readGrpcTimeout(timeout);
    this.timeoutMalformed = timeout !== undefined && timeoutMs === undefined;
    this.#deadlineMs = timeoutMs === undefined ? undefined : surroundings.monotonicMs() + timeoutMs;
    if (timeoutMs !== undefined) this.#timer = surroundings.timers.set(timeoutMs, () => this.#expire());
    request.onGone?.(() => this.cancel());
  }

  /** Its answer is decided, or nobody waits for one any more. */
  get isOver(): boolean {
    return this.#over || this.#cancelled;
  }

  metadata(name: string): string | undefined {
    // Nobody's to say otherwise.
    if (name === "origin") return this.request.headers.get(name);
    const own = this.request.headers.get(METADATA_PREFIX + name);
    if (own !== undefined) return own;
    const authorization = this.request.headers.get("authorization");
    if (name === "authorization") return authorization;
    return name === "token" ? authorization?.replace(/^Bearer +/i, "") : undefined;
  }

  timeLeftMs(): number | undefined {
    return this.#deadlineMs === undefined
      ? undefined
      : Math.max(0, this.#deadlineMs - this.#surroundings.monotonicMs());
  }

  onCancel(handler: () => void): void {
    if (this.#cancelled) handler();
    else this.#handlers.push(handler);
  }

  /** The answer is decided: nobody is told of anything any more. */
  finish(): void {
    this.#over = true;
    this.#timer?.cancel();
    this.#handlers = [];
  }

  cancel(): void {
    if (!this.#over && !this.#cancelled) this.#tell();
  }

  #expire(): void {
    if (this.#over || this.#cancelled) return;
    const tell = this.#handlers;
    this.#handlers = [];
    this.#cancelled = true;
    this.#callAll([() => this.onExpired(), ...tell]);
  }

  #tell(): void {
    this.#cancelled = true;
    this.#timer?.cancel();
    const handlers = this.#handlers;
    this.#handlers = [];
    this.#callAll(handlers);
  }

  #callAll(handlers: readonly (() => void)[]): void {
    for (const handler of handlers) {
      try {
        handler();
      } catch (error) {
        this.#surroundings.onBug(error);
      }
    }
  }
}
