import type { ByteStream, PeerIdentity } from "../runtime/runtime.ts";
import { ConnectionBudget } from "./assembly-room.ts";
import type { Connection, Flushable, TransportContext } from "./context.ts";
import { FloodMeter } from "./flood-meter.ts";
import { FrameReader } from "./frame-reader.ts";
import { ConnectionError, ErrorCode, Flag, FrameType } from "./frames.ts";
import { SendBacklog } from "./h2-backlog.ts";
import { Farewell, writeGoaway } from "./h2-farewell.ts";
import { H2Frames } from "./h2-frames.ts";
import { H2Input } from "./h2-input.ts";
import { H2Output } from "./h2-output.ts";
import { H2Sender } from "./h2-sender.ts";
import { ourSettings } from "./h2-settings.ts";
import { StreamTable } from "./h2-streams.ts";
import { H2TimeLimits } from "./h2-time-limits.ts";
import { HpackError } from "./hpack-decoder.ts";
import { Keepalive } from "./keepalive.ts";
import { LINGER_MS, STALL_TIMEOUT_MS } from "./limits.ts";
import { ReceiveWindow } from "./receive-window.ts";
import { SendRoom } from "./send-room.ts";

/** Payload of the ping that asks whether the peer lives. */
const KEEPALIVE_PING = Buffer.from("keepaliv", "latin1");

/**
 * One HTTP/2 connection of the server (RFC 9113), after the client's preface: its parts, its turns, its end.
 *
 *   input ─► FrameReader ─► H2Frames ─► H2Requests ─► streams ─► handlers
 *                                                       │ backlog, room: what may wait unsent
 *   socket ◄─ output ◄─ sender (windows) ◄──────────────┘
 *
 * Invariants:
 *  1. `open` until the first GOAWAY with an error, the peer's end, or the end of a drain; then `closing`: nothing more
 *     is written, what comes in is thrown away, until the peer closes or the linger is over; then `closed`.
 *  2. What is written within a turn leaves in one write at its end.
 */
export class H2Connection implements Connection, Flushable {
  readonly context: TransportContext;
  readonly remoteAddress: string;
  readonly secure: boolean;
  readonly peer: PeerIdentity | null;
  readonly input: H2Input;
  readonly streams: StreamTable;
  readonly sender: H2Sender;
  readonly backlog: SendBacklog;
  /** While it is full, streams queue no more than a message; those that ask before, nothing. */
  readonly room: SendRoom;
  readonly receiveWindow: ReceiveWindow;
  readonly assemblyBudget: ConnectionBudget;
  readonly keepalive: Keepalive;
  readonly farewell: Farewell;
  /** The time of the turn at hand. */
  turnMs: number;
  /** Requests and DATA taken; what floods are measured against. */
  work = 0;
  private state: "open" | "closing" | "closed" = "open";
  private readonly bytes: ByteStream;
  private readonly output: H2Output;
  private readonly onGone: () => void;
  private readonly meter: FloodMeter;
  private readonly reader: FrameReader;
  private readonly timeLimits: H2TimeLimits;
  private inTurn = false;
  private flushDue = false;
  private closingMs = 0;
  private lingerMs = LINGER_MS;

  constructor(context: TransportContext, bytes: ByteStream, onGone: () => void) {
    const { settings, turns } = context;
    this.context = context;
    this.bytes = bytes;
    this.remoteAddress = bytes.remoteAddress;
    this.secure = bytes.secure === true;
    this.peer = bytes.peer ?? null;
    this.onGone = onGone;
    this.turnMs = context.clock.monotonicMs();
    this.input = new H2Input(bytes, { turns, nowMs: this.turnMs }, (chunk) => this.take(chunk));
    this.streams = new StreamTable(context);
    this.output = new H2Output(context, bytes, () => this.relieved());
    this.sender = new H2Sender(this.output, () =>
      turns.wait({ used: this.input.used, takeTurn: this.continueSending }),
    );
    this.backlog = new SendBacklog(context, this.sender, () => this.lessWaits());
    this.room = new SendRoom(context, this.sender, this.backlog);
    this.receiveWindow = new ReceiveWindow(this.output);
    this.assemblyBudget = new ConnectionBudget(context.assembly, settings, () => this.giveUpRequests());
    this.meter = new FloodMeter(this.turnMs);
    this.keepalive = new Keepalive(settings, this.turnMs);
    this.farewell = new Farewell(this.output, this.streams, () => this.touch());
    const frames = new H2Frames(this);
    this.reader = new FrameReader(frames);
    this.timeLimits = new H2TimeLimits(this, frames, this.reader);
    this.output.controlFrame(FrameType.settings, Flag.none, ourSettings(settings.concurrentStreamsMax));
    this.receiveWindow.open();
    bytes.onData = (chunk) => this.receive(chunk);
    bytes.onEnd = () => this.guard(() => this.peerEnded());
    bytes.onClose = () => this.closed();
  }

  // Turns.

  /** Bytes from the peer, the preface not among them. */
  receive(chunk: Buffer): void {
    this.context.bytesReceived += chunk.length;
    if (this.state === "open") this.input.receive(chunk);
  }

  /** A turn for what has come. Returns how much of it was looked at. */
  private take(chunk: Buffer): number {
    this.turnMs = this.context.clock.monotonicMs();
    this.keepalive.received(this.turnMs);
    this.inTurn = true;
    const costBefore = this.input.cost;
    let taken = 0;
    try {
      taken = this.reader.push(chunk);
    } catch (error) {
      this.failWith(error);
    }
    this.inTurn = false;
    this.flushTurn();
    this.context.turns.spent(this.input.used, this.turnMs, this.input.cost - costBefore);
    return taken;
  }

  /** No further frame is looked at: nothing more is wanted, or it is the turn of others. */
  get mustStop(): boolean {
    return this.input.turnIsSpent || this.state !== "open";
  }

  /** Something was written outside a turn of its own: it leaves at the end of this one. */
  touch(): void {
    if (this.inTurn || this.flushDue || this.state !== "open") return;
    this.flushDue = true;
    this.context.flushLater(this);
  }

  flushTurn(): void {
    this.flushDue = false;
    if (this.state !== "open") return;
    try {
      this.flush();
    } catch (error) {
      this.failWith(error);
    }
  }

  private flush(): void {
    if (this.backlog.isAwaited) this.withinTurn(() => this.backlog.unpark());
    if (this.room.isAwaited && this.withinTurn(() => this.room.lookForSome())) this.touch();
    this.output.flush();
    if (this.backlog.isOverBound) this.input.hold();
    if (this.farewell.isSaid && this.streams.size === 0) this.finish(STALL_TIMEOUT_MS);
  }

  private withinTurn<T>(work: () => T): T {
    this.inTurn = true;
    const result = work();
    this.inTurn = false;
    return result;
  }

  /** Runs what comes from outside the connection's own turns. What it throws is a bug, and ends the connection. */
  guard(work: () => void): void {
    this.turnMs = this.context.clock.monotonicMs();
    try {
      work();
    } catch (error) {
      this.failWith(error);
    }
    this.touch();
  }

  /** Calls back a handler. */
  tell(handler: () => void): void {
    try {
      handler();
    } catch (error) {
      this.context.onBug(error);
    }
  }

  private readonly continueSending = (): void => {
    if (this.state !== "open") return;
    this.guard(() => this.sender.nextTurn());
    this.context.turns.spent(this.input.used, this.turnMs);
  };

  /** The socket has taken most of what it had. */
  private relieved(): void {
    if (this.state !== "open") return;
    this.input.release();
    this.guard(() => this.sender.pump());
  }

  private lessWaits(): void {
    const { backlog, room } = this;
    if (backlog.isAwaited ? backlog.mayDispatch : room.isAwaited && !room.isFull) this.touch();
  }

  // Bounds.

  /** The peer did something that costs it nothing. */
  noteFlood(kind: number): void {
    const reason = this.meter.note(kind, this.turnMs, this.work + this.output.responseFrames);
    if (reason !== undefined) throw new ConnectionError(ErrorCode.enhanceYourCalm, reason);
  }

  get unsentBytes(): number {
    return this.backlog.unsentBytes;
  }

  get takenMs(): number {
    return this.sender.leftMs;
  }

  /** All that is not complete: others need the room. */
  private giveUpRequests(): void {
    this.guard(() => {
      for (const stream of this.streams) stream.giveUpRequest();
    });
  }

  sweep(nowMs: number): void {
    if (this.state !== "open") {
      if (nowMs - this.closingMs >= (this.output.pendingBytes > 0 ? this.lingerMs : LINGER_MS)) this.bytes.destroy();
      return;
    }
    const late = this.timeLimits.lateness(nowMs);
    if (late !== undefined) {
      this.guard(() => {
        throw new ConnectionError(ErrorCode.enhanceYourCalm, late);
      });
      return;
    }
    if (this.output.pendingBytes > 0 && nowMs - this.output.progressMs >= STALL_TIMEOUT_MS) {
      this.context.countRefused("slow_reader");
      this.destroy();
      return;
    }
    this.farewell.sweep(nowMs);
    this.pingIdle(nowMs);
    if (this.room.isAwaited) this.touch();
    if (this.timeLimits.stallCheckIsDue(nowMs)) this.guard(() => this.timeLimits.endStalledStreams());
  }

  private pingIdle(nowMs: number): void {
    switch (this.keepalive.due(nowMs)) {
      case "nothing":
        break;
      case "ping":
        this.output.controlFrame(FrameType.ping, Flag.none, KEEPALIVE_PING);
        this.touch();
        break;
      case "dead":
        this.context.countRefused("keepalive_timeout");
        this.destroy();
        break;
    }
  }

  // The end.

  drain(): void {
    if (this.state === "open") this.farewell.begin(this.context.clock.monotonicMs());
  }

  destroy(): void {
    if (this.state === "closed") return;
    this.state = "closing";
    this.output.gone();
    this.input.stop();
    this.dropStreams();
    this.bytes.destroy();
  }

  private failWith(error: unknown): void {
    if (this.state !== "open") return;
    let [code, reason, text]: [number, string, string] = [ErrorCode.internalError, "bug", "internal error"];
    if (error instanceof ConnectionError) [code, reason, text] = [error.code, error.reason, error.message];
    else if (error instanceof HpackError) {
      [code, reason, text] = [ErrorCode.compressionError, "compression_error", error.message];
    } else this.context.onBug(error);
    this.context.countRefused(reason);
    try {
      writeGoaway(this.output, this.streams.lastId, code, text);
      this.finish(LINGER_MS);
      this.dropStreams();
    } catch (again) {
      // What failed was writing itself.
      this.context.onBug(again);
      this.destroy();
    }
  }

  /** Sends what there is, and ends our side. Unsent bytes have `lingerMs` to leave. */
  private finish(lingerMs: number): void {
    this.output.flush();
    this.output.close();
    this.state = "closing";
    this.closingMs = this.context.clock.monotonicMs();
    this.lingerMs = lingerMs;
    this.bytes.end();
    this.input.stop();
  }

  /** A client that has finished sending is gone: gRPC clients keep their side open for as long as they want answers. */
  private peerEnded(): void {
    if (this.state !== "open") return;
    this.finish(STALL_TIMEOUT_MS);
    this.dropStreams();
  }

  private closed(): void {
    this.state = "closed";
    this.output.gone();
    this.input.stop();
    this.dropStreams();
    this.onGone();
  }

  private dropStreams(): void {
    const streams = [...this.streams];
    // All of them first: what a handler does when it is told must find none open.
    for (const stream of streams) stream.close();
    for (const stream of streams) stream.onGone();
  }
}
