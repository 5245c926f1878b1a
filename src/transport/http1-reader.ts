import type { AssemblyBudget } from "./grpc-deframer.ts";
import { Http1Error, type Http1Head, readFields, readHttp1Head } from "./http1-head.ts";
import { HTTP1_HEAD_BYTES_MAX } from "./limits.ts";

const EMPTY: Buffer = Buffer.alloc(0);
const END_OF_HEAD = Buffer.from("\r\n\r\n", "latin1");
/** A chunk's size with its extensions, which are passed over. */
const CHUNK_LINE_BYTES_MAX = 256;
const BODY_BYTES_MIN = 1024;
/** Empty lines before a request line (RFC 9112 §2.2 asks to pass over at least one). */
const EMPTY_LINES_MAX = 4;

type State = "head" | "length" | "chunkSize" | "chunkData" | "chunkEnd" | "trailers" | "complete";

/**
 * Takes requests from the bytes of an HTTP/1.1 connection, one at a time: `advance` until it says "complete", then
 * `next`. What was not yet looked at waits in `input`.
 */
export class Http1Reader {
  head: Http1Head | null = null;
  private readonly bodyBytesMax: number;
  private readonly budget: AssemblyBudget;
  private input = EMPTY;
  private state: State = "head";
  /** Bytes of `input` known to hold no end of a head. */
  private searched = 0;
  private emptyLines = 0;
  /** Of the body, or of the chunk. */
  private missing = 0;
  private bodyBuffer = EMPTY;
  private filled = 0;

  /** `budget` bounds what unfinished requests hold, those of all connections together. */
  constructor(bodyBytesMax: number, budget: AssemblyBudget) {
    this.bodyBytesMax = bodyBytesMax;
    this.budget = budget;
  }

  get body(): Buffer {
    return this.bodyBuffer.subarray(0, this.filled);
  }

  get inputBytes(): number {
    return this.input.length;
  }

  /** A request has begun and is not complete. */
  get midRequest(): boolean {
    return this.state !== "complete" && (this.state !== "head" || this.input.length > 0);
  }

  get midBody(): boolean {
    return this.head !== null && this.state !== "complete";
  }

  get midHead(): boolean {
    return this.state === "head" && this.input.length > 0;
  }

  /** What has come behind the last request, for whoever goes on with the connection in another protocol. */
  takeInput(): Buffer {
    const { input } = this;
    this.input = EMPTY;
    return input;
  }

  add(chunk: Buffer): void {
    this.input = this.input.length === 0 ? chunk : Buffer.concat([this.input, chunk]);
  }

  /** Goes on to the next request. */
  next(): void {
    this.state = "head";
    this.head = null;
    this.searched = 0;
    this.emptyLines = 0;
    this.close();
  }

  /** Lets go of the body, finished or not. */
  close(): void {
    this.budget.release(this.bodyBuffer.length);
    this.bodyBuffer = EMPTY;
    this.filled = 0;
  }

  /** "head": a head was just read. Throws an Http1Error for what is no request. */
  advance(): "more" | "head" | "complete" {
    for (;;) {
      const before = this.state;
      switch (before) {
        case "head":
          if (!this.readHead()) return "more";
          return "head";
        case "length":
        case "chunkData":
          this.readData();
          break;
        case "chunkSize":
          this.readChunkSize();
          break;
        case "chunkEnd":
          this.readChunkEnd();
          break;
        case "trailers":
          this.readTrailers();
          break;
        case "complete":
          return "complete";
      }
      if (this.state === before) return "more";
    }
  }

  private readHead(): boolean {
    while (this.input.length >= 2 && this.input[0] === 0x0d && this.input[1] === 0x0a) {
      if (++this.emptyLines > EMPTY_LINES_MAX) throw new Http1Error(400, "malformed request line");
      this.input = this.input.subarray(2);
    }
    const end = this.input.indexOf(END_OF_HEAD, Math.max(0, this.searched - 3));
    this.searched = this.input.length;
    if (end > HTTP1_HEAD_BYTES_MAX || (end < 0 && this.input.length > HTTP1_HEAD_BYTES_MAX)) {
      throw new Http1Error(431, "request line and header fields are too large");
    }
    if (end < 0) return false;
    this.head = readHttp1Head(this.input.latin1Slice(0, end));
    this.input = this.input.subarray(end + END_OF_HEAD.length);
    const { body } = this.head;
    if (body === "chunked") this.state = "chunkSize";
    else {
      if (body > this.bodyBytesMax) throw this.tooLarge();
      this.missing = body;
      this.state = body === 0 ? "complete" : "length";
    }
    return true;
  }

  private readData(): void {
    const some = Math.min(this.missing, this.input.length);
    const needed = this.filled + some;
    if (needed > this.bodyBuffer.length) {
      // Grows with what has come, not by what was announced.
      const size = Math.min(this.bodyBytesMax, Math.max(needed * 2, BODY_BYTES_MIN));
      if (!this.budget.reserve(size - this.bodyBuffer.length)) {
        throw new Http1Error(503, "too many bytes in unfinished requests");
      }
      const grown = Buffer.allocUnsafeSlow(size);
      this.bodyBuffer.copy(grown, 0, 0, this.filled);
      this.bodyBuffer = grown;
    }
    this.input.copy(this.bodyBuffer, this.filled, 0, some);
    this.filled = needed;
    this.missing -= some;
    this.input = this.input.subarray(some);
    if (this.missing === 0) this.state = this.state === "length" ? "complete" : "chunkEnd";
  }

  private readChunkSize(): void {
    const line = this.line(CHUNK_LINE_BYTES_MAX);
    if (line === undefined) return;
    const match = /^([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n\0]*)?$/.exec(line);
    if (match === null) throw new Http1Error(400, "malformed chunk size");
    this.missing = Number.parseInt(match[1]!, 16);
    if (this.filled + this.missing > this.bodyBytesMax) throw this.tooLarge();
    this.state = this.missing === 0 ? "trailers" : "chunkData";
  }

  private readChunkEnd(): void {
    if (this.input.length < 2) return;
    if (this.input[0] !== 0x0d || this.input[1] !== 0x0a) throw new Http1Error(400, "malformed chunk");
    this.input = this.input.subarray(2);
    this.state = "chunkSize";
  }

  /** Trailers are checked and dropped: nobody here asks for them. */
  private readTrailers(): void {
    if (this.input.length >= 2 && this.input[0] === 0x0d && this.input[1] === 0x0a) {
      this.input = this.input.subarray(2);
      this.state = "complete";
      return;
    }
    const end = this.input.indexOf(END_OF_HEAD);
    if (end > HTTP1_HEAD_BYTES_MAX || (end < 0 && this.input.length > HTTP1_HEAD_BYTES_MAX)) {
      throw new Http1Error(431, "trailers are too large");
    }
    if (end < 0) return;
    readFields(this.input.latin1Slice(0, end).split("\r\n"));
    this.input = this.input.subarray(end + END_OF_HEAD.length);
    this.state = "complete";
  }

  private line(bytesMax: number): string | undefined {
    const end = this.input.indexOf("\r\n", 0, "latin1");
    if (end > bytesMax || (end < 0 && this.input.length > bytesMax)) throw new Http1Error(400, "line too long");
    if (end < 0) return undefined;
    const text = this.input.latin1Slice(0, end);
    this.input = this.input.subarray(end + 2);
    return text;
  }

  private tooLarge(): Http1Error {
    return new Http1Error(413, `the body is over ${this.bodyBytesMax} bytes`);
  }
}
