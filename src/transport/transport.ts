import type { MaybePromise } from "../base/maybe-promise.ts";
import type { PeerIdentity } from "../runtime/runtime.ts";

/**
 * The server's wire path as its users see it: gRPC over HTTP/2, and plain HTTP requests over HTTP/1.1 and HTTP/2, on
 * one port. Knows no etcd. Bytes go in and out; who registers a method decodes and encodes.
 */

/**
 * What a response is made of: it is asked for its size once, then written once, straight into the connection's buffer.
 */
export interface Encodable {
  byteLength(): number;
  /** Writes exactly byteLength() bytes at `at`; returns the place behind them. */
  encodeInto(buffer: Buffer, at: number): number;
}

/**
 * The answer of a unary call that is too large to be held: its bytes come in pieces as the client takes them. Given
 * only to a Call that `takesPieces`.
 */
export interface Pieces extends Encodable {
  /**
   * The next piece, which is taken over, of whole fields of the message; byteLength() bytes altogether. A failure ends
   * the call with its status.
   */
  nextPiece(): MaybePromise<Buffer>;
  /** Called once: no more pieces are wanted. */
  close(): void;
}

export const inPieces = (message: Encodable): message is Pieces => (message as Partial<Pieces>).nextPiece !== undefined;

/** gRPC's status codes (grpc/doc/statuscodes.md) that a handler may give. */
export class GrpcError extends Error {
  override readonly name = "GrpcError";
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

export interface Call {
  /** "/etcdserverpb.KV/Range" */
  readonly path: string;
  readonly authority: string;
  readonly remoteAddress: string;
  /** Of the client certificate that TLS has verified; null: there is none. */
  readonly peer: PeerIdentity | null;
  /** `Routes.label` of where it came in. */
  readonly label?: string | undefined;
  /** First value of a metadata key (lower case), without -bin decoding; undefined if it was not sent. */
  metadata(name: string): string | undefined;
  /**
   * Shared with calls of the same connection whose metadata are the same, where that is known: whoever works something
   * out of metadata and peer alone may keep it there. It must be small: it lives as long as the connection.
   */
  readonly shared?: { known: unknown };
  /** An answer may be given as Pieces. */
  readonly takesPieces?: boolean;
  /** Its pieces may end amid a field. */
  readonly takesAnyPieces?: boolean;
  /** Milliseconds left by grpc-timeout; undefined where none was given. */
  timeLeftMs(): number | undefined;
  /** Called once when the client cancels, its deadline passes or its connection ends. At once if that was before. */
  onCancel(handler: () => void): void;
}

/**
 * `message` is a view that stays valid and unchanged as long as it is referenced (it pins the buffer that it was read
 * into). A throw or rejection of GrpcError is answered with its code; of anything else with Internal, and `onBug` is
 * told.
 */
export type UnaryHandler = (message: Buffer, call: Call) => MaybePromise<Encodable>;

/** Called when a streaming call opens; the handler sets the stream's callbacks before it returns. */
export type StreamHandler = (stream: GrpcStream) => void;

/** Messages of one method's streams, for metrics. */
export interface StreamTraffic {
  received: number;
  sent: number;
}

export interface GrpcStream extends Call {
  /** Where this stream's messages are counted; null or left out: nowhere. */
  traffic?: StreamTraffic | null;
  onMessage: (message: Buffer) => void;
  /** The client has finished sending. */
  onHalfClose: () => void;
  /** Queues a message. False when what is queued for this stream is over its bound: stop until onDrain. */
  send(message: Encodable): boolean;
  /** Queued has fallen below the bound again, or there is the room that was asked for. */
  onDrain: () => void;
  /**
   * Whether a message of so many bytes may be queued now, as others wait for clients that do not take theirs. False:
   * onDrain is called when there may be room. Whoever makes large messages that nobody has asked for one by one asks
   * first, for `send` itself refuses nothing.
   */
  hasRoom(bytes: number): boolean;
  /** Bytes queued for this stream and not yet handed to the connection. */
  readonly queuedBytes: number;
  /** Stops reading messages (and, by flow control, the client's sending) until resumed. */
  pauseMessages(): void;
  resumeMessages(): void;
  /** Ends the call with trailers, after what is queued; code 0 is OK. Nothing may be sent after it. */
  end(code: number, message?: string): void;
}

export interface HttpRequest {
  readonly method: string;
  /** Path and query as sent. */
  readonly target: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
  readonly remoteAddress: string;
  /** It came by TLS. */
  readonly secure?: boolean;
  readonly peer?: PeerIdentity | null;
  /** `Routes.label` of where it came in. */
  readonly label?: string | undefined;
  /** Called once if the client goes away, or its connection ends, before it has the whole answer. */
  readonly onGone?: (handler: () => void) => void;
  /** The client offers to go on as a WebSocket (RFC 6455): an answer may take that up. */
  readonly webSocket?: boolean;
}

export interface HttpResponse {
  status: number;
  headers: Record<string, string>;
  body: Buffer | string | HttpBody;
  /** Takes the request's offer up: called once, when the client has been told so; status and body are left out. */
  webSocket?: (socket: MessageSocket) => void;
}

/** Why a WebSocket ends (RFC 6455 §7.4.1). */
export const WebSocketCode = {
  normal: 1000,
  protocolError: 1002,
  tooLarge: 1009,
  internalError: 1011,
  tryAgainLater: 1013,
} as const;

/** Messages both ways, in the place of an answer's body. The request's `onGone` tells of its end. */
export interface MessageSocket {
  /** A whole message, which is the receiver's. */
  onMessage: (message: Buffer) => void;
  /** Queued has fallen below the bound again. */
  onDrain: () => void;
  /** Queues a message of text. False when what is queued is over its bound: stop until onDrain. */
  send(message: Buffer): boolean;
  /** No message is given until resumed; the client is kept from sending many. */
  pause(): void;
  resume(): void;
  /** Ends it, after what is queued, with a WebSocketCode and a short reason in ASCII. */
  close(code: number, reason?: string): void;
}

/** A body that is made as it goes. Called once, when the head has been queued; may write at once. */
export type HttpBody = (sink: HttpSink) => void;

export interface HttpSink {
  /** Queues bytes. False when what is queued is over its bound: stop until onDrain. Nothing is sent to who has gone. */
  write(bytes: Buffer): boolean;
  /** As of a GrpcStream; left out where a connection carries one answer at a time. */
  hasRoom?(bytes: number): boolean;
  /** Queued has fallen below the bound again, or there is the room that was asked for. */
  onDrain: () => void;
  /** The body is complete. */
  end(): void;
  /** The body will never be complete: the client is to see that. */
  abort(): void;
}

export type HttpHandler = (request: HttpRequest) => MaybePromise<HttpResponse>;

export interface Routes {
  unary: ReadonlyMap<string, UnaryHandler>;
  streams: ReadonlyMap<string, StreamHandler>;
  /** All that is not gRPC (no content-type application/grpc). */
  http: HttpHandler;
  /** What every call that comes in here carries, for who serves the same routes in several places. */
  label?: string | undefined;
}

export interface TransportSettings {
  /** A larger gRPC message gets ResourceExhausted "grpc: received message larger than max (N vs. M)". */
  messageBytesMax: number;
  /** The same for the body of a plain HTTP request; left out: as large as a message. */
  httpBodyBytesMax?: number;
  concurrentStreamsMax: number;
  connectionsMax: number;
  /**
   * Clients that ping more often than this, beyond a small allowance, get GOAWAY ENHANCE_YOUR_CALM "too_many_pings" (0:
   * any may).
   */
  keepaliveMinMs: number;
  /** Ping a connection idle for this long (0: never); close it when no answer comes within the timeout. */
  keepaliveIntervalMs: number;
  keepaliveTimeoutMs: number;
  /** Bytes of queued messages at which `GrpcStream.send` says stop. */
  streamQueueBytesMax: number;
  /** Bytes that a connection may have unsent before its new requests wait. */
  connectionQueueBytesMax: number;
  /** Bytes unsent on all connections, past which each may have few (left out: QUEUED_BYTES_TOTAL_MAX). */
  queueBytesTotalMax?: number;
  /** Bytes of requests that are not complete, on all connections (left out: ASSEMBLY_BYTES_TOTAL_MAX). */
  assemblyBytesTotalMax?: number;
  /** Bytes that open streams may take on all connections (left out: STREAMS_BYTES_TOTAL_MAX). */
  streamsBytesTotalMax?: number;
}

/** Counts for metrics and tests. */
export interface TransportStats {
  connections: number;
  streams: number;
  bytesReceived: number;
  bytesSent: number;
  /** Connections ended because of a flood or protocol error, by reason. */
  refused: ReadonlyMap<string, number>;
}
