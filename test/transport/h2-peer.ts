import { Flag, FrameType, PREFACE, Setting, writeFrameHeader, writeUint32 } from "../../src/transport/frames.ts";
import type { HeaderField } from "../../src/transport/header-field.ts";
import { HpackDecoder } from "../../src/transport/hpack-decoder.ts";
import type { Transport } from "../../src/transport/server.ts";
import type { ManualRuntime } from "./manual-runtime.ts";
import { MemoryStream } from "./memory-stream.ts";

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
  /** Of HEADERS, as one text a field: "name: value". */
  readonly fields: string[];
}

export type Fields = readonly (readonly [string, string])[];

export const frame = (type: number, flags: number, streamId: number, payload: Uint8Array = Buffer.alloc(0)): Buffer => {
  const bytes = Buffer.alloc(9 + payload.length);
  writeFrameHeader(bytes, 0, payload.length, type, flags, streamId);
  bytes.set(payload, 9);
  return bytes;
};

export const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  writeUint32(bytes, 0, value);
  return bytes;
};

/** Literals without indexing, raw strings of less than 127 bytes: what any decoder must take. */
export const block = (fields: Fields): Buffer =>
  Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));

export function text(value: string): Buffer {
  const bytes = Buffer.from(value, "latin1");
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const prefix = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest >>>= 7) prefix.push(128 | (rest & 127));
  return Buffer.concat([Buffer.from([...prefix, rest]), bytes]);
}

export const grpcFields = (path: string, more: Fields = []): Fields => [
  [":method", "POST"],
  [":scheme", "http"],
  [":path", path],
  [":authority", "test"],
  ["content-type", "application/grpc"],
  ["te", "trailers"],
  ...more,
];

/** A message with its prefix. */
export const message = (body: Uint8Array | string, flag = 0): Buffer => {
  const bytes = typeof body === "string" ? Buffer.from(body) : Buffer.from(body);
  return Buffer.concat([Buffer.from([flag]), uint32(bytes.length), bytes]);
};

/** A client of HTTP/2 that does exactly what it is told, on a connection in memory. */
export class H2Peer {
  readonly stream = new MemoryStream();
  private readonly runtime: ManualRuntime;
  private readonly decoder = new HpackDecoder();
  private rest: Buffer = Buffer.alloc(0);

  constructor(transport: Transport, runtime: ManualRuntime, settings: readonly [number, number][] = []) {
    this.runtime = runtime;
    transport.accept(this.stream);
    const payload = Buffer.concat(settings.map(([id, value]) => Buffer.concat([Buffer.from([0, id]), uint32(value)])));
    this.stream.onData(Buffer.concat([PREFACE, frame(FrameType.settings, 0, 0, payload)]));
  }

  send(...frames: Buffer[]): void {
    this.stream.onData(Buffer.concat(frames));
  }

  headers(streamId: number, fields: Fields, flags: number = Flag.endHeaders): void {
    this.send(frame(FrameType.headers, flags, streamId, block(fields)));
  }

  headerBlock(streamId: number, encoded: Uint8Array): void {
    this.send(frame(FrameType.headers, Flag.endHeaders, streamId, encoded));
  }

  data(streamId: number, payload: Uint8Array, end = true): void {
    this.send(frame(FrameType.data, end ? Flag.endStream : 0, streamId, payload));
  }

  /** A whole unary call. */
  call(streamId: number, path: string, body: Uint8Array | string, more: Fields = []): void {
    this.headers(streamId, grpcFields(path, more));
    this.data(streamId, message(body));
  }

  /** Frames that came since it was last asked, but for SETTINGS and WINDOW_UPDATE on the connection. */
  async got(): Promise<Frame[]> {
    return (await this.all()).filter(
      ({ type, streamId }) => type !== FrameType.settings && !(type === FrameType.windowUpdate && streamId === 0),
    );
  }

  async all(): Promise<Frame[]> {
    await this.runtime.turn();
    let bytes = Buffer.concat([this.rest, this.stream.take()]);
    const frames: Frame[] = [];
    while (bytes.length >= 9 && bytes.length >= 9 + bytes.readUIntBE(0, 3)) {
      const length = bytes.readUIntBE(0, 3);
      const payload = bytes.subarray(9, 9 + length);
      const type = bytes[3]!;
      const fields = type === FrameType.headers ? this.decoder.decode(payload, 0, length, 65536) : [];
      frames.push({ type, flags: bytes[4]!, streamId: bytes.readUInt32BE(5), payload, fields: fields.map(line) });
      bytes = bytes.subarray(9 + length);
    }
    this.rest = bytes;
    return frames;
  }
}

const line = (field: HeaderField): string => `${field.name}: ${field.value}`;

/** The code and debug text of the GOAWAY among the frames. */
export function goawayOf(frames: readonly Frame[]): { last: number; code: number; text: string } | undefined {
  const goaway = frames.find(({ type }) => type === FrameType.goaway);
  if (goaway === undefined) return undefined;
  const { payload } = goaway;
  return { last: payload.readUInt32BE(0), code: payload.readUInt32BE(4), text: payload.toString("latin1", 8) };
}

/** What a unary call got: its messages' bytes, and the fields of its headers and trailers. */
export function answerTo(
  streamId: number,
  frames: readonly Frame[],
): { body: string; fields: string[]; ended: boolean } {
  const own = frames.filter((one) => one.streamId === streamId);
  const body = Buffer.concat(own.filter(({ type }) => type === FrameType.data).map(({ payload }) => payload));
  return {
    body: body.toString("latin1", 5),
    fields: own.flatMap(({ fields }) => fields),
    ended: own.some(({ type, flags }) => type !== FrameType.rstStream && (flags & Flag.endStream) !== 0),
  };
}

export const resetsOf = (frames: readonly Frame[]): [number, number][] =>
  frames
    .filter(({ type }) => type === FrameType.rstStream)
    .map(({ streamId, payload }): [number, number] => [streamId, payload.readUInt32BE(0)]);

export const windowSetting = (bytes: number): [number, number] => [Setting.initialWindowSize, bytes];
