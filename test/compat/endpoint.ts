/** Raw gRPC calls, bytes in and out: what the three runners have in common. */
export interface Endpoint {
  unary(path: string, message: Uint8Array, metadata?: Record<string, string>): Promise<Uint8Array>;
  stream(path: string, metadata?: Record<string, string>): RawStream;
  close(): Promise<void>;
}

export interface RawStream {
  send(message: Uint8Array): void;
  halfClose(): void;
  cancel(): void;
  /**
   * The next message, or null at the end with OK; rejects with an RpcFailure at any other end, and after
   * `timeoutMs`.
   */
  next(timeoutMs?: number): Promise<Uint8Array | null>;
}

/** A call's status other than OK. */
export class RpcFailure extends Error {
  override readonly name = "RpcFailure";
  readonly code: number;
  readonly text: string;

  constructor(code: number, text: string) {
    super(`[${code}] ${text}`);
    this.code = code;
    this.text = text;
  }
}

const NEXT_TIMEOUT_MS = 5000;

/** Messages that have arrived, for one reader to take in order. */
export class Inbox {
  readonly #messages: Uint8Array[] = [];
  #end: { failure: RpcFailure | null } | null = null;
  #wake: (() => void) | null = null;

  push(message: Uint8Array): void {
    this.#messages.push(message);
    this.#wake?.();
  }

  end(failure: RpcFailure | null): void {
    this.#end ??= { failure };
    this.#wake?.();
  }

  async next(timeoutMs = NEXT_TIMEOUT_MS): Promise<Uint8Array | null> {
    const deadline = AbortSignal.timeout(timeoutMs);
    while (this.#messages.length === 0 && this.#end === null) {
      if (deadline.aborted) throw new Error(`no message within ${timeoutMs} ms`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        deadline.addEventListener("abort", () => resolve(), { once: true });
      });
    }
    this.#wake = null;
    const message = this.#messages.shift();
    if (message !== undefined) return message;
    if (this.#end?.failure) throw this.#end.failure;
    return null;
  }
}
