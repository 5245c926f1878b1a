import { assert } from "../../base/assert.ts";
import type { Encodable, GrpcStream, HttpRequest, HttpResponse, HttpSink } from "../../transport/transport.ts";
import { codes } from "../errors.ts";
import { answeredHeaders, errorLine, JSON_TYPE, resultLine } from "./answers.ts";
import { type CallSurroundings, GatewayCall } from "./gateway-call.ts";
import { httpStatusOf } from "./http-status.ts";
import { responseJson } from "./messages.ts";
import type { GatewayMethod } from "./methods.ts";

const nothing = (): void => {};

/** What a stream may hold before its answer has begun: what is sent in the turn in which it opens. */
const EARLY_BYTES_MAX = 1 << 20;
/** And what is held without asking the connection. */
const EARLY_ROOM_BYTES = 16 << 10;

/**
 * A streaming call by JSON. Requests that are in a body are given out at once, at the handler's pace, and then the
 * half-close; those of a WebSocket as they come (`add`). Responses are lines, each sent at once. The HTTP status is
 * decided by what comes first: a response, or the call's end.
 */
export class GatewayStream extends GatewayCall implements GrpcStream {
  onMessage: (message: Buffer) => void = nothing;
  onHalfClose: () => void = nothing;
  onDrain: () => void = nothing;
  /** All requests that were added have been given out. */
  onTaken: () => void = nothing;
  readonly answer: Promise<HttpResponse>;
  readonly #method: GatewayMethod;
  #requests: Buffer[];
  #given = 0;
  /** Further requests may be added. */
  #goesOn: boolean;
  #paused = true;
  #giving = false;
  #halfClosed = false;
  #begin: ((response: HttpResponse) => void) | null;
  #sink: HttpSink | null = null;
  /** Lines that came before there was a sink. */
  #early: Buffer[] = [];
  #earlyBytes = 0;
  #drainDue = false;
  #ended = false;
  #complete = false;

  /** `requests`: all there are; null: they will be added. */
  constructor(method: GatewayMethod, request: HttpRequest, surroundings: CallSurroundings, requests: Buffer[] | null) {
    super(method.grpcPath, request, surroundings);
    this.#method = method;
    this.#requests = requests ?? [];
    this.#goesOn = requests === null;
    const { promise, resolve } = Promise.withResolvers<HttpResponse>();
    this.answer = promise;
    this.#begin = resolve;
    this.onExpired = () => this.end(codes.deadlineExceeded, "context deadline exceeded");
  }

  get queuedBytes(): number {
    return this.#earlyBytes;
  }

  /** The handler has set its callbacks: what is asked is given to it from now on. */
  start(): void {
    this.#paused = false;
    this.#give();
  }

  /** False: it waits, as the handler does not take requests now. More should be added only after `onTaken`. */
  add(request: Buffer): boolean {
    assert(this.#goesOn, "no request is added behind the last one");
    if (this.#ended) return true;
    this.#requests.push(request);
    this.#give();
    return this.#given === this.#requests.length;
  }

  /** No further requests will be added. */
  endRequests(): void {
    this.#goesOn = false;
    this.#give();
  }

  pauseMessages(): void {
    this.#paused = true;
  }

  resumeMessages(): void {
    this.#paused = false;
    this.#give();
  }

  send(message: Encodable): boolean {
    if (this.#ended) return false;
    return this.#put(resultLine(responseJson(this.#method, message)), 200);
  }

  hasRoom(bytes: number): boolean {
    const room = this.#sink === null ? bytes <= EARLY_ROOM_BYTES : (this.#sink.hasRoom?.(bytes) ?? true);
    if (!room) this.#drainDue = true;
    return room;
  }

  end(code: number, message = ""): void {
    if (this.#ended) return;
    this.#ended = true;
    this.finish();
    if (code !== codes.ok) this.#put(errorLine(code, message), httpStatusOf(code));
    else if (this.#begin !== null) this.#put(null, 200);
    this.#complete = true;
    this.#sink?.end();
  }

  /** The client has gone: who answers it must not be left waiting for a head. */
  override cancel(): void {
    super.cancel();
    this.#ended = true;
    this.#begin?.({ status: httpStatusOf(codes.canceled), headers: {}, body: "" });
    this.#begin = null;
  }

  #give(): void {
    if (this.#giving) return;
    this.#giving = true;
    while (!this.#paused && !this.#ended && this.#given < this.#requests.length) {
      this.onMessage(this.#requests[this.#given++]!);
    }
    this.#giving = false;
    if (this.#given < this.#requests.length) return;
    this.#requests = [];
    this.#given = 0;
    this.onTaken();
    if (this.#goesOn || this.#paused || this.#ended || this.#halfClosed) return;
    this.#halfClosed = true;
    this.onHalfClose();
  }

  #put(line: Buffer | null, status: number): boolean {
    this.#open(status);
    if (line === null) return true;
    if (this.#sink !== null) {
      this.#drainDue = !this.#sink.write(line);
      return !this.#drainDue;
    }
    this.#early.push(line);
    this.#earlyBytes += line.length;
    this.#drainDue = this.#earlyBytes > EARLY_BYTES_MAX;
    return !this.#drainDue;
  }

  /** The head: what is sent first decides it. */
  #open(status: number): void {
    const begin = this.#begin;
    if (begin === null) return;
    this.#begin = null;
    const headers = status === 200 ? answeredHeaders() : { "content-type": JSON_TYPE };
    begin({ status, headers, body: (sink) => this.#connect(sink) });
  }

  #connect(sink: HttpSink): void {
    assert(this.#sink === null, "an answer has one body");
    this.#sink = sink;
    sink.onDrain = () => this.#drained();
    let flows = true;
    for (const line of this.#early) flows = sink.write(line);
    this.#early = [];
    this.#earlyBytes = 0;
    if (this.#complete) sink.end();
    else if (flows) this.#drained();
  }

  #drained(): void {
    if (!this.#drainDue || this.#ended) return;
    this.#drainDue = false;
    this.onDrain();
  }
}
