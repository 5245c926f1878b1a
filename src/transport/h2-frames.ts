import { FloodKind } from "./flood-meter.ts";
import type { FrameSink } from "./frame-reader.ts";
import { ConnectionError, ErrorCode, Flag, FrameType, frameSizeError, protocolError, readUint31 } from "./frames.ts";
import type { H2Connection } from "./h2-connection.ts";
import { H2Requests } from "./h2-requests.ts";
import { type PeerSettings, readSettings } from "./h2-settings.ts";
import { HeaderBlock } from "./header-block.ts";
import { TURN_COST_DATA_BYTES, TurnCost } from "./limits.ts";

const EMPTY = Buffer.alloc(0);

/**
 * The receiving half of a connection: what each frame means in the connection's state (RFC 9113 §6). What breaks the
 * connection is thrown as a ConnectionError; what breaks one stream resets that stream.
 */
export class H2Frames implements FrameSink, PeerSettings {
  settingsSeen = false;
  /** When the last complete frame came. */
  lastFrameMs: number;
  private readonly connection: H2Connection;
  private readonly requests: H2Requests;
  private block: HeaderBlock | null = null;

  constructor(connection: H2Connection) {
    this.connection = connection;
    this.requests = new H2Requests(connection);
    this.lastFrameMs = connection.turnMs;
  }

  get stopped(): boolean {
    return this.connection.mustStop;
  }

  /** Since when a header block is being sent; undefined between blocks. */
  get blockStartedMs(): number | undefined {
    return this.block?.startedMs;
  }

  frame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    this.lastFrameMs = this.connection.turnMs;
    this.connection.input.spend(TurnCost.frame);
    if (!this.settingsSeen && (type !== FrameType.settings || (flags & Flag.ack) !== 0)) {
      throw protocolError("the first frame is not SETTINGS");
    }
    if (this.block !== null && (type !== FrameType.continuation || streamId !== this.block.streamId)) {
      throw protocolError("another frame within a header block");
    }
    switch (type) {
      case FrameType.data:
        this.data(flags, streamId, bytes, start, end);
        break;
      case FrameType.headers:
        this.headers(flags, streamId, bytes, start, end);
        break;
      case FrameType.priority:
        this.priority(streamId, bytes, start, end);
        break;
      case FrameType.rstStream:
        this.rstStream(streamId, end - start);
        break;
      case FrameType.settings:
        this.settings(flags, streamId, bytes, start, end);
        break;
      case FrameType.pushPromise:
        throw protocolError("a client does not push");
      case FrameType.ping:
        this.ping(flags, streamId, bytes, start, end);
        break;
      case FrameType.goaway:
        if (streamId !== 0) throw protocolError("GOAWAY on a stream");
        if (end - start < 8) throw frameSizeError("GOAWAY is too short");
        // The client opens no more streams; those it has go on.
        this.connection.noteFlood(FloodKind.ignored);
        break;
      case FrameType.windowUpdate:
        this.windowUpdate(streamId, bytes, start, end);
        break;
      case FrameType.continuation:
        this.continuation(flags, bytes, start, end);
        break;
      default:
        // Unknown types are to be ignored (RFC 9113 §4.1).
        this.connection.noteFlood(FloodKind.ignored);
    }
  }

  private data(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    const { connection } = this;
    if (streamId === 0) throw protocolError("DATA on stream 0");
    const frameBytes = end - start;
    connection.receiveWindow.take(frameBytes);
    connection.input.spend((frameBytes / TURN_COST_DATA_BYTES) | 0);
    if ((flags & Flag.padded) !== 0) {
      end = withoutPadding(bytes, start, end);
      start++;
    }
    const endStream = (flags & Flag.endStream) !== 0;
    if (end > start) connection.work++;
    else if (!endStream) connection.noteFlood(FloodKind.emptyData);
    const stream = connection.streams.get(streamId);
    if (stream === undefined) this.dataOfGone(streamId, endStream);
    else if (stream.remoteEnded) stream.reset(ErrorCode.streamClosed);
    else stream.takeData(bytes, start, end, frameBytes, endStream);
  }

  private dataOfGone(streamId: number, endStream: boolean): void {
    const { streams, sender } = this.connection;
    if (streams.isIdle(streamId)) throw protocolError("DATA on an idle stream");
    this.connection.noteFlood(FloodKind.ignored);
    if (!streams.wasClosedEarly(streamId)) {
      sender.output.uint32Frame(FrameType.rstStream, streamId, ErrorCode.streamClosed);
    } else if (endStream) streams.forgetEarly(streamId);
  }

  private headers(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId === 0) throw protocolError("HEADERS on stream 0");
    if ((flags & Flag.padded) !== 0) {
      end = withoutPadding(bytes, start, end);
      start++;
    }
    let selfDependent = false;
    if ((flags & Flag.priority) !== 0) {
      if (end - start < 5) throw frameSizeError("HEADERS is too short for its priority");
      selfDependent = readUint31(bytes, start) === streamId;
      start += 5;
    }
    const endStream = (flags & Flag.endStream) !== 0;
    if ((flags & Flag.endHeaders) !== 0) {
      this.requests.take({ streamId, endStream, selfDependent }, bytes, start, end);
      return;
    }
    this.block = new HeaderBlock({ streamId, endStream, selfDependent, startedMs: this.connection.turnMs });
    this.block.add(bytes, start, end);
  }

  private continuation(flags: number, bytes: Buffer, start: number, end: number): void {
    const { block } = this;
    if (block === null) throw protocolError("CONTINUATION without HEADERS");
    block.add(bytes, start, end);
    if ((flags & Flag.endHeaders) === 0) return;
    this.block = null;
    const whole = block.whole();
    this.requests.take(block, whole, 0, whole.length);
  }

  private priority(streamId: number, bytes: Buffer, start: number, end: number): void {
    const { connection } = this;
    if (streamId === 0) throw protocolError("PRIORITY on stream 0");
    connection.noteFlood(FloodKind.priority);
    if (end - start !== 5) this.resetId(streamId, ErrorCode.frameSizeError);
    else if (readUint31(bytes, start) === streamId) this.resetId(streamId, ErrorCode.protocolError);
  }

  /** Resets a stream that may not be there. */
  private resetId(streamId: number, code: number): void {
    const { connection } = this;
    const stream = connection.streams.get(streamId);
    if (stream !== undefined) stream.reset(code);
    else {
      connection.sender.output.uint32Frame(FrameType.rstStream, streamId, code);
      connection.noteFlood(FloodKind.reset);
    }
  }

  private rstStream(streamId: number, length: number): void {
    const { connection } = this;
    if (length !== 4) throw frameSizeError("RST_STREAM has four bytes");
    if (streamId === 0 || connection.streams.isIdle(streamId)) throw protocolError("RST_STREAM on an idle stream");
    const stream = connection.streams.get(streamId);
    if (stream === undefined) connection.noteFlood(FloodKind.ignored);
    else {
      // The peer knows that the stream is over: what it sends on it after this is its mistake.
      stream.remoteEnded = true;
      stream.takeReset();
      connection.noteFlood(FloodKind.reset);
    }
  }

  private settings(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    const { connection } = this;
    const length = end - start;
    if (streamId !== 0) throw protocolError("SETTINGS on a stream");
    if ((flags & Flag.ack) !== 0) {
      if (length !== 0) throw frameSizeError("the acknowledgement of SETTINGS is empty");
      connection.noteFlood(FloodKind.settings);
      return;
    }
    if (length % 6 !== 0) throw frameSizeError("SETTINGS is not made of sixes");
    connection.noteFlood(FloodKind.settings);
    readSettings(bytes, start, end, this);
    this.settingsSeen = true;
    connection.sender.output.controlFrame(FrameType.settings, Flag.ack, EMPTY);
    connection.sender.pump();
  }

  headerTableSize(bytes: number): void {
    this.connection.sender.encoder.allowTable(bytes);
  }

  initialWindowSize(bytes: number): void {
    this.connection.sender.setInitialWindow(bytes, this.connection.streams);
  }

  private ping(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw protocolError("PING on a stream");
    if (end - start !== 8) throw frameSizeError("PING has eight bytes");
    const { connection } = this;
    const { output } = connection.sender;
    const payload = bytes.subarray(start, end);
    connection.noteFlood(FloodKind.ping);
    if ((flags & Flag.ack) !== 0) {
      connection.farewell.pingAnswered(payload);
      return;
    }
    if (!connection.keepalive.mayPing(connection.turnMs, output.responseFrames, connection.streams.size > 0)) {
      throw new ConnectionError(ErrorCode.enhanceYourCalm, "too_many_pings");
    }
    output.controlFrame(FrameType.ping, Flag.ack, payload);
  }

  private windowUpdate(streamId: number, bytes: Buffer, start: number, end: number): void {
    const { connection } = this;
    if (end - start !== 4) throw frameSizeError("WINDOW_UPDATE has four bytes");
    connection.noteFlood(FloodKind.windowUpdate);
    const bytesMore = readUint31(bytes, start);
    if (streamId === 0) {
      if (bytesMore === 0) throw protocolError("WINDOW_UPDATE by nothing");
      if (!connection.sender.grow(bytesMore)) {
        throw new ConnectionError(ErrorCode.flowControlError, "flow_control_error", "the window is over 2^31-1");
      }
    } else {
      if (connection.streams.isIdle(streamId)) throw protocolError("WINDOW_UPDATE on an idle stream");
      if (bytesMore === 0) {
        this.resetId(streamId, ErrorCode.protocolError);
        return;
      }
      connection.streams.get(streamId)?.windowGrew(bytesMore);
    }
    connection.sender.pump();
  }
}

/** The end of what lies between the pad length and the padding. */
function withoutPadding(bytes: Buffer, start: number, end: number): number {
  if (start >= end) throw frameSizeError("a padded frame has a pad length");
  const unpadded = end - bytes[start]!;
  if (unpadded < start + 1) throw protocolError("more padding than frame");
  return unpadded;
}
