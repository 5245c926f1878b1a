import type { ByteStream } from "../runtime/runtime.ts";
import type { Connection, TransportContext } from "./context.ts";
import { PREFACE } from "./frames.ts";
import { HANDSHAKE_TIMEOUT_MS } from "./limits.ts";

/**
 * Tells by a connection's first bytes which protocol it speaks: HTTP/2 with prior knowledge begins with the preface
 * (RFC 9113 §3.4), which is no HTTP/1.1 request. Bytes that still could be a preface wait.
 */
export class Sniffer implements Connection {
  readonly unsentBytes = 0;
  readonly takenMs = 0;
  private readonly context: TransportContext;
  private readonly bytes: ByteStream;
  private readonly startedMs: number;
  private late = false;
  private seen: Buffer = Buffer.alloc(0);

  /** `decided` is told the protocol and the bytes that belong to it; the stream's handlers are its to set. */
  constructor(
    context: TransportContext,
    bytes: ByteStream,
    on: { decided: (protocol: "h2" | "http1", first: Buffer) => void; gone: () => void },
  ) {
    this.context = context;
    this.bytes = bytes;
    this.startedMs = context.clock.monotonicMs();
    bytes.onData = (chunk) => {
      const seen = this.seen.length === 0 ? chunk : Buffer.concat([this.seen, chunk]);
      const length = Math.min(seen.length, PREFACE.length);
      if (!seen.subarray(0, length).equals(PREFACE.subarray(0, length))) on.decided("http1", seen);
      else if (length < PREFACE.length) this.seen = seen;
      else {
        context.bytesReceived += PREFACE.length;
        on.decided("h2", seen.subarray(PREFACE.length));
      }
    };
    bytes.onEnd = () => bytes.destroy();
    bytes.onClose = on.gone;
  }

  sweep(nowMs: number): void {
    if (this.late || nowMs - this.startedMs < HANDSHAKE_TIMEOUT_MS) return;
    this.late = true;
    this.context.countRefused("slow_handshake");
    this.bytes.destroy();
  }

  drain(): void {
    this.bytes.destroy();
  }

  destroy(): void {
    this.bytes.destroy();
  }
}
