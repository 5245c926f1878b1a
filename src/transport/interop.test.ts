import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { connect as connectH2 } from "node:http2";
import { connect as connectTcp } from "node:net";
import { after, before, test } from "node:test";
import * as grpc from "@grpc/grpc-js";
import { bytesMessage, Sample, sampleSettings } from "../../test/transport/sample-server.ts";
import { createNodeRuntime } from "../runtime/node.ts";
import type { Listener } from "../runtime/runtime.ts";
import { createTransport, type Transport } from "./server.ts";

// Clients that others wrote, over real sockets.

const sample = new Sample();
let listener: Listener;
let transport: Transport;
let client: grpc.Client;

before(async () => {
  const runtime = createNodeRuntime();
  const routes = { unary: sample.unary, streams: sample.streaming, http: sample.http };
  transport = createTransport(runtime, routes, sampleSettings, (bug) => sample.bugs.push(bug));
  listener = await runtime.net.listen({ host: "127.0.0.1", port: 0 }, (stream) => transport.accept(stream));
  client = new grpc.Client(`127.0.0.1:${listener.port}`, grpc.credentials.createInsecure(), {
    "grpc.max_receive_message_length": 64 << 20,
  });
});

after(async () => {
  client.close();
  await listener.close();
  await transport.drain(500);
});

const same = (bytes: Buffer): Buffer => bytes;

function unary(
  method: string,
  body: Buffer | string,
  options: { metadata?: Record<string, string>; deadlineMs?: number; call?: (call: grpc.ClientUnaryCall) => void } = {},
): Promise<Buffer> {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(options.metadata ?? {})) metadata.set(name, value);
  const callOptions = options.deadlineMs === undefined ? {} : { deadline: Date.now() + options.deadlineMs };
  return new Promise((resolve, reject) => {
    const call = client.makeUnaryRequest(
      `/test.Sample/${method}`,
      same,
      same,
      Buffer.from(body),
      metadata,
      callOptions,
      (error, response) => (error === null ? resolve(response!) : reject(error)),
    );
    options.call?.(call);
  });
}

const failsWith = (call: Promise<unknown>, code: number, details: RegExp): Promise<void> =>
  rejects(call, (error: grpc.ServiceError) => error.code === code && details.test(error.details));

test("grpc-js: unary calls, many at once, answered at once and later", async () => {
  const bodies = Array.from({ length: 300 }, (_, i) => `message ${i}`);
  const answers = await Promise.all(bodies.map((body, i) => unary(i % 2 === 0 ? "Echo" : "Later", body)));
  deepEqual(answers.map(String), bodies);
});

test("grpc-js: empty and large messages, both ways", async () => {
  equal((await unary("Echo", "")).length, 0);
  const large = Buffer.alloc((2 << 20) - 1, "0123456789");
  ok((await unary("Echo", large)).equals(large));
  equal((await unary("Large", String(20 << 20))).length, 20 << 20);
  await failsWith(
    unary("Echo", Buffer.alloc((2 << 20) + 1)),
    grpc.status.RESOURCE_EXHAUSTED,
    /larger than max \(2097153 vs. 2097152\)/,
  );
});

test("grpc-js: statuses, texts, unknown methods, bugs", async () => {
  await failsWith(unary("Fail", "3:etcdserver: key is not provided"), 3, /^etcdserver: key is not provided$/);
  await failsWith(unary("Fail", "9:späße, 100% \u{1f600}"), 9, /^späße, 100% \u{1f600}$/u);
  await failsWith(unary("Nope", ""), grpc.status.UNIMPLEMENTED, /^unknown method Nope for service test.Sample$/);
  await failsWith(unary("Bug", ""), grpc.status.INTERNAL, /^internal error$/);
  equal(sample.bugs.splice(0).length, 1);
});

test("grpc-js: metadata", async () => {
  equal(
    String(await unary("Metadata", "token", { metadata: { token: "secret" } })),
    `secret of 127.0.0.1:${listener.port}`,
  );
});

test("grpc-js: deadlines and cancellation reach the handler", async () => {
  sample.events.length = 0;
  await failsWith(unary("Wait", "late", { deadlineMs: 100 }), grpc.status.DEADLINE_EXCEEDED, /./);
  const cancelled = unary("Wait", "cancelled", { call: (call) => void setTimeout(() => call.cancel(), 50) });
  await failsWith(cancelled, grpc.status.CANCELLED, /./);
  for (let i = 0; i < 100 && sample.events.length < 2; i++) await new Promise((resolve) => setTimeout(resolve, 10));
  deepEqual(sample.events, ["cancelled late", "cancelled cancelled"]);
  for (const { resolve } of sample.waiting.splice(0)) resolve(bytesMessage("nobody waits"));
});

test("grpc-js: a bidirectional stream, and a long server stream that is read slowly", async () => {
  const chat = client.makeBidiStreamRequest("/test.Sample/Chat", same, same, new grpc.Metadata());
  const heard: string[] = [];
  const chatEnded = new Promise<grpc.StatusObject>((resolve) => chat.on("status", resolve));
  chat.on("data", (body: Buffer) => {
    heard.push(String(body));
    if (heard.length === 3) chat.end();
  });
  for (const word of ["one", "two", "three"]) chat.write(Buffer.from(word));
  equal((await chatEnded).code, 0);
  deepEqual(heard, ["re: one", "re: two", "re: three"]);

  const count = client.makeServerStreamRequest(
    "/test.Sample/Count",
    same,
    same,
    Buffer.from("30000"),
    new grpc.Metadata(),
  );
  let items = 0;
  const countEnded = new Promise<grpc.StatusObject>((resolve) => count.on("status", resolve));
  count.on("data", (body: Buffer) => {
    equal(String(body), `item ${items++}`);
    if (items % 10_000 !== 0) return;
    count.pause();
    setTimeout(() => count.resume(), 20);
  });
  equal((await countEnded).code, 0);
  equal(items, 30_000);
});

test("node:http2 and HTTP/1.1 on the same port", async () => {
  const session = connectH2(`http://127.0.0.1:${listener.port}`);
  const request = session.request({ ":path": "/x", ":method": "POST" });
  request.end("body of a request");
  const chunks: Buffer[] = [];
  let status: unknown;
  request.on("response", (headers) => (status = headers[":status"]));
  for await (const chunk of request) chunks.push(chunk as Buffer);
  equal(status, 200);
  match(Buffer.concat(chunks).toString(), /^\/x 127\.0\.0\.1:\d+ body of a request$/);
  // A table of no bytes: the response must do without.
  const bare = connectH2(`http://127.0.0.1:${listener.port}`, { settings: { headerTableSize: 0 } });
  for (let i = 0; i < 3; i++) {
    const call = bare.request({
      ":path": "/test.Sample/Echo",
      ":method": "POST",
      "content-type": "application/grpc",
      te: "trailers",
    });
    call.end(Buffer.from([0, 0, 0, 0, 2, 0x68, 0x69]));
    let trailers: Record<string, unknown> = {};
    call.on("trailers", (fields) => (trailers = fields));
    const body: Buffer[] = [];
    for await (const chunk of call) body.push(chunk as Buffer);
    equal(Buffer.concat(body).toString("latin1", 5), "hi");
    equal(trailers["grpc-status"], "0");
  }
  session.close();
  bare.close();
  const response = await fetch(`http://127.0.0.1:${listener.port}/y`, { method: "POST", body: "abc" });
  equal(await response.text(), `/y 127.0.0.1:${listener.port} abc`);
});

test("a client that connects, floods with pings and hangs up leaves nothing behind", async () => {
  const before = transport.stats();
  const socket = connectTcp(listener.port, "127.0.0.1");
  socket.on("error", () => {});
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
  const ping = Buffer.from([0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
  socket.write(Buffer.concat(Array.from({ length: 5000 }, () => ping)));
  const said: Buffer[] = [];
  socket.on("data", (chunk) => said.push(chunk));
  await new Promise((resolve) => socket.on("close", resolve));
  match(Buffer.concat(said).toString("latin1"), /too_many_pings/);
  for (let i = 0; i < 200 && transport.stats().connections > before.connections; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  equal(transport.stats().connections, before.connections);
  deepEqual(sample.bugs, []);
});
