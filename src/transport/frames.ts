/** HTTP/2 frames (RFC 9113 §4, §6): numbers and layout. */

export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

export const FRAME_HEADER_BYTES = 9;

export const FrameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const Flag = { none: 0, endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

export const ErrorCode = {
  noError: 0x0,
  protocolError: 0x1,
  internalError: 0x2,
  flowControlError: 0x3,
  settingsTimeout: 0x4,
  streamClosed: 0x5,
  frameSizeError: 0x6,
  refusedStream: 0x7,
  cancel: 0x8,
  compressionError: 0x9,
  enhanceYourCalm: 0xb,
} as const;

export const Setting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

export const WINDOW_BYTES_DEFAULT = 65535;
export const WINDOW_BYTES_MAX = 0x7fffffff;
export const STREAM_ID_MAX = 0x7fffffff;

/** Ends the connection with GOAWAY. `reason` is counted in the transport's stats, and is the GOAWAY's debug text. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
  readonly code: number;
  readonly reason: string;

  constructor(code: number, reason: string, detail = reason) {
    super(detail);
    this.code = code;
    this.reason = reason;
  }
}

export const protocolError = (detail: string): ConnectionError =>
  new ConnectionError(ErrorCode.protocolError, "protocol_error", detail);

export const frameSizeError = (detail: string): ConnectionError =>
  new ConnectionError(ErrorCode.frameSizeError, "frame_size_error", detail);

/** Returns the place behind the header. */
export function writeFrameHeader(
  bytes: Buffer,
  at: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): number {
  bytes[at] = length >>> 16;
  bytes[at + 1] = length >>> 8;
  bytes[at + 2] = length;
  bytes[at + 3] = type;
  bytes[at + 4] = flags;
  return writeUint32(bytes, at + 5, streamId);
}

/** Big-endian, as all numbers of the protocol. Returns the place behind it. */
export function writeUint32(bytes: Buffer, at: number, value: number): number {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
  return at + 4;
}

export const readUint32 = (bytes: Buffer, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;

/** Without the reserved bit: stream ids and window increments. */
export const readUint31 = (bytes: Buffer, at: number): number => readUint32(bytes, at) & 0x7fffffff;
