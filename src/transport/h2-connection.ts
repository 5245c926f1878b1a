import type { ByteStream, PeerIdentity } from "../runtime/runtime.ts";
import { ConnectionBudget } from "./assembly-room.ts";
import type { Connection, Flushable, TransportContext } from "./context.ts";
import { FloodKind, FloodMeter } from "./flood-meter.ts";
import { FrameReader } from "./frame-reader.ts";
import {
  ConnectionError,
  ErrorCode,
  Flag,
  FrameType,
  protocolError,
  STREAM_ID_MAX,
  WINDOW_BYTES_MAX,
  writeUint32,
} from "./frames.ts";
import type { UnaryCall } from "./grpc-unary.ts";
import { H2Frames } from "./h2-frames.ts";
import { H2Output } from "./h2-output.ts";
import { H2Sender } from "./h2-sender.ts";
import { ourSettings, type PeerSettings } from "./h2-settings.ts";
import type { H2Stream } from "./h2-stream.ts";
import { HpackError } from "./hpack-decoder.ts";
import { Keepalive } from "./keepalive.ts";
import {
  BODY_TIMEOUT_MS,
  DRAIN_GRACE_MS,
  EARLY_CLOSED_MAX,
  HANDSHAKE_TIMEOUT_MS,
  HEADERS_TIMEOUT_MS,
  LINGER_MS,
  STALL_TIMEOUT_MS,
  STREAM_BYTES,
  STREAMS_BYTES_SHARE,
  STREAMS_BYTES_TOTAL_MAX,
  TURN_COST_MAX,
} from "./limits.ts";
import { ReceiveWindow } from "./receive-window.ts";
import { SendRoom } from "./send-room.ts";

/** Payloads of the ping whose answer says that the client has seen our first GOAWAY; of those that ask for life. */
const DRAIN_PING = Buffer.from("draining", "latin1");
const KEEPALIVE_PING = Buffer.from("keepaliv", "latin1");
const STALL_CHECK_MS = 5_000;

/**
 * One HTTP/2 connection of the server (RFC 9113), after the client's preface. Invariants:
 *  1. `open` until the first GOAWAY with an error, the peer's end, or the end of a drain; then `closing`: nothing more
 *     is written, what comes in is thrown away, until the peer closes or the linger is over; then `closed`.
 *  2. A stream is in `streams` from its first header block until its response ended or it was reset, never again after.
 *  3. What is written within a turn leaves in one write at its end.
 *  4. While responses that are complete wait beyond the bound, no request is handed to a handler, but frames are read:
 *     they may open the windows. While the socket itself is behind by the bound, nothing is read.
 */
export class H2Connection implements Connection, Flushable, PeerSettings {
  readonly context: TransportContext;
  readonly remoteAddress: string;
  readonly secure: boolean;
  readonly peer: PeerIdentity | null;
  readonly sender: H2Sender;
  /** While it is full, streams queue no more than a message; those that ask before, nothing. */
  readonly room: SendRoom;
  readonly receiveWindow: ReceiveWindow;
  readonly assemblyBudget: ConnectionBudget;
  readonly streams = new Map<number, H2Stream>();
  state: "open" | "closing" | "closed" = "open";
  /** The time of the turn at hand. */
  turnMs: number;
  lastStreamId = 0;
  /** Requests and DATA taken; what floods are measured against. */
  work = 0;
  /** What was done for the client since others last had their turn. */
  turnCost = 0;
  private readonly bytes: ByteStream;
  private readonly output: H2Output;
  private readonly onGone: () => void;
  private readonly meter: FloodMeter;
  private readonly keepalive: Keepalive;
  private readonly frames: H2Frames;
  private readonly reader: FrameReader;
  private readonly earlyClosed = new Set<number>();
  private parked: UnaryCall[] = [];
  /** Handlers that still work for streams that are gone. */
  private orphans = 0;
  private inTurn = false;
  private flushDue = false;
  private paused = false;
  /** Read from the socket and not looked at yet: others have their turn before. */
  private unread: Buffer[] | null = null;
  /** Taken by streams that are open. */
  private streamBytes = 0;
  private farewell: { startedMs: number; final: boolean } | null = null;
  private closingMs = 0;
  private lingerMs = LINGER_MS;
  private readonly startedMs: number;
  private stallCheckedMs: number;

  constructor(context: TransportContext, bytes: ByteStream, onGone: () => void) {
    const { settings } = context;
    this.context = context;
    this.bytes = bytes;
    this.remoteAddress = bytes.remoteAddress;
    this.secure = bytes.secure === true;
    this.peer = bytes.peer ?? null;
    this.onGone = onGone;
    this.turnMs = context.clock.monotonicMs();
    this.startedMs = this.turnMs;
    this.stallCheckedMs = this.turnMs;
    this.output = new H2Output(context, bytes, () => this.relieved());
    this.sender = new H2Sender(this.output, () => context.timers.defer(this.continueSending));
    this.room = new SendRoom(context, this.sender);
    this.receiveWindow = new ReceiveWindow(this.output);
    this.assemblyBudget = new ConnectionBudget(context.assembly, settings, () => this.giveUpRequests());
    this.meter = new FloodMeter(this.turnMs);
    this.keepalive = new Keepalive(settings, this.turnMs);
    this.frames = new H2Frames(this);
    this.reader = new FrameReader(this.frames);
    this.output.controlFrame(FrameType.settings, Flag.none, ourSettings(settings.concurrentStreamsMax));
    this.receiveWindow.open();
    bytes.onData = (chunk) => this.receive(chunk);
    bytes.onEnd = () => this.guard(() => this.peerEnded());
    bytes.onClose = () => this.closed();
  }

  /** Bytes from the peer, the preface not among them. */
  receive(chunk: Buffer): void {
    this.context.bytesReceived += chunk.length;
    if (this.state !== "open") return;
    // The socket may have had one more chunk when it was paused.
    if (this.unread !== null) this.unread.push(chunk);
    else this.read(chunk);
  }

  private read(chunk: Buffer): void {
    this.turnMs = this.context.clock.monotonicMs();
    this.keepalive.received(this.turnMs);
    this.inTurn = true;
    try {
      const taken = this.reader.push(chunk);
      if (this.turnCost > TURN_COST_MAX && this.state === "open") {
        this.unread = taken < chunk.length ? [chunk.subarray(taken)] : [];
        this.bytes.pause();
        this.context.timers.defer(this.readOn);
      }
    } catch (error) {
      this.failWith(error);
    }
    this.inTurn = false;
    this.flushTurn();
  }

  /** Others had their turn. */
  private readonly readOn = (): void => {
    this.turnCost = 0;
    const chunks = this.unread;
    this.unread = null;
    if (chunks === null || this.state !== "open") return;
    for (const [at, chunk] of chunks.entries()) {
      this.read(chunk);
      // What `read` may change is not seen by the compiler.
      const rest = this.unread as Buffer[] | null;
      if (rest === null) continue;
      rest.push(...chunks.slice(at + 1));
      return;
    }
    if (this.state === "open" && !this.paused) this.bytes.resume();
  };

  /** No further frame is looked at: nothing more is wanted, or it is the turn of others. */
  get mustStop(): boolean {
    return this.turnCost > TURN_COST_MAX || this.state !== "open";
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
    if (this.parked.length > 0) this.unpark();
    if (this.room.isAwaited) this.lookForRoom();
    this.output.flush();
    if (this.output.congested && !this.paused) this.pauseWhenFull();
    if (this.farewell?.final === true && this.streams.size === 0) this.finish(STALL_TIMEOUT_MS);
  }

  /** Something was written outside a turn of its own: it leaves at the end of this one. */
  touch(): void {
    if (this.inTurn || this.flushDue || this.state !== "open") return;
    this.flushDue = true;
    this.context.flushLater(this);
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

  // The table of streams.

  /** No further stream is taken: as many as allowed are open, or worked for. */
  get isFull(): boolean {
    const { concurrentStreamsMax, streamsBytesTotalMax = STREAMS_BYTES_TOTAL_MAX } = this.context.settings;
    if (this.streams.size + this.orphans >= concurrentStreamsMax) return true;
    return this.context.streamBytes > streamsBytesTotalMax && this.streamBytes > STREAMS_BYTES_SHARE;
  }

  /** The last GOAWAY has said which stream is the last. */
  get refusesStreams(): boolean {
    return this.farewell?.final === true;
  }

  isIdle(streamId: number): boolean {
    return streamId > this.lastStreamId || (streamId & 1) === 0;
  }

  add(stream: H2Stream): void {
    this.streams.set(stream.id, stream);
    this.context.streams++;
    this.countStream(STREAM_BYTES + stream.head.listBytes);
  }

  /** The stream is over, whichever way. */
  forget(stream: H2Stream): void {
    if (stream.closed) return;
    stream.closed = true;
    this.streams.delete(stream.id);
    this.room.forget(stream);
    this.context.streams--;
    this.countStream(-STREAM_BYTES - stream.head.listBytes);
    if (!stream.remoteEnded) this.rememberEarly(stream.id);
    if (stream.busy) this.orphans++;
    stream.dropQueue();
    stream.onClosed();
  }

  private countStream(bytes: number): void {
    this.streamBytes += bytes;
    this.context.streamBytes += bytes;
  }

  /** All that is not complete: others need the room. */
  private giveUpRequests(): void {
    this.guard(() => {
      for (const stream of this.streams.values()) stream.giveUpRequest();
    });
  }

  /** A handler that worked for a stream that is gone has come to its end. */
  settled(): void {
    this.orphans--;
  }

  /** What the peer still sends on this stream was sent before it could know that the stream had ended. */
  rememberEarly(streamId: number): void {
    this.earlyClosed.add(streamId);
    if (this.earlyClosed.size <= EARLY_CLOSED_MAX) return;
    for (const oldest of this.earlyClosed) {
      this.earlyClosed.delete(oldest);
      return;
    }
  }

  /** Ends a stream because of what its peer did. */
  resetStream(stream: H2Stream, code: number): void {
    if (stream.closed) return;
    this.output.uint32Frame(FrameType.rstStream, stream.id, code);
    stream.takeReset();
    this.noteReset();
  }

  /** Likewise, where there may be no such stream. */
  resetId(streamId: number, code: number): void {
    const stream = this.streams.get(streamId);
    if (stream !== undefined) this.resetStream(stream, code);
    else {
      this.output.uint32Frame(FrameType.rstStream, streamId, code);
      this.noteReset();
    }
  }

  dataOfGone(streamId: number, endStream: boolean): void {
    if (this.isIdle(streamId)) throw protocolError("DATA on an idle stream");
    this.noteFlood(FloodKind.ignored);
    if (!this.earlyClosed.has(streamId)) this.output.uint32Frame(FrameType.rstStream, streamId, ErrorCode.streamClosed);
    else if (endStream) this.earlyClosed.delete(streamId);
  }

  headersOfGone(streamId: number): void {
    if ((streamId & 1) === 0) throw protocolError("a client's stream has an odd id");
    this.noteFlood(FloodKind.ignored);
    if (this.earlyClosed.delete(streamId)) return;
    throw new ConnectionError(ErrorCode.streamClosed, "protocol_error", "HEADERS on a closed stream");
  }

  // Floods.

  noteReset(): void {
    this.noteFlood(FloodKind.reset);
  }

  noteFlood(kind: number): void {
    const reason = this.meter.note(kind, this.turnMs, this.work + this.output.responseFrames);
    if (reason !== undefined) throw new ConnectionError(ErrorCode.enhanceYourCalm, reason);
  }

  pinged(payload: Buffer): void {
    this.noteFlood(FloodKind.ping);
    if (!this.keepalive.mayPing(this.turnMs, this.output.responseFrames, this.streams.size > 0)) {
      throw new ConnectionError(ErrorCode.enhanceYourCalm, "too_many_pings");
    }
    this.output.controlFrame(FrameType.ping, Flag.ack, payload);
  }

  pingAnswered(payload: Buffer): void {
    this.noteFlood(FloodKind.ping);
    if (this.farewell !== null && payload.equals(DRAIN_PING)) this.endDrain();
  }

  // What the peer's SETTINGS changes.

  headerTableSize(bytes: number): void {
    this.sender.encoder.allowTable(bytes);
  }

  initialWindowSize(bytes: number): void {
    const more = bytes - this.sender.initialWindow;
    this.sender.initialWindow = bytes;
    for (const stream of this.streams.values()) {
      stream.sendWindow += more;
      if (stream.sendWindow > WINDOW_BYTES_MAX) {
        throw new ConnectionError(ErrorCode.flowControlError, "flow_control_error", "a window is over 2^31-1");
      }
      if (stream.queuedBytes > 0) this.sender.ready(stream);
    }
  }

  // Bounds of what waits.

  private lookForRoom(): void {
    this.inTurn = true;
    const more = this.room.lookForSome();
    this.inTurn = false;
    if (more) this.touch();
  }

  /** Requests may be handed to handlers. */
  get mayDispatch(): boolean {
    return !this.output.congested && this.sender.completeQueuedBytes <= this.queueBytesMax;
  }

  queued(stream: H2Stream, bytes: number): void {
    // Until now there was nothing to take.
    if (this.sender.queuedBytes === 0) this.sender.leftMs = this.turnMs;
    this.sender.queuedBytes += bytes;
    this.context.queuedBytes += bytes;
    if (stream.completes) this.sender.completeQueuedBytes += bytes;
    stream.progressMs = this.turnMs;
    this.context.unsentGrew();
  }

  get unsentBytes(): number {
    return this.sender.queuedBytes + this.output.share.counted;
  }

  get takenMs(): number {
    return this.sender.leftMs;
  }

  /** Sent, or given up. */
  unqueued(stream: H2Stream, bytes: number): void {
    this.sender.queuedBytes -= bytes;
    this.context.queuedBytes -= bytes;
    if (stream.completes) this.sender.completeQueuedBytes -= bytes;
    if (this.parked.length > 0 ? this.mayDispatch : this.room.isAwaited && !this.room.isFull) this.touch();
  }

  hold(bytes: number): void {
    this.receiveWindow.hold(bytes);
  }

  release(bytes: number): void {
    if (bytes > 0 && this.state === "open") this.receiveWindow.release(bytes);
  }

  get mustPark(): boolean {
    return this.parked.length > 0 || !this.mayDispatch;
  }

  /** The call runs when responses have left. */
  park(call: UnaryCall): void {
    this.parked.push(call);
  }

  private unpark(): void {
    const { parked } = this;
    this.inTurn = true;
    let ran = 0;
    while (ran < parked.length && this.mayDispatch) parked[ran++]!.unpark();
    parked.splice(0, ran);
    this.inTurn = false;
  }

  private get queueBytesMax(): number {
    return this.context.connectionQueueBytesMax;
  }

  private pauseWhenFull(): void {
    if (this.sender.completeQueuedBytes + this.output.pendingBytes <= this.queueBytesMax) return;
    this.paused = true;
    this.bytes.pause();
  }

  private readonly continueSending = (): void => {
    if (this.state === "open") this.guard(() => this.sender.nextTurn());
  };

  /** The socket has taken most of what it had. */
  private relieved(): void {
    if (this.state !== "open") return;
    if (this.paused) {
      this.paused = false;
      if (this.unread === null) this.bytes.resume();
    }
    this.guard(() => this.sender.pump());
  }

  // Time limits.

  sweep(nowMs: number): void {
    if (this.state !== "open") {
      if (nowMs - this.closingMs >= (this.output.pendingBytes > 0 ? this.lingerMs : LINGER_MS)) this.bytes.destroy();
      return;
    }
    const late = this.lateness(nowMs);
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
    if (this.farewell?.final === false && nowMs - this.farewell.startedMs >= DRAIN_GRACE_MS) this.endDrain();
    this.pingIdle(nowMs);
    if (this.room.isAwaited) this.touch();
    if (nowMs - this.stallCheckedMs < STALL_CHECK_MS) return;
    this.stallCheckedMs = nowMs;
    this.guard(() => this.endStalled());
  }

  /** What the peer is too slow with. */
  private lateness(nowMs: number): string | undefined {
    const { frames } = this;
    if (!frames.settingsSeen && nowMs - this.startedMs >= HANDSHAKE_TIMEOUT_MS) return "slow_handshake";
    if (frames.blockStartedMs !== undefined && nowMs - frames.blockStartedMs >= HEADERS_TIMEOUT_MS)
      return "slow_headers";
    if (this.reader.midFrame && nowMs - frames.lastFrameMs >= STALL_TIMEOUT_MS) return "slow_frame";
    return undefined;
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

  private endStalled(): void {
    for (const stream of this.streams.values()) {
      // A stream may be quiet for as long as it likes, but not keep others from the room that there is.
      const mustGoOn = stream.completes ? !stream.busy : stream.queuedBytes > 0 && this.context.isCrowded;
      const isStalled = mustGoOn && this.turnMs - stream.progressMs >= STALL_TIMEOUT_MS;
      if (!isStalled && this.turnMs - stream.unfinishedSinceMs < BODY_TIMEOUT_MS) continue;
      this.context.countRefused("stalled_stream");
      this.resetStream(stream, ErrorCode.cancel);
    }
  }

  // The end.

  drain(): void {
    if (this.state !== "open" || this.farewell !== null) return;
    this.farewell = { startedMs: this.context.clock.monotonicMs(), final: false };
    // Streams that are on their way are taken; the answer to the ping says that no more are.
    this.goaway(STREAM_ID_MAX, ErrorCode.noError, "");
    this.output.controlFrame(FrameType.ping, Flag.none, DRAIN_PING);
    this.touch();
  }

  destroy(): void {
    if (this.state === "closed") return;
    this.state = "closing";
    this.output.gone();
    this.dropStreams();
    this.bytes.destroy();
  }

  private endDrain(): void {
    if (this.farewell === null || this.farewell.final) return;
    this.farewell.final = true;
    this.goaway(this.lastStreamId, ErrorCode.noError, "");
    this.touch();
  }

  private goaway(lastStreamId: number, code: number, text: string): void {
    const debug = Buffer.from(text, "latin1");
    const payload = Buffer.alloc(8 + debug.length);
    writeUint32(payload, 0, lastStreamId);
    writeUint32(payload, 4, code);
    debug.copy(payload, 8);
    this.output.controlFrame(FrameType.goaway, Flag.none, payload);
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
      this.goaway(this.lastStreamId, code, text);
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
    if (this.paused || this.unread !== null) this.bytes.resume();
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
    this.dropStreams();
    this.onGone();
  }

  private dropStreams(): void {
    const streams = [...this.streams.values()];
    // All of them first: what a handler does when it is told must find none open.
    for (const stream of streams) this.forget(stream);
    for (const stream of streams) stream.onGone();
  }
}
