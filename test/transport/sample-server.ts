import { createTransport, type Transport } from "../../src/transport/server.ts";
import {
  type Call,
  type Encodable,
  GrpcError,
  type GrpcStream,
  type HttpHandler,
  type StreamHandler,
  type TransportSettings,
  type UnaryHandler,
} from "../../src/transport/transport.ts";
import { ManualRuntime } from "./manual-runtime.ts";

export const bytesMessage = (bytes: Uint8Array | string): Encodable => {
  const message = typeof bytes === "string" ? Buffer.from(bytes) : bytes;
  return {
    byteLength: () => message.length,
    encodeInto: (buffer, at) => {
      buffer.set(message, at);
      return at + message.length;
    },
  };
};

export const sampleSettings: TransportSettings = {
  messageBytesMax: 2 << 20,
  concurrentStreamsMax: 1000,
  connectionsMax: 100,
  keepaliveMinMs: 5_000,
  keepaliveIntervalMs: 0,
  keepaliveTimeoutMs: 20_000,
  streamQueueBytesMax: 65_536,
  connectionQueueBytesMax: 1 << 20,
};

/** What the sample's handlers have seen, and what a test may tell them. */
export class Sample {
  readonly calls: { path: string; message: string; call: Call }[] = [];
  readonly streams: GrpcStream[] = [];
  readonly events: string[] = [];
  readonly bugs: unknown[] = [];
  /** Answers of /test.Sample/Wait, in the order of the calls. */
  readonly waiting: { resolve: (answer: Encodable) => void; reject: (error: unknown) => void }[] = [];

  readonly unary: ReadonlyMap<string, UnaryHandler> = new Map<string, UnaryHandler>([
    ["/test.Sample/Echo", (message, call) => this.note(message, call, bytesMessage(Buffer.from(message)))],
    [
      "/test.Sample/Later",
      (message, call) => Promise.resolve(this.note(message, call, bytesMessage(Buffer.from(message)))),
    ],
    [
      "/test.Sample/Large",
      (message, call) =>
        this.note(message, call, bytesMessage(Buffer.alloc(Math.min(Number(message) || 0, 1 << 26), 0x78))),
    ],
    [
      "/test.Sample/Fail",
      (message) => {
        const [code = ""] = message.toString().split(":");
        const text = message.toString().slice(code.length + 1);
        throw new GrpcError(Number(code) || 2, text);
      },
    ],
    [
      "/test.Sample/Bug",
      () => {
        throw new TypeError("a bug");
      },
    ],
    [
      "/test.Sample/Metadata",
      (message, call) => bytesMessage(`${call.metadata(message.toString()) ?? "none"} of ${call.authority}`),
    ],
    [
      "/test.Sample/Wait",
      (message, call) => {
        this.note(message, call, null);
        call.onCancel(() => this.events.push(`cancelled ${message.toString()}`));
        return new Promise<Encodable>((resolve, reject) => this.waiting.push({ resolve, reject }));
      },
    ],
  ]);

  readonly streaming: ReadonlyMap<string, StreamHandler> = new Map<string, StreamHandler>([
    [
      "/test.Sample/Chat",
      (stream) => {
        this.streams.push(stream);
        stream.onMessage = (message) => {
          this.events.push(`message ${message.toString()}`);
          stream.send(bytesMessage(`re: ${message.toString()}`));
        };
        stream.onHalfClose = () => {
          this.events.push("half-close");
          stream.end(0);
        };
        stream.onDrain = () => this.events.push("drain");
        stream.onCancel(() => this.events.push("cancelled"));
      },
    ],
    [
      "/test.Sample/Count",
      (stream) => {
        stream.onMessage = (message) => {
          const count = Number(message.toString());
          let sent = 0;
          const more = (): void => {
            while (sent < count) if (!stream.send(bytesMessage(`item ${sent++}`))) break;
            if (sent === count) stream.end(0);
          };
          stream.onDrain = more;
          more();
        };
      },
    ],
  ]);

  readonly http: HttpHandler = (request) => ({
    status: request.target === "/missing" ? 404 : 200,
    headers: { "content-type": "text/plain", "x-method": request.method },
    body: `${request.target} ${request.headers.get("host") ?? ""} ${request.body.toString("latin1")}`,
  });

  private note<T>(message: Buffer, call: Call, answer: T): T {
    this.calls.push({ path: call.path, message: message.toString(), call });
    return answer;
  }
}

/** A transport with the sample's routes, in virtual time. */
export function sampleServer(settings: Partial<TransportSettings> = {}): {
  runtime: ManualRuntime;
  sample: Sample;
  transport: Transport;
} {
  const runtime = new ManualRuntime();
  const sample = new Sample();
  const routes = { unary: sample.unary, streams: sample.streaming, http: sample.http };
  const transport = createTransport(runtime, routes, { ...sampleSettings, ...settings }, (bug) =>
    sample.bugs.push(bug),
  );
  return { runtime, sample, transport };
}
