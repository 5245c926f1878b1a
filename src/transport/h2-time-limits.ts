import type { FrameReader } from "./frame-reader.ts";
import { ErrorCode } from "./frames.ts";
import type { H2Connection } from "./h2-connection.ts";
import type { H2Frames } from "./h2-frames.ts";
import { BODY_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS, HEADERS_TIMEOUT_MS, STALL_TIMEOUT_MS } from "./limits.ts";

const STALL_CHECK_MS = 5_000;

/** What a peer may not be too slow with: who sends or takes nothing must not hold what others need. */
export class H2TimeLimits {
  private readonly connection: H2Connection;
  private readonly frames: H2Frames;
  private readonly reader: FrameReader;
  private readonly startedMs: number;
  private stallCheckedMs: number;

  constructor(connection: H2Connection, frames: H2Frames, reader: FrameReader) {
    this.connection = connection;
    this.frames = frames;
    this.reader = reader;
    this.startedMs = connection.turnMs;
    this.stallCheckedMs = connection.turnMs;
  }

  /** What of the peer's is late for the connection as a whole, as it is counted. */
  lateness(nowMs: number): string | undefined {
    const { frames } = this;
    if (!frames.settingsSeen && nowMs - this.startedMs >= HANDSHAKE_TIMEOUT_MS) return "slow_handshake";
    if (frames.blockStartedMs !== undefined && nowMs - frames.blockStartedMs >= HEADERS_TIMEOUT_MS)
      return "slow_headers";
    if (this.reader.midFrame && nowMs - frames.lastFrameMs >= STALL_TIMEOUT_MS) return "slow_frame";
    return undefined;
  }

  /** All streams are looked at, so not at every sweep. */
  stallCheckIsDue(nowMs: number): boolean {
    if (nowMs - this.stallCheckedMs < STALL_CHECK_MS) return false;
    this.stallCheckedMs = nowMs;
    return true;
  }

  endStalledStreams(): void {
    const { streams, context, turnMs } = this.connection;
    for (const stream of streams) {
      // A stream may be quiet for as long as it likes, but not keep others from the room that there is.
      const mustGoOn = stream.completes ? !stream.busy : stream.queuedBytes > 0 && context.isCrowded;
      const isStalled = mustGoOn && turnMs - stream.progressMs >= STALL_TIMEOUT_MS;
      if (!isStalled && turnMs - stream.unfinishedSinceMs < BODY_TIMEOUT_MS) continue;
      context.countRefused("stalled_stream");
      stream.reset(ErrorCode.cancel);
    }
  }
}
