import type { TransportSettings } from "./transport.ts";

/** Pings beyond the allowance before the connection ends; as grpc-go has it. */
const STRIKES_MAX = 2;
/** How far apart pings of a connection without streams must be; as grpc-go has it. */
const IDLE_PING_MIN_MS = 2 * 3_600_000;

/**
 * Both halves of keep-alive on one connection: whether the client pings too often (it may, after each thing that we
 * sent), and when we ping it. Pure but for the clock that is passed in.
 */
export class Keepalive {
  private readonly settings: TransportSettings;
  private strikes = 0;
  private pingedMs = Number.NEGATIVE_INFINITY;
  private sentFramesAtPing = -1;
  private receivedMs: number;
  /** When our unanswered ping was sent. */
  private askedMs: number | undefined;

  constructor(settings: TransportSettings, nowMs: number) {
    this.settings = settings;
    this.receivedMs = nowMs;
  }

  /** The client pinged. `sentFrames` counts our HEADERS and DATA. False: it has done so too often. */
  mayPing(nowMs: number, sentFrames: number, hasStreams: boolean): boolean {
    const { keepaliveMinMs } = this.settings;
    if (keepaliveMinMs <= 0) return true;
    const sinceMs = nowMs - this.pingedMs;
    this.pingedMs = nowMs;
    if (sentFrames !== this.sentFramesAtPing) {
      this.sentFramesAtPing = sentFrames;
      this.strikes = 0;
      return true;
    }
    if (sinceMs < (hasStreams ? keepaliveMinMs : IDLE_PING_MIN_MS)) this.strikes++;
    return this.strikes <= STRIKES_MAX;
  }

  received(nowMs: number): void {
    this.receivedMs = nowMs;
    this.askedMs = undefined;
  }

  /** What is due: a ping of ours, the end of a connection that did not answer one, or nothing. */
  due(nowMs: number): "ping" | "dead" | "nothing" {
    if (this.askedMs !== undefined)
      return nowMs - this.askedMs >= this.settings.keepaliveTimeoutMs ? "dead" : "nothing";
    const { keepaliveIntervalMs } = this.settings;
    if (keepaliveIntervalMs <= 0 || nowMs - this.receivedMs < keepaliveIntervalMs) return "nothing";
    this.askedMs = nowMs;
    return "ping";
  }
}
