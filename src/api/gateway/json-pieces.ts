import { assert } from "../../base/assert.ts";
import { isPromise } from "../../base/maybe-promise.ts";
import { GrpcError, type HttpSink, type Pieces } from "../../transport/transport.ts";
import type { GatewayCall } from "./gateway-call.ts";
import { bytesJson } from "./messages.ts";
import type { GatewayMethod } from "./methods.ts";

/**
 * A large answer as JSON: one piece at a time is read and sent, at the pace at which the client takes it. A piece is
 * whole fields of the message, so each is read by itself; a repeated field goes on from one piece to the next.
 *
 *   {header} [kv kv] [kv kv] {count}   ─►   {"header":{…},"kvs":[…,…   ,…,…   ],"count":"4"}
 *
 * The status has been told by then: where pieces fail the body is cut, and the client sees that it is.
 */
export class JsonPieces {
  readonly #method: GatewayMethod;
  readonly #pieces: Pieces;
  readonly #call: GatewayCall;
  readonly #onBug: (error: unknown) => void;
  #sink: HttpSink | null = null;
  #left: number;
  /** The repeated field whose elements were sent last, and are not closed yet. */
  #list: string | null = null;
  #isFirst = true;
  #over = false;
  #pumping = false;

  constructor(
    method: GatewayMethod,
    pieces: Pieces,
    { call, onBug }: { call: GatewayCall; onBug: (error: unknown) => void },
  ) {
    this.#method = method;
    this.#pieces = pieces;
    this.#call = call;
    this.#onBug = onBug;
    this.#left = pieces.byteLength();
    if (call.isOver) this.#end();
    else {
      call.onCancel(() => this.#end());
      call.onExpired = () => this.#abort();
    }
  }

  /** Called once the head is on its way; not at all where the client has gone. */
  start(sink: HttpSink): void {
    assert(this.#sink === null, "an answer has one body");
    this.#sink = sink;
    if (this.#over) sink.abort();
    else {
      sink.onDrain = () => this.#pump();
      this.#pump();
    }
  }

  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      let flows = true;
      while (flows && !this.#over) {
        const piece = this.#pieces.nextPiece();
        if (isPromise(piece)) {
          this.#wait(piece);
          return;
        }
        flows = this.#take(piece);
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#pumping = false;
  }

  /** `#pumping` stays set meanwhile: a drain that comes first waits for the piece. */
  #wait(piece: Promise<Buffer>): void {
    piece.then(
      (bytes) => {
        this.#pumping = false;
        if (this.#over) return;
        try {
          if (this.#take(bytes)) this.#pump();
        } catch (error) {
          this.#fail(error);
        }
      },
      (error: unknown) => this.#fail(error),
    );
  }

  /** Sends a piece; false when the client is to take some first. */
  #take(piece: Buffer): boolean {
    this.#left -= piece.length;
    const isLast = this.#left === 0;
    const flows = this.#sink!.write(Buffer.from(this.#text(piece, isLast)));
    if (!isLast) return flows;
    this.#sink!.end();
    this.#end();
    return false;
  }

  #text(piece: Buffer, isLast: boolean): string {
    let text = "";
    for (const [name, value] of Object.entries(bytesJson(this.#method, piece) as Record<string, unknown>)) {
      if (Array.isArray(value) && this.#list === name) text += `,${JSON.stringify(value).slice(1, -1)}`;
      else {
        text += `${this.#closing()}${this.#isFirst ? "{" : ","}${JSON.stringify(name)}:`;
        this.#isFirst = false;
        this.#list = Array.isArray(value) ? name : null;
        text += this.#list === null ? JSON.stringify(value) : JSON.stringify(value).slice(0, -1);
      }
    }
    return isLast ? `${text}${this.#closing()}}` : text;
  }

  #closing(): string {
    const text = this.#list === null ? "" : "]";
    this.#list = null;
    return text;
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    if (!(error instanceof GrpcError)) this.#onBug(error);
    this.#abort();
  }

  #abort(): void {
    if (this.#over) return;
    this.#end();
    this.#sink?.abort();
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#call.finish();
    this.#pieces.close();
  }
}
