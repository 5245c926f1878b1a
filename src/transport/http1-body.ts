import type { ByteStream } from "../runtime/runtime.ts";
import type { HttpSink } from "./transport.ts";

const LAST_CHUNK = Buffer.from("0\r\n\r\n", "latin1");

/** The body of an HTTP/1.1 answer that is made as it goes: each part a chunk (RFC 9112 §7.1), or as it is. */
export class Http1Body implements HttpSink {
  onDrain: () => void = () => {};
  private readonly bytes: ByteStream;
  private readonly out: {
    readonly put: (bytes: Buffer) => void;
    /** Called once, when the body is over: complete or not. */
    readonly settled: (complete: boolean) => void;
    readonly bytesMax: () => number;
    readonly chunked: boolean;
  };
  private over = false;
  private drainDue = false;

  constructor(bytes: ByteStream, out: Http1Body["out"]) {
    this.bytes = bytes;
    this.out = out;
  }

  write(part: Buffer): boolean {
    if (this.over) return false;
    if (part.length > 0) this.out.put(this.out.chunked ? chunkOf(part) : part);
    this.drainDue = this.bytes.pendingBytes > this.out.bytesMax();
    return !this.drainDue;
  }

  end(): void {
    if (this.over) return;
    if (this.out.chunked) this.out.put(LAST_CHUNK);
    this.settle(true);
  }

  abort(): void {
    if (!this.over) this.settle(false);
  }

  /** The connection has gone. */
  cut(): void {
    this.over = true;
  }

  /** The system has taken some of what was written. */
  written(): void {
    if (!this.drainDue || this.bytes.pendingBytes > this.out.bytesMax() / 2) return;
    this.drainDue = false;
    this.onDrain();
  }

  private settle(complete: boolean): void {
    this.over = true;
    this.out.settled(complete);
  }
}

const chunkOf = (part: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`, "latin1"), part, Buffer.from("\r\n", "latin1")]);
