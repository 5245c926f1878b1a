/** A gRPC server on t4's transport that answers every Range and Put with a constant: node test/bench/nothing.ts PORT */
import { createNodeRuntime } from "../../src/runtime/node.ts";
import { createTransport } from "../../src/transport/server.ts";
import type { Encodable, Routes, UnaryHandler } from "../../src/transport/transport.ts";

const runtime = createNodeRuntime();
const answer: Encodable = { byteLength: () => 0, encodeInto: (_buffer, at) => at };
const constant: UnaryHandler = () => answer;
const routes: Routes = {
  unary: new Map([
    ["/etcdserverpb.KV/Range", constant],
    ["/etcdserverpb.KV/Put", constant],
  ]),
  streams: new Map(),
  http: () => ({ status: 200, headers: {}, body: "ok" }),
};
const transport = createTransport(
  runtime,
  routes,
  {
    messageBytesMax: 2 << 20,
    concurrentStreamsMax: 100_000,
    connectionsMax: 10_000,
    keepaliveMinMs: 5000,
    keepaliveIntervalMs: 0,
    keepaliveTimeoutMs: 20_000,
    streamQueueBytesMax: 1 << 20,
    connectionQueueBytesMax: 4 << 20,
  },
  (error) => {
    throw error;
  },
);
await runtime.net.listen({ host: "127.0.0.1", port: Number(process.argv[2]) }, (stream) => transport.accept(stream));
