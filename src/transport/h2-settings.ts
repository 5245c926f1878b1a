import {
  ConnectionError,
  ErrorCode,
  protocolError,
  readUint32,
  Setting,
  WINDOW_BYTES_MAX,
  writeUint32,
} from "./frames.ts";
import { FRAME_BYTES_MAX, HEADER_LIST_BYTES_MAX, STREAM_WINDOW_BYTES } from "./limits.ts";

/** What a peer's SETTINGS changes of how we send to it. */
export interface PeerSettings {
  headerTableSize(bytes: number): void;
  initialWindowSize(bytes: number): void;
}

/** Reads the payload of a SETTINGS frame, whose length is a multiple of six; checks all values (RFC 9113 §6.5.2). */
export function readSettings(bytes: Buffer, start: number, end: number, peer: PeerSettings): void {
  for (let at = start; at < end; at += 6) {
    const value = readUint32(bytes, at + 2);
    switch ((bytes[at]! << 8) | bytes[at + 1]!) {
      case Setting.headerTableSize:
        peer.headerTableSize(value);
        break;
      case Setting.enablePush:
        if (value > 1) throw protocolError("ENABLE_PUSH is neither 0 nor 1");
        break;
      case Setting.initialWindowSize:
        if (value > WINDOW_BYTES_MAX) {
          throw new ConnectionError(
            ErrorCode.flowControlError,
            "flow_control_error",
            "INITIAL_WINDOW_SIZE over 2^31-1",
          );
        }
        peer.initialWindowSize(value);
        break;
      case Setting.maxFrameSize:
        // Any allowed value is at least what we send.
        if (value < FRAME_BYTES_MAX || value > 0xffffff) throw protocolError("MAX_FRAME_SIZE out of its range");
        break;
      default:
        // MAX_CONCURRENT_STREAMS is about pushes, MAX_HEADER_LIST_SIZE is advice, and unknown ones are to be ignored.
        break;
    }
  }
}

/** The payload of our own SETTINGS. */
export function ourSettings(concurrentStreamsMax: number): Buffer {
  const values: [number, number][] = [
    [Setting.maxConcurrentStreams, Math.min(concurrentStreamsMax, 0xffffffff)],
    [Setting.initialWindowSize, STREAM_WINDOW_BYTES],
    [Setting.maxHeaderListSize, HEADER_LIST_BYTES_MAX],
  ];
  const payload = Buffer.alloc(values.length * 6);
  values.forEach(([id, value], i) => {
    payload[i * 6 + 1] = id;
    writeUint32(payload, i * 6 + 2, value);
  });
  return payload;
}
