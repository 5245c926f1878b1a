import { connect as connectTcp, type Socket } from "node:net";
import { Flag, FrameType, PREFACE } from "../../src/transport/frames.ts";
import { block, type Fields, frame, grpcFields, message, uint32 } from "../transport/h2-peer.ts";

/** A connection that says exactly what it is told, whatever HTTP/2 has to say of that; it need not read. */
export class RawClient {
  readonly socket: Socket;
  closed = false;
  bytesRead = 0;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("close", () => {
      this.closed = true;
    });
    socket.on("data", (chunk: Buffer) => {
      this.bytesRead += chunk.length;
    });
  }

  /** `address` is host:port. */
  static async open(address: string): Promise<RawClient> {
    const [host = "", port] = address.split(":");
    const socket = connectTcp({ host, port: Number(port) });
    const client = new RawClient(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return client;
  }

  /** With the preface and SETTINGS said: pairs of a number and its value. */
  static async openH2(address: string, settings: readonly (readonly [number, number])[] = []): Promise<RawClient> {
    const client = await RawClient.open(address);
    const payload = Buffer.concat(settings.map(([id, value]) => Buffer.concat([Buffer.from([0, id]), uint32(value)])));
    client.write(Buffer.concat([PREFACE, frame(FrameType.settings, 0, 0, payload)]));
    return client;
  }

  write(bytes: Uint8Array): void {
    if (!this.closed) this.socket.write(bytes);
  }

  /** Resolves when what was written has left, or the server has closed the connection. */
  async drained(): Promise<void> {
    while (!this.closed && this.socket.writableLength > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  /** The beginning of a call, without its messages. */
  headers(streamId: number, path: string, more: Fields = []): Buffer {
    return frame(FrameType.headers, Flag.endHeaders, streamId, block(grpcFields(path, more)));
  }

  data(streamId: number, body: Uint8Array, end = false): Buffer {
    return frame(FrameType.data, end ? Flag.endStream : 0, streamId, message(body));
  }

  destroy(): void {
    this.socket.destroy();
  }
}
