/**
 * A gRPC echo server to measure the transport with, from sources:
 *
 *   t4-node src/transport/transport.bench.ts 18000 &
 *   t4-node src/transport/transport.bench.ts body > echo.bin        (a message of 100 bytes with its prefix)
 *   h2load -n 200000 -c 100 -m 1 -d echo.bin -H "content-type: application/grpc" -H "te: trailers" \
 *     http://127.0.0.1:18000/bench.Echo/Unary
 *   h2load -n 200000 -c 10 -m 100 -d echo.bin … (as above)
 *
 * Paths: /bench.Echo/Unary answers at once, /bench.Echo/Later by a promise, /bench.Echo/Stream echoes a stream, and
 * everything that is not gRPC gets "ok". On SIGINT it prints the CPU time that it took.
 */
import { createNodeRuntime } from "../runtime/node.ts";
import { createTransport } from "./server.ts";
import type { Encodable, Routes, StreamHandler, UnaryHandler } from "./transport.ts";

class Echo implements Encodable {
  private readonly message: Buffer;

  constructor(message: Buffer) {
    this.message = message;
  }

  byteLength(): number {
    return this.message.length;
  }

  encodeInto(buffer: Buffer, at: number): number {
    buffer.set(this.message, at);
    return at + this.message.length;
  }
}

const routes: Routes = {
  unary: new Map<string, UnaryHandler>([
    ["/bench.Echo/Unary", (message) => new Echo(message)],
    ["/bench.Echo/Later", (message) => Promise.resolve().then(() => new Echo(message))],
  ]),
  streams: new Map<string, StreamHandler>([
    [
      "/bench.Echo/Stream",
      (stream) => {
        stream.onMessage = (message) => {
          if (!stream.send(new Echo(message))) stream.pauseMessages();
        };
        stream.onDrain = () => stream.resumeMessages();
        stream.onHalfClose = () => stream.end(0);
      },
    ],
  ]),
  http: () => ({ status: 200, headers: { "content-type": "text/plain" }, body: "ok\n" }),
};

if (process.argv[2] === "body") {
  const body = Buffer.alloc(105, 0x61);
  body.writeUInt8(0, 0);
  body.writeUInt32BE(100, 1);
  process.stdout.write(body);
} else {
  const runtime = createNodeRuntime();
  const settings = {
    messageBytesMax: 2 << 20,
    concurrentStreamsMax: Number(process.env["STREAMS_MAX"] ?? 10_000),
    connectionsMax: 10_000,
    keepaliveMinMs: 5_000,
    keepaliveIntervalMs: 7_200_000,
    keepaliveTimeoutMs: 20_000,
    streamQueueBytesMax: 1 << 20,
    connectionQueueBytesMax: 8 << 20,
  };
  const transport = createTransport(runtime, routes, settings, (error) => console.error(error));
  const port = Number(process.argv[2] ?? 18_000);
  const listener = await runtime.net.listen({ host: "127.0.0.1", port }, (stream) => transport.accept(stream));
  console.log(`listening on 127.0.0.1:${listener.port}`);
  process.once("SIGINT", () => {
    const { user, system } = process.cpuUsage();
    console.log(`CPU: ${user / 1000} ms user, ${system / 1000} ms system; ${JSON.stringify(transport.stats())}`);
    process.exit(0);
  });
}
