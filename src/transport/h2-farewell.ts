import { ErrorCode, Flag, FrameType, STREAM_ID_MAX, writeUint32 } from "./frames.ts";
import type { H2Output } from "./h2-output.ts";
import type { StreamTable } from "./h2-streams.ts";
import { DRAIN_GRACE_MS } from "./limits.ts";

/** Payload of the ping whose answer says that the peer has seen our first GOAWAY. */
const DRAIN_PING = Buffer.from("draining", "latin1");

/**
 * How a connection ends without an error (RFC 9113 §6.8):
 *
 *   begin ──► GOAWAY 2^31-1, PING          streams that are on their way are taken
 *   answer to the ping, or 2 s later ──► GOAWAY last stream        later ones are passed over in silence
 *
 * When it is said and the last stream has ended, the connection ends.
 */
export class Farewell {
  private readonly output: H2Output;
  private readonly streams: StreamTable;
  private readonly onWritten: () => void;
  private begunMs: number | undefined;
  private said = false;

  constructor(output: H2Output, streams: StreamTable, onWritten: () => void) {
    this.output = output;
    this.streams = streams;
    this.onWritten = onWritten;
  }

  /** The last GOAWAY has said which stream is the last. */
  get isSaid(): boolean {
    return this.said;
  }

  begin(nowMs: number): void {
    if (this.begunMs !== undefined) return;
    this.begunMs = nowMs;
    writeGoaway(this.output, STREAM_ID_MAX, ErrorCode.noError, "");
    this.output.controlFrame(FrameType.ping, Flag.none, DRAIN_PING);
    this.onWritten();
  }

  pingAnswered(payload: Buffer): void {
    if (this.begunMs !== undefined && payload.equals(DRAIN_PING)) this.say();
  }

  sweep(nowMs: number): void {
    if (this.begunMs !== undefined && nowMs - this.begunMs >= DRAIN_GRACE_MS) this.say();
  }

  private say(): void {
    if (this.said) return;
    this.said = true;
    writeGoaway(this.output, this.streams.lastId, ErrorCode.noError, "");
    this.onWritten();
  }
}

/** `text` is for whoever looks at what was sent. */
export function writeGoaway(output: H2Output, lastStreamId: number, code: number, text: string): void {
  const debug = Buffer.from(text, "latin1");
  const payload = Buffer.alloc(8 + debug.length);
  writeUint32(payload, 0, lastStreamId);
  writeUint32(payload, 4, code);
  debug.copy(payload, 8);
  output.controlFrame(FrameType.goaway, Flag.none, payload);
}
