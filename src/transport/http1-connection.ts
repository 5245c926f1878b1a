import { assert } from "../base/assert.ts";
import { isPromise } from "../base/maybe-promise.ts";
import type { ByteStream } from "../runtime/runtime.ts";
import { ConnectionBudget } from "./assembly-room.ts";
import type { Connection, TransportContext } from "./context.ts";
import { type TurnTaker, UsedTime } from "./fair-turns.ts";
import {
  answerHttp,
  Departure,
  httpBodyBytesMax,
  type PreparedResponse,
  plainResponse,
  startBody,
} from "./http-exchange.ts";
import { Http1Body } from "./http1-body.ts";
import { Http1Error, type Http1Head } from "./http1-head.ts";
import { Http1Reader } from "./http1-reader.ts";
import { BODY_TIMEOUT_MS, HEADERS_TIMEOUT_MS, HTTP1_IDLE_TIMEOUT_MS, LINGER_MS, STALL_TIMEOUT_MS } from "./limits.ts";
import type { HttpBody, MessageSocket } from "./transport.ts";
import { SocketShare } from "./unsent.ts";
import { acceptOf, offersWebSocket, WebSocketConnection } from "./websocket.ts";

/** While an answer is awaited, this much of what comes behind is kept; then reading stops. */
const AHEAD_BYTES_MAX = 65536;
const EMPTY = Buffer.alloc(0);
const CONTINUE = Buffer.from("HTTP/1.1 100 Continue\r\n\r\n", "latin1");

/** Only people read them; a status without one is sent without one. */
const reasonPhrases: Readonly<Record<number, string>> = {
  101: "Switching Protocols",
  200: "OK",
  307: "Temporary Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  409: "Conflict",
  412: "Precondition Failed",
  413: "Content Too Large",
  421: "Misdirected Request",
  417: "Expectation Failed",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  499: "Client Closed Request",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};

/**
 * An HTTP/1.1 connection (RFC 9112): requests one after the other, also when they were sent ahead; answers in their
 * order. Invariants:
 *  1. One request is being answered at a time; those behind it wait as bytes, within a bound.
 *  2. After a request that could not be understood, nothing of what follows it is looked at.
 *  3. Once it has become a WebSocket it is being answered for as long as it lives.
 */
export class Http1Connection implements Connection, TurnTaker {
  private readonly context: TransportContext;
  takenMs: number;
  private readonly bytes: ByteStream;
  private readonly share: SocketShare;
  readonly used: UsedTime;
  private readonly onGone: () => void;
  private readonly reader: Http1Reader;
  private readonly budget: ConnectionBudget;
  private state: "open" | "closing" | "closed" = "open";
  private answering = false;
  private advancing = false;
  /** Since when it has answered requests without a pause. */
  private turnMs: number;
  private waitsForTurn = false;
  private paused = false;
  private draining = false;
  private peerDone = false;
  /** When the connection last got on: bytes came, or the socket took some. */
  private progressMs: number;
  private headStartedMs: number | undefined;
  private bodyStartedMs = 0;
  private closingMs = 0;
  private departure: Departure | null = null;
  /** The answer whose body is being made. */
  private streaming: Http1Body | null = null;
  /** What the connection has become. */
  private socket: WebSocketConnection | null = null;
  private readonly afterWrite = (): void => {
    const { socket } = this;
    this.progressMs = this.context.clock.monotonicMs();
    this.takenMs = this.progressMs;
    this.share.note();
    if (socket !== null) this.guard(() => socket.written());
    else if (this.streaming === null) this.advance();
    else {
      try {
        this.streaming.written();
      } catch (error) {
        this.context.onBug(error);
        this.streaming?.abort();
      }
    }
  };

  constructor(context: TransportContext, bytes: ByteStream, onGone: () => void) {
    this.context = context;
    this.bytes = bytes;
    this.onGone = onGone;
    this.budget = new ConnectionBudget(context.assembly, context.settings, () => this.giveUpUnfinished());
    this.reader = new Http1Reader(httpBodyBytesMax(context), this.budget);
    this.share = new SocketShare(context.socketBytes, bytes);
    this.progressMs = context.clock.monotonicMs();
    this.takenMs = this.progressMs;
    this.turnMs = this.progressMs;
    this.used = new UsedTime(this.progressMs);
    bytes.onData = (chunk) => this.receive(chunk);
    bytes.onEnd = () => this.guard(() => this.peerEnded());
    bytes.onClose = () => {
      this.state = "closed";
      this.share.close();
      this.reader.close();
      this.depart();
      this.onGone();
    };
  }

  receive(chunk: Buffer): void {
    this.context.bytesReceived += chunk.length;
    if (this.state !== "open") return;
    this.progressMs = this.context.clock.monotonicMs();
    const { socket } = this;
    this.turnMs = this.progressMs;
    if (socket !== null) this.guard(() => socket.receive(chunk));
    else {
      this.reader.add(chunk);
      this.advance();
    }
    this.context.turns.spent(this.used, this.turnMs);
  }

  /** Runs what comes from outside `advance`. What it throws is a bug, and ends the connection. */
  private guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.context.onBug(error);
      this.destroy();
    }
  }

  private peerEnded(): void {
    this.peerDone = true;
    // Who has finished sending has most likely gone, and nothing else would say so; an answer at hand is sent anyway.
    if (this.streaming !== null || this.socket !== null) this.destroy();
    else {
      this.depart();
      this.advance();
    }
  }

  sweep(nowMs: number): void {
    const idleMs = nowMs - this.progressMs;
    if (this.state !== "open") {
      if (nowMs - this.closingMs >= (this.bytes.pendingBytes > 0 ? STALL_TIMEOUT_MS : LINGER_MS)) this.bytes.destroy();
    } else if (this.bytes.pendingBytes > 0) {
      if (idleMs >= STALL_TIMEOUT_MS) this.refuse("slow_reader");
    } else if (this.socket !== null && this.socket.unfinishedMs(nowMs) >= BODY_TIMEOUT_MS) {
      this.context.countRefused("slow_body");
      this.destroy();
    } else if (this.answering) {
      // The handler's time, not the client's.
    } else if (this.headStartedMs !== undefined && nowMs - this.headStartedMs >= HEADERS_TIMEOUT_MS) {
      this.refuse("slow_headers");
    } else if (this.reader.midRequest) {
      const isLate = this.reader.midBody && nowMs - this.bodyStartedMs >= BODY_TIMEOUT_MS;
      if (isLate || idleMs >= STALL_TIMEOUT_MS) this.refuse("slow_body");
    } else if (idleMs >= HTTP1_IDLE_TIMEOUT_MS) this.finish();
  }

  drain(): void {
    this.draining = true;
    if (this.state === "open" && !this.answering && !this.reader.midRequest) this.finish();
  }

  destroy(): void {
    if (this.state === "closed") return;
    this.state = "closing";
    this.share.close();
    this.depart();
    this.bytes.destroy();
  }

  /** Who works for the answer at hand is told that nobody waits for it. */
  private depart(): void {
    const { departure } = this;
    this.departure = null;
    this.streaming?.cut();
    this.streaming = null;
    this.socket?.cut();
    departure?.end(this.context, true);
  }

  /** Answers what can be answered. Not re-entered: an answer at hand goes on in the same loop. */
  private advance(): void {
    if (this.advancing || this.state !== "open") return;
    this.advancing = true;
    try {
      while (this.state === "open" && !this.answering && this.hasRoom && this.mayRead && this.takeRequest());
    } catch (error) {
      if (error instanceof Http1Error) this.refuseRequest(error);
      else {
        this.context.onBug(error);
        this.destroy();
      }
    }
    this.advancing = false;
    if (this.state !== "open") return;
    if (this.peerDone && !this.answering && this.hasRoom && !this.waitsForTurn) this.finish();
    else this.pauseOrResume();
  }

  private get mayRead(): boolean {
    return this.reader.inputBytes === 0 || this.hasTurn();
  }

  /** Who sends many requests at once has a few milliseconds of the event loop, and the next ones behind others. */
  private hasTurn(): boolean {
    const { clock, turns } = this.context;
    if (this.waitsForTurn) return false;
    if (!turns.isOver && clock.monotonicMs() - this.turnMs < turns.costMax / 1000) return true;
    this.waitsForTurn = true;
    turns.wait(this);
    return false;
  }

  takeTurn(): void {
    this.waitsForTurn = false;
    this.turnMs = this.context.clock.monotonicMs();
    const { socket } = this;
    if (socket === null) this.advance();
    else this.guard(() => socket.readOn());
    this.context.turns.spent(this.used, this.turnMs);
  }

  /** One step; false when more input is needed. */
  private takeRequest(): boolean {
    const step = this.reader.advance();
    this.headStartedMs = this.reader.midHead ? (this.headStartedMs ?? this.context.clock.monotonicMs()) : undefined;
    if (step === "more") return false;
    const head = this.reader.head!;
    if (step === "head") {
      this.bodyStartedMs = this.context.clock.monotonicMs();
      if (head.expectsContinue && head.body !== 0 && this.reader.inputBytes === 0) this.write(CONTINUE);
      return true;
    }
    this.answer(head, this.reader.body);
    return true;
  }

  private answer(head: Http1Head, body: Buffer): void {
    this.reader.next();
    this.answering = true;
    const departure = new Departure();
    this.departure = departure;
    const answer = answerHttp(this.context, {
      method: head.method,
      target: head.target,
      headers: head.fields,
      body,
      remoteAddress: this.bytes.remoteAddress,
      secure: this.bytes.secure === true,
      peer: this.bytes.peer ?? null,
      label: this.context.router.routes.label,
      onGone: departure.onGone,
      webSocket: offersWebSocket(head),
    });
    if (isPromise(answer)) void answer.then((response) => this.respondInTurn(head, response));
    else this.respond(head, answer);
  }

  /** Many may have waited for one thing: their answers leave a bit at a time, too. */
  private respondInTurn(head: Http1Head, response: PreparedResponse): void {
    const { turns } = this.context;
    const respond = (): void => {
      this.turnMs = this.context.clock.monotonicMs();
      this.guard(() => this.respond(head, response));
      turns.spent(this.used, this.turnMs);
    };
    if (turns.isOver) turns.wait({ used: this.used, takeTurn: respond });
    else respond();
  }

  private respond(head: Http1Head, response: PreparedResponse): void {
    if (response.webSocket !== undefined) {
      assert(offersWebSocket(head), "a WebSocket was offered");
      if (this.peerDone) this.destroy();
      else if (this.state === "open") this.becomeSocket(head, response, response.webSocket);
      return;
    }
    if (typeof response.body === "function" && this.state === "open") {
      this.respondInParts(head, response, response.body);
      return;
    }
    this.answering = false;
    this.departure = null;
    if (this.state !== "open") return;
    this.progressMs = this.context.clock.monotonicMs();
    const stays = head.keepAlive && !this.draining;
    this.writeResponse(response, head.method === "HEAD", stays ? (head.old ? "keep-alive" : undefined) : "close");
    if (!stays) this.finish();
    else this.advance();
  }

  /** HTTP/1.0 knows no chunks: there the body ends with the connection. */
  private respondInParts(head: Http1Head, response: PreparedResponse, body: HttpBody): void {
    const stays = head.keepAlive && !head.old;
    const bodiless = head.method === "HEAD";
    const fields = head.old ? response.fields : { ...response.fields, "transfer-encoding": "chunked" };
    const settled = (complete: boolean): void => {
      this.streaming = null;
      this.answering = false;
      this.departure = null;
      if (this.state !== "open") return;
      if (!complete) this.destroy();
      else if (stays && !this.draining) this.advance();
      else this.finish();
    };
    const put = (bytes: Buffer): void => {
      if (this.state === "open") this.write(bytes);
    };
    const { streamQueueBytesMax } = this.context.settings;
    const sink = new Http1Body(this.bytes, {
      ...{ put, settled, chunked: !head.old },
      bytesMax: () => this.context.share(streamQueueBytesMax),
    });
    this.writeResponse({ ...response, fields, body: EMPTY }, bodiless, stays ? undefined : "close");
    if (bodiless) {
      settled(true);
      return;
    }
    this.streaming = sink;
    startBody(this.context, body, sink);
  }

  /** From here on what comes is frames, what has come behind the handshake included (RFC 6455 §4.2.2). */
  private becomeSocket(head: Http1Head, response: PreparedResponse, start: (socket: MessageSocket) => void): void {
    const fields = {
      ...response.fields,
      upgrade: "websocket",
      "sec-websocket-accept": acceptOf(head.fields.get("sec-websocket-key")!),
    };
    this.writeResponse({ ...response, fields }, true, "Upgrade");
    const { clock, settings } = this.context;
    const socket = new WebSocketConnection({
      bytes: this.bytes,
      clock,
      budget: this.budget,
      messageBytesMax: httpBodyBytesMax(this.context),
      queueBytesMax: () => this.context.share(settings.streamQueueBytesMax),
      hasTurn: () => this.hasTurn(),
      put: (bytes) => {
        if (this.state === "open") this.write(bytes);
      },
      closed: (reason) => {
        if (reason !== null) this.context.countRefused(reason);
        this.depart();
        if (this.state === "open") this.finish();
      },
    });
    this.socket = socket;
    this.paused = false;
    this.bytes.resume();
    this.guard(() => {
      start(socket);
      socket.receive(this.reader.takeInput());
    });
  }

  private writeResponse(response: PreparedResponse, bodiless: boolean, connection: string | undefined): void {
    const { body } = response;
    assert(Buffer.isBuffer(body), "a body in parts is written part by part");
    let text = `HTTP/1.1 ${response.status} ${reasonPhrases[response.status] ?? ""}\r\n`;
    for (const [name, value] of Object.entries(response.fields)) text += `${name}: ${value}\r\n`;
    text += `date: ${new Date(this.context.clock.wallMs()).toUTCString()}\r\n`;
    if (connection !== undefined) text += `connection: ${connection}\r\n`;
    const head = Buffer.from(`${text}\r\n`, "latin1");
    this.write(bodiless || body.length === 0 ? head : Buffer.concat([head, body]));
  }

  private write(bytes: Buffer): void {
    this.context.bytesSent += bytes.length;
    // Until now there was nothing to take.
    if (this.share.counted === 0) this.takenMs = this.context.clock.monotonicMs();
    this.bytes.write(bytes, this.afterWrite);
    this.share.note();
    this.context.unsentGrew();
  }

  get unsentBytes(): number {
    return this.share.counted;
  }

  /** Answers are not made for a client that does not read them. */
  private get hasRoom(): boolean {
    return this.bytes.pendingBytes <= this.context.connectionQueueBytesMax;
  }

  private pauseOrResume(): void {
    const waits = this.answering || this.waitsForTurn || !this.hasRoom;
    const full = waits && this.reader.inputBytes > AHEAD_BYTES_MAX;
    if (full === this.paused) return;
    this.paused = full;
    if (full) this.bytes.pause();
    else this.bytes.resume();
  }

  private refuseRequest(error: Http1Error): void {
    this.context.countRefused("http1_bad_request");
    if (error.status !== 0) this.writeResponse(plainResponse(error.status, error.message), false, "close");
    this.finish();
  }

  /** Others need the room. */
  private giveUpUnfinished(): void {
    this.socket?.giveUp();
    if (this.state !== "open" || !this.reader.midBody) return;
    this.reader.close();
    this.guard(() => this.refuseRequest(new Http1Error(503, "too many bytes in unfinished requests")));
  }

  private refuse(reason: string): void {
    this.context.countRefused(reason);
    if (this.bytes.pendingBytes > 0) this.destroy();
    else {
      this.writeResponse(plainResponse(408, "too slow"), false, "close");
      this.finish();
    }
  }

  private finish(): void {
    this.state = "closing";
    this.closingMs = this.context.clock.monotonicMs();
    this.bytes.end();
    if (this.paused) this.bytes.resume();
  }
}
