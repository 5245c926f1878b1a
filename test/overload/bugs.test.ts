import { deepEqual, equal, match, ok } from "node:assert/strict";
import { after, before, test } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { etcdRoutes } from "../../src/api/api.ts";
import { gateway } from "../../src/api/gateway/gateway.ts";
import { etcdHttp } from "../../src/api/http.ts";
import type { Database } from "../../src/engine/engine.ts";
import * as pb from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { createNodeRuntime } from "../../src/runtime/node.ts";
import { nodeNet } from "../../src/runtime/node-net.ts";
import { createTransport } from "../../src/transport/server.ts";
import { RpcFailure } from "../compat/endpoint.ts";
import { type EngineEndpoint, openEngine } from "../compat/engine-runner.ts";
import { SocketEndpoint } from "../compat/socket-endpoint.ts";
import { sampleSettings } from "../transport/sample-server.ts";

/**
 * The whole way in, with bugs: what is asked of the database while `broken` throws what no error of operation is. Each
 * call that meets it is answered Internal, and told of; no other call, stream or connection notices.
 */
const bugs: unknown[] = [];
let broken = false;
let engine: EngineEndpoint;
let client: SocketEndpoint;
let base = "";
let end: () => Promise<void> = async () => {};
const KEEPS_GOING = new Set(["identity", "committed", "unprovenBecause"]);

function withBugs(database: Database): Database {
  return new Proxy(database, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (name === "as") return (credentials: never) => withBugs(target.as(credentials));
      if (broken && !KEEPS_GOING.has(String(name))) throw new TypeError(`cannot read ${String(name)} of undefined`);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

before(async () => {
  const runtime = createNodeRuntime();
  engine = await openEngine();
  const onBug = (error: unknown) => void bugs.push(error);
  const database = withBugs(engine.database);
  const routes = etcdRoutes(() => database, {
    ...{ requestBytesMax: 1 << 20, clientUrls: () => [], peerUrls: () => [], timers: runtime.timers, onBug },
  });
  const json = gateway({
    ...{
      routes,
      timers: runtime.timers,
      monotonicMs: () => runtime.clock.monotonicMs(),
      messageBytesMax: 1 << 20,
      onBug,
    },
  });
  const plain = etcdHttp({
    database: () => database,
    metrics: () => {
      throw new TypeError("no metrics");
    },
    ...{ contentTypeOfMetrics: "text/plain", version: "0" },
  });
  const http: typeof json = (request) => (request.target.startsWith("/v3/") ? json(request) : plain(request));
  const transport = createTransport(runtime, { ...routes, http }, sampleSettings, onBug);
  const listener = await nodeNet.listen({ host: "127.0.0.1", port: 0 }, (stream) => transport.accept(stream));
  base = `127.0.0.1:${listener.port}`;
  client = new SocketEndpoint(base);
  end = async () => {
    await client.close();
    transport.destroy();
    await listener.close();
    await engine.close();
  };
});
after(() => end());

const put = (key: string): Uint8Array => {
  const init = { key: Buffer.from(key), value: Buffer.from("v") };
  return toBinary(pb.PutRequestSchema, create(pb.PutRequestSchema, init));
};
const watchA = toBinary(
  pb.WatchRequestSchema,
  create(pb.WatchRequestSchema, { requestUnion: { case: "createRequest", value: { key: Buffer.from("a") } } }),
);

const messages: ReadonlyMap<string, Uint8Array> = new Map([
  ["/etcdserverpb.Watch/Watch", watchA],
  ["/etcdserverpb.Lease/LeaseKeepAlive", Buffer.from([0x08, 1])],
  ["/etcdserverpb.Maintenance/Snapshot", Buffer.alloc(0)],
]);

async function whileBroken<T>(work: () => Promise<T>): Promise<T> {
  broken = true;
  try {
    return await work();
  } finally {
    broken = false;
  }
}

const codeOf = (error: unknown): number => (error instanceof RpcFailure ? error.code : -1);

/** They ask for nothing, or refuse these messages first. */
const REFUSED_BEFORE: readonly string[] = [
  "/v3electionpb.Election/Proclaim",
  "/v3electionpb.Election/Resign",
  "/grpc.health.v1.Health/Check",
  "/grpc.health.v1.Health/List",
];

test("each unary method that meets a bug answers Internal; the connection and other calls go on", async () => {
  const watching = client.stream("/etcdserverpb.Watch/Watch");
  watching.send(watchA);
  await watching.next();
  const unmet: string[] = [];
  for (const path of engine.paths.unary) {
    const before = bugs.length;
    // Most have a text first, others are refused by it before they ask for anything, or have a number there.
    const tried = [Buffer.from([0x0a, 1, 0x61]), Buffer.from([0x08, 1]), Buffer.alloc(0)];
    const codes: number[] = [];
    for (const message of tried) codes.push(await whileBroken(() => client.unary(path, message).then(() => 0, codeOf)));
    if (bugs.length > before) match(String(bugs.at(-1)), /^TypeError: cannot read/);
    else unmet.push(path);
    ok(codes.includes(13) || unmet.includes(path), `${path}: ${codes}`);
  }
  deepEqual(unmet, REFUSED_BEFORE);
  await client.unary("/etcdserverpb.KV/Put", put("a"));
  ok((await watching.next())!.length > 0, "a stream on the same connection is told of what is written");
  watching.cancel();
});

test("each stream that meets a bug ends with Internal, alone", async () => {
  for (const path of engine.paths.streams) {
    const before = bugs.length;
    const stream = client.stream(path);
    const code = await whileBroken(async () => {
      stream.send(messages.get(path) ?? Buffer.from([0x0a, 1, 0x61]));
      stream.halfClose();
      return stream.next().then(() => 0, codeOf);
    });
    if (path !== "/grpc.health.v1.Health/Watch") {
      equal(code, 13, path);
      ok(bugs.length > before, path);
    }
    stream.cancel();
  }
  await client.unary("/etcdserverpb.KV/Put", put("a"));
});

test("the gateway and the plain endpoints that meet a bug answer 500, and the next request as ever", async () => {
  const ask = (path: string) => fetch(`http://${base}${path}`, { method: "POST", body: '{"key":"YQ=="}' });
  const before = bugs.length;
  const failed = await whileBroken(() => ask("/v3/kv/range"));
  deepEqual([failed.status, ((await failed.json()) as { code: number }).code], [500, 13]);
  const watching = await whileBroken(() =>
    fetch(`http://${base}/v3/watch`, { method: "POST", body: '{"create_request":{}}' }),
  );
  equal(watching.status, 500);
  await watching.text();
  for (const path of ["/metrics", "/health"]) {
    const answer = await whileBroken(() => fetch(`http://${base}${path}`));
    ok(answer.status >= 500, `${path}: ${answer.status}`);
    await answer.text();
  }
  ok(bugs.length >= before + 3);
  equal((await ask("/v3/kv/range")).status, 200);
  equal((await fetch(`http://${base}/health`)).status, 200);
});
