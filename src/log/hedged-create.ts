import type { ObjectKey } from "../base/ids.ts";
import type { ObjectStore, PutOutcome, RequestOptions } from "../objects/objects.ts";
import { Patience } from "../objects/patience.ts";
import { LATE, type RetryRuntime, sleep } from "../objects/retry.ts";

const HEDGE_MS_MIN = 500;

export interface HedgedOutcome {
  readonly outcome: PutOutcome;
  /** There was one request only, which is over: nothing reads the bytes any more. */
  readonly alone: boolean;
}

/**
 * Creates objects with a second request where the first one gets no answer in the time that is usual: of many requests
 * to an object store now and then one is stuck for seconds while its neighbours take milliseconds, and everything
 * behind a stuck segment would wait for it.
 *
 * 1. Both carry the same bytes under the same name, if nothing is there: whichever is applied, and whenever, it is the
 *    same object. The second to come is told `preconditionFailed`, which the caller resolves by reading.
 * 2. What is usual is measured: where all requests are slow (a thin line, large segments), nothing is sent twice.
 * 3. A store of this machine has one disk behind it, and gets one request.
 */
export class HedgedCreate {
  readonly #store: ObjectStore;
  readonly #runtime: RetryRuntime;
  readonly #patience = new Patience(HEDGE_MS_MIN);

  constructor(store: ObjectStore, runtime: RetryRuntime) {
    this.#store = store;
    this.#runtime = runtime;
  }

  /** The first answer that tells what the object is, else what is known when none did. */
  async create(key: ObjectKey, body: Uint8Array, options: RequestOptions): Promise<HedgedOutcome> {
    if (this.#store.local) return { outcome: await this.#put(key, body, options), alone: true };
    // Ends the pause or the request that is not needed any more. One that is given up may be applied at any later time.
    const ending = new AbortController();
    const end = () => ending.abort();
    options.signal?.addEventListener("abort", end);
    if (options.signal?.aborted) end();
    const request = { timeoutMs: options.timeoutMs, signal: ending.signal };
    try {
      const first = this.#put(key, body, request);
      const pause = sleep(this.#runtime, this.#patience.ms, ending.signal).then((): typeof LATE => LATE);
      const early = await Promise.race([first, pause]);
      if (early !== LATE) return { outcome: early, alone: true };
      const second = this.#put(key, body, request);
      return { outcome: await decisive(first, second), alone: false };
    } finally {
      options.signal?.removeEventListener("abort", end);
      end();
    }
  }

  async #put(key: ObjectKey, body: Uint8Array, request: RequestOptions): Promise<PutOutcome> {
    const { clock } = this.#runtime;
    const sentMs = clock.monotonicMs();
    const outcome = await this.#store.put(key, body, { ...request, condition: { kind: "absent" } });
    if (outcome.kind === "written") this.#patience.answered(clock.monotonicMs() - sentMs);
    return outcome;
  }
}

/** Of two outcomes the first that says what there is; where neither does, the one that promises less. */
async function decisive(first: Promise<PutOutcome>, second: Promise<PutOutcome>): Promise<PutOutcome> {
  const early = await Promise.race([first, second]);
  if (tells(early)) return early;
  const [one, other] = await Promise.all([first, second]);
  if (tells(one)) return one;
  if (tells(other)) return other;
  return one.kind === "unknown" ? one : other;
}

const tells = ({ kind }: PutOutcome): boolean => kind === "written" || kind === "preconditionFailed";
