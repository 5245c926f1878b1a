import { isPromise } from "../base/maybe-promise.ts";
import { H2Stream } from "./h2-stream.ts";
import { answerHttp, type PreparedResponse, plainResponse } from "./http-exchange.ts";
import { fieldMap } from "./request-head.ts";

const BODY_BYTES_MIN = 4096;
const EMPTY = Buffer.alloc(0);

/** A plain HTTP request over HTTP/2: its body is collected, within the bound of a message, then it is answered. */
export class HttpExchange extends H2Stream {
  private body = EMPTY;
  private filled = 0;
  private pending = false;
  private answered = false;

  get completes(): boolean {
    return true;
  }

  get busy(): boolean {
    return this.pending;
  }

  get endsWithData(): boolean {
    return true;
  }

  /** The end went with the last DATA frame. */
  sendEnd(): void {
    this.endLocal();
  }

  onSent(bytes: number): void {
    this.connection.unqueued(this, bytes);
  }

  respond(response: PreparedResponse): void {
    if (this.closed || this.answered) return;
    this.answered = true;
    this.dropBody();
    const { sender } = this.connection;
    const empty = response.body.length === 0 || this.head.method === "HEAD";
    sender.output.headers(this.id, sender.encoder.response(response.status, response.fields), empty);
    this.headersSent = true;
    if (empty) this.endLocal();
    else {
      const { buffer, at } = this.openQueue().append(response.body.length);
      response.body.copy(buffer, at);
      this.connection.queued(this, response.body.length);
      sender.ready(this);
      sender.pump();
    }
    this.connection.touch();
  }

  protected override receive(bytes: Buffer, start: number, end: number): void {
    if (this.answered) return;
    const needed = this.filled + (end - start);
    const { settings } = this.connection.context;
    if (needed > settings.messageBytesMax) {
      this.respond(plainResponse(413, `the body is over ${settings.messageBytesMax} bytes`));
      return;
    }
    if (needed > this.body.length && !this.growBody(needed, settings.messageBytesMax)) {
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
    if (!this.connection.mayDispatch) {
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
    });
    if (!isPromise(answer)) {
      this.respond(answer);
      return;
    }
    this.pending = true;
    // Never rejects; what `respond` throws is a bug, told by `guard`.
    void answer.then((response) => {
      this.pending = false;
      if (this.closed) this.connection.settled();
      else this.connection.guard(() => this.respond(response));
    });
  }

  onGone(): void {}

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
