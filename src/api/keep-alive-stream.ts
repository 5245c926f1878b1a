import type { LeaseId } from "../base/ids.ts";
import { isPromise } from "../base/maybe-promise.ts";
import type { Encodable } from "../transport/transport.ts";
import type { CallCounts } from "./call-counts.ts";
import type { StreamCall } from "./stream-call.ts";
import { headerOf } from "./wire/headers.ts";
import { LeaseResponse } from "./wire/lease-responses.ts";
import { decodeLeaseId } from "./wire/other-requests.ts";

/** Keep-alives of a stream that wait for their answer; at this many no more are read. */
const PENDING_MAX = 128;

type Renewed = { readonly ttlSeconds: number; readonly revision: number };

/** LeaseKeepAlive. */
export function keepAlive(call: StreamCall, counts: Pick<CallCounts, "leasesRenewed">): void {
  const { stream } = call;
  const keepAlives = new KeepAliveStream(call, counts);
  stream.onMessage = (message) => call.guard(() => keepAlives.take(decodeLeaseId(message, "LeaseKeepAliveRequest")));
  stream.onDrain = () => call.guard(() => keepAlives.drained());
  stream.onHalfClose = () => call.guard(() => keepAlives.finish());
}

/** Answers leave in the order of their messages, though they may become ready in another (L4). */
class KeepAliveStream {
  readonly #call: StreamCall;
  readonly #counts: Pick<CallCounts, "leasesRenewed">;
  /** Null: not answered yet. */
  readonly #pending: { answer: Encodable | null }[] = [];
  #isFinished = false;
  #isBlocked = false;

  constructor(call: StreamCall, counts: Pick<CallCounts, "leasesRenewed">) {
    this.#call = call;
    this.#counts = counts;
  }

  take(id: LeaseId): void {
    const result = this.#call.database.leaseKeepAlive(id);
    if (isPromise(result)) this.#wait(id, result);
    else if (this.#pending.length > 0) this.#pending.push({ answer: this.#answer(id, result) });
    else this.#send(this.#answer(id, result));
    if (this.#mustStop) this.#call.stream.pauseMessages();
  }

  drained(): void {
    this.#isBlocked = false;
    this.#flow();
  }

  /** No more messages come. */
  finish(): void {
    this.#isFinished = true;
    this.#flush();
  }

  #wait(id: LeaseId, result: Promise<Renewed>): void {
    const place: { answer: Encodable | null } = { answer: null };
    this.#pending.push(place);
    result
      .then((renewed) => {
        place.answer = this.#answer(id, renewed);
        if (this.#call.ended) return;
        this.#flush();
        if (!this.#call.ended) this.#flow();
      })
      .catch((error: unknown) => this.#call.fail(error));
  }

  #answer(id: LeaseId, { ttlSeconds, revision }: Renewed): Encodable {
    if (ttlSeconds > 0) this.#counts.leasesRenewed++;
    return new LeaseResponse(headerOf(this.#call.database), { revision, id, ttlSeconds });
  }

  #flush(): void {
    let ready = 0;
    for (; ready < this.#pending.length && this.#pending[ready]!.answer !== null; ready++) {
      this.#send(this.#pending[ready]!.answer!);
    }
    if (ready > 0) this.#pending.splice(0, ready);
    if (this.#isFinished && this.#pending.length === 0) this.#call.end();
  }

  #send(answer: Encodable): void {
    if (!this.#call.stream.send(answer)) this.#isBlocked = true;
  }

  get #mustStop(): boolean {
    return this.#isBlocked || this.#pending.length >= PENDING_MAX;
  }

  #flow(): void {
    if (this.#mustStop) this.#call.stream.pauseMessages();
    else this.#call.stream.resumeMessages();
  }
}
