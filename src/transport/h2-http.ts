import { isPromise } from "../base/maybe-promise.ts";
import { ErrorCode, Flag, FRAME_HEADER_BYTES, FrameType, writeFrameHeader } from "./frames.ts";
import { H2Stream } from "./h2-stream.ts";
import {
  answerHttp,
  Departure,
  httpBodyBytesMax,
  type PreparedResponse,
  plainResponse,
  startBody,
} from "./http-exchange.ts";
import { fieldMap } from "./request-head.ts";
import type { HttpSink } from "./transport.ts";

const BODY_BYTES_MIN = 4096;
const EMPTY = Buffer.alloc(0);

/** A plain HTTP request over HTTP/2: its body is collected, within the bound of a message, then it is answered. */
export class HttpExchange extends H2Stream implements HttpSink {
  onDrain: () => void = () => {};
  private body = EMPTY;
  private filled = 0;
  private pending = false;
  private answered = false;
  /** The answer's body is made as it goes; then whether all of it is queued. */
  private streams = false;
  private bodyEnded = true;
  private drainDue = false;
  private readonly departure = new Departure();

  get completes(): boolean {
    return !this.streams;
  }

  get busy(): boolean {
    return this.pending;
  }

  get unfinishedSinceMs(): number {
    return this.remoteEnded || this.answered ? Number.POSITIVE_INFINITY : this.openedMs;
  }

  giveUpRequest(): void {
    if (this.remoteEnded || this.answered || this.body.length === 0) return;
    this.respond(plainResponse(503, "too many bytes in unfinished requests"));
  }

  get endsWithData(): boolean {
    return this.bodyEnded;
  }

  /** The end went with the last DATA frame. */
  sendEnd(): void {
    if (this.bodyEnded) this.endLocal();
  }

  onSent(bytes: number): void {
    this.connection.backlog.remove(this, bytes);
    if (!this.drainDue || this.queuedBytes > this.queueBytesMax / 2) return;
    this.drainDue = false;
    if (!this.bodyEnded) this.tellDrained();
  }

  private tellDrained(): void {
    try {
      this.onDrain();
    } catch (error) {
      this.connection.context.onBug(error);
      this.abort();
    }
  }

  protected override onRoom(): void {
    if (!this.bodyEnded) this.tellDrained();
  }

  write(bytes: Buffer): boolean {
    if (this.closed || this.bodyEnded) return false;
    this.enqueue(bytes);
    this.connection.touch();
    this.drainDue = this.queuedBytes > this.queueBytesMax;
    return !this.drainDue;
  }

  end(): void {
    if (this.closed || this.bodyEnded) return;
    this.bodyEnded = true;
    if (this.queuedBytes === 0) {
      const { output } = this.connection.sender;
      const at = output.reserve(FRAME_HEADER_BYTES);
      output.length = writeFrameHeader(output.buffer, at, 0, FrameType.data, Flag.endStream, this.id);
      this.endLocal();
    }
    this.connection.touch();
  }

  abort(): void {
    if (this.closed) return;
    this.connection.sender.output.uint32Frame(FrameType.rstStream, this.id, ErrorCode.internalError);
    this.close();
    this.connection.touch();
  }

  private get queueBytesMax(): number {
    return this.connection.room.isFull ? 0 : this.connection.context.settings.streamQueueBytesMax;
  }

  private enqueue(bytes: Buffer): void {
    const { sender } = this.connection;
    const { buffer, at } = this.openQueue().append(bytes.length);
    bytes.copy(buffer, at);
    this.connection.backlog.add(this, bytes.length);
    sender.ready(this);
    sender.pump();
  }

  respond(response: PreparedResponse): void {
    if (this.closed || this.answered) return;
    this.answered = true;
    this.dropBody();
    const { sender } = this.connection;
    const { body } = response;
    const empty = this.head.method === "HEAD" || (typeof body !== "function" && body.length === 0);
    sender.output.headers(this.id, sender.encoder.response(response.status, response.fields), empty);
    this.headersSent = true;
    if (empty) this.endLocal();
    else if (typeof body === "function") {
      this.streams = true;
      this.bodyEnded = false;
      startBody(this.connection.context, body, this);
    } else this.enqueue(body);
    this.connection.touch();
  }

  protected override receive(bytes: Buffer, start: number, end: number): void {
    if (this.answered) return;
    const needed = this.filled + (end - start);
    const bytesMax = httpBodyBytesMax(this.connection.context);
    if (needed > bytesMax) {
      this.respond(plainResponse(413, `the body is over ${bytesMax} bytes`));
      return;
    }
    if (needed > this.body.length && !this.growBody(needed, bytesMax)) {
      this.respond(plainResponse(503, "too many bytes in unfinished requests of one connection"));
      return;
    }
    bytes.copy(this.body, this.filled, start, end);
    this.filled = needed;
  }

  protected override receiveEnd(): void {
    if (this.answered) return;
    if (this.head.method === "CONNECT") {
      this.respond(plainResponse(501, "CONNECT is not implemented"));
      return;
    }
    if (!this.connection.backlog.mayDispatch) {
      this.respond(plainResponse(503, "too many responses of this connection wait to be read"));
      return;
    }
    const answer = answerHttp(this.connection.context, {
      method: this.head.method,
      target: this.head.path,
      headers: fieldMap(this.head),
      body: this.body.subarray(0, this.filled),
      remoteAddress: this.connection.remoteAddress,
      secure: this.connection.secure,
      peer: this.connection.peer,
      label: this.connection.context.router.routes.label,
      onGone: this.departure.onGone,
    });
    if (!isPromise(answer)) {
      this.respond(answer);
      return;
    }
    this.pending = true;
    // Never rejects; what `respond` throws is a bug, told by `guard`.
    void answer.then((response) => {
      this.pending = false;
      if (this.closed) this.connection.streams.settled();
      else this.connection.guard(() => this.respond(response));
    });
  }

  onGone(): void {
    this.departure.end(this.connection.context, true);
  }

  onClosed(): void {
    this.dropBody();
  }

  private growBody(needed: number, bytesMax: number): boolean {
    const size = Math.min(bytesMax, Math.max(needed * 2, BODY_BYTES_MIN));
    if (!this.connection.assemblyBudget.reserve(size - this.body.length)) return false;
    const body = Buffer.allocUnsafeSlow(size);
    this.body.copy(body, 0, 0, this.filled);
    this.body = body;
    return true;
  }

  private dropBody(): void {
    this.connection.assemblyBudget.release(this.body.length);
    this.body = EMPTY;
    this.filled = 0;
  }
}
