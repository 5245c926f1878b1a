import { deepEqual, equal, match, ok } from "node:assert/strict";
import { test } from "node:test";
import { MemoryStream } from "../../test/transport/memory-stream.ts";
import { sampleServer } from "../../test/transport/sample-server.ts";
import {
  ASSEMBLY_BYTES_MIN,
  BODY_TIMEOUT_MS,
  HEADERS_TIMEOUT_MS,
  HTTP1_IDLE_TIMEOUT_MS,
  STALL_TIMEOUT_MS,
} from "./limits.ts";
import { createTransport } from "./server.ts";
import type { HttpResponse, TransportSettings } from "./transport.ts";

function connect(settings: Partial<TransportSettings> = {}) {
  const server = sampleServer(settings);
  const stream = new MemoryStream();
  server.transport.accept(stream);
  return { ...server, stream, say: (text: string) => stream.onData(Buffer.from(text, "latin1")) };
}

const got = (stream: MemoryStream): string => stream.take().toString("latin1");
const statuses = (text: string): string[] => [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((found) => found[1]!);

test("a request, and the exact bytes of its answer", () => {
  const { stream, say } = connect();
  say("GET /health?x=1 HTTP/1.1\r\nHost: a:1\r\n\r\n");
  equal(
    got(stream),
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nx-method: GET\r\ncontent-length: 16\r\n" +
      "date: Tue, 14 Nov 2023 22:13:21 GMT\r\n\r\n/health?x=1 a:1 ",
  );
  equal(stream.ended, false);
});

test("requests sent ahead are answered in order, whatever the cuts", () => {
  const requests =
    "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" +
    "POST /b HTTP/1.1\r\nhost: h\r\nTransfer-Encoding: chunked\r\n\r\n" +
    "3;ext=1\r\nxyz\r\n2\r\n12\r\n0\r\nTrailer: t\r\n\r\n" +
    "\r\nHEAD /c HTTP/1.1\r\nHost: h\r\n\r\n" +
    "GET /missing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\nHost: h\r\n\r\n";
  const whole = connect();
  whole.say(requests);
  const expected = got(whole.stream);
  deepEqual(statuses(expected), ["200", "200", "200", "404"]);
  match(
    expected,
    /\/a h abcHTTP.*\/b h xyz12HTTP.*content-length: 5\r\n[^/]*HTTP\/1.1 404.*connection: close\r\n\r\n\/missing h $/s,
  );
  ok(whole.stream.ended);
  for (const size of [1, 2, 7, 50]) {
    const { stream, say } = connect();
    for (let at = 0; at < requests.length; at += size) say(requests.slice(at, at + size));
    equal(got(stream), expected, `pieces of ${size}`);
  }
});

test("answers that come later keep the order, and what is sent ahead meanwhile is bounded", async () => {
  const { runtime } = sampleServer();
  const waiting: ((response: HttpResponse) => void)[] = [];
  const http = (): Promise<HttpResponse> => new Promise((resolve) => waiting.push(resolve));
  const routes = { unary: new Map(), streams: new Map(), http };
  const settings = { ...connectSettings };
  const transport = createTransport(runtime, routes, settings, () => {});
  const stream = new MemoryStream();
  transport.accept(stream);
  const request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
  stream.onData(Buffer.from(request.repeat(3)));
  equal(waiting.length, 1);
  stream.onData(Buffer.from(request.repeat(3000)));
  ok(stream.paused);
  for (let i = 0; i < 3003; i++) {
    waiting[i]!({ status: 200, headers: {}, body: `${i}` });
    await runtime.turn();
    stream.settle();
  }
  equal(stream.paused, false);
  deepEqual(
    [...got(stream).matchAll(/\r\n\r\n(\d+)/g)].map((found) => Number(found[1])),
    [...Array(3003).keys()],
  );
});

const connectSettings: TransportSettings = {
  messageBytesMax: 1000,
  concurrentStreamsMax: 10,
  connectionsMax: 10,
  keepaliveMinMs: 0,
  keepaliveIntervalMs: 0,
  keepaliveTimeoutMs: 1000,
  streamQueueBytesMax: 1000,
  connectionQueueBytesMax: 100_000,
};

test("what leaves a doubt about where a request ends is refused, and nothing after it is looked at", () => {
  const head = "POST / HTTP/1.1\r\nHost: h\r\n";
  const cases: [string, string][] = [
    [`${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`, "400"],
    [`${head}Content-Length: 5\r\nContent-Length: 5\r\n\r\n`, "400"],
    [`${head}Content-Length: 5, 5\r\n\r\n`, "400"],
    [`${head}Content-Length: +5\r\n\r\n`, "400"],
    [`${head}Content-Length: 0x5\r\n\r\n`, "400"],
    [`${head}Content-Length:\r\n\r\n`, "400"],
    [`${head}Content-Length : 5\r\n\r\n`, "400"],
    [`${head}Transfer-Encoding: gzip, chunked\r\n\r\n`, "501"],
    [`${head}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`, "400"],
    ["POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "400"],
    [`${head}X: a\r\n folded\r\n\r\n`, "400"],
    [`${head}X: a\nY: b\r\n\r\n`, "400"],
    [`${head}X: a\rY: b\r\n\r\n`, "400"],
    [`${head}X: a\0\r\n\r\n`, "400"],
    [`${head}no colon\r\n\r\n`, "400"],
    [`${head}: empty\r\n\r\n`, "400"],
    [`${head}Host: other\r\n\r\n`, "400"],
    ["GET / HTTP/1.1\r\n\r\n", "400"],
    ["GET  / HTTP/1.1\r\nHost: h\r\n\r\n", "400"],
    ["GET / x HTTP/1.1\r\nHost: h\r\n\r\n", "400"],
    ["G@T / HTTP/1.1\r\nHost: h\r\n\r\n", "400"],
    ["GET / HTTP/2.0\r\nHost: h\r\n\r\n", "505"],
    [`${head}Expect: nonsense\r\n\r\n`, "417"],
    [`${head}Content-Length: 3000000\r\n\r\n`, "413"],
    [`${head}Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n`, ""],
    [`${head}Transfer-Encoding: chunked\r\n\r\ng\r\n`, "400"],
    [`${head}Transfer-Encoding: chunked\r\n\r\n-1\r\n`, "400"],
    [`${head}Transfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n`, "400"],
    [`${head}Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n`, "400"],
    [`${head}Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n`, "400"],
    [`${head}Transfer-Encoding: chunked\r\n\r\nffffffff\r\n`, "413"],
    [`${head}Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n`, "400"],
    [`${head}Transfer-Encoding: chunked\r\n\r\n5;a\nb\r\nhello\r\n`, "400"],
    [`${head}Transfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n`, "400"],
    [`${head}Transfer-Encoding: chunked\r\n\r\n${"0".repeat(300)}`, "400"],
  ];
  for (const [request, status] of cases) {
    const { stream, say, sample, transport } = connect();
    say(request);
    if (status === "") say("GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
    const answer = got(stream);
    deepEqual(statuses(answer), [status === "" ? "400" : status], JSON.stringify(request));
    match(answer, /connection: close/);
    ok(stream.ended);
    say("GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
    equal(got(stream), "");
    equal(transport.stats().refused.get("http1_bad_request"), 1);
    deepEqual(sample.bugs, []);
  }
});

test("bytes that are not HTTP get no answer", () => {
  const { stream, say } = connect();
  say("\x16\x03\x01\x02\x00\x01\r\n\r\n");
  equal(got(stream), "");
  ok(stream.ended);
});

test("heads over the bound get 431, also when they never end; bodies over it 413", () => {
  const endless = connect();
  endless.say(`GET / HTTP/1.1\r\nHost: h\r\nX: ${"x".repeat(40_000)}`);
  deepEqual(statuses(got(endless.stream)), ["431"]);
  const many = connect();
  many.say(`GET / HTTP/1.1\r\nHost: h\r\n${"a: b\r\n".repeat(300)}\r\n`);
  deepEqual(statuses(got(many.stream)), ["431"]);
  const body = connect({ messageBytesMax: 10 });
  body.say("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\n");
  deepEqual(statuses(got(body.stream)), ["413"]);
});

test("100-continue is said when the body has not come", () => {
  const { stream, say } = connect();
  say("POST /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  equal(got(stream), "HTTP/1.1 100 Continue\r\n\r\n");
  say("ok");
  match(got(stream), /^HTTP\/1.1 200 OK.*\/x h ok$/s);
  say("POST /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok");
  deepEqual(statuses(got(stream)), ["200"]);
});

test("HTTP/1.0 closes unless it is asked to stay", () => {
  const closing = connect();
  closing.say("GET / HTTP/1.0\r\n\r\n");
  match(got(closing.stream), /connection: close\r\n/);
  ok(closing.stream.ended);
  const staying = connect();
  staying.say("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  match(got(staying.stream), /connection: keep-alive\r\n/);
  equal(staying.stream.ended, false);
});

test("a client that has finished sending still gets its answers", () => {
  const { stream, say } = connect();
  say("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
  stream.onEnd();
  match(got(stream), /\/a h $/);
  ok(stream.ended);
});

test("slow heads, slow bodies, idle connections and slow readers end", async () => {
  const { runtime, transport } = sampleServer();
  const open = (text: string): MemoryStream => {
    const stream = new MemoryStream();
    transport.accept(stream);
    stream.onData(Buffer.from(text));
    return stream;
  };
  const head = open("GET / HTTP/1.1\r\nHost");
  const body = open("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab");
  const idle = open("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  const slow = open("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  got(idle);
  slow.stuck = true;
  await runtime.pass(5_000);
  head.onData(Buffer.from(": trickle"));
  await runtime.pass(HEADERS_TIMEOUT_MS - 5_000 + 2000);
  deepEqual(statuses(got(head)), ["408"]);
  equal(body.ended || idle.ended, false);
  await runtime.pass(STALL_TIMEOUT_MS);
  deepEqual(statuses(got(body)), ["408"]);
  ok(slow.destroyed);
  equal(idle.ended, false);
  await runtime.pass(HTTP1_IDLE_TIMEOUT_MS);
  ok(idle.ended);
  const { refused } = transport.stats();
  deepEqual([refused.get("slow_headers"), refused.get("slow_body"), refused.get("slow_reader")], [1, 1, 1]);
});

test("drain: idle connections end at once, others after their answer", async () => {
  const { runtime, transport } = sampleServer();
  const idle = new MemoryStream();
  const busy = new MemoryStream();
  for (const stream of [idle, busy]) {
    transport.accept(stream);
    stream.onData(Buffer.from("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
  }
  busy.onData(Buffer.from("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\na"));
  void transport.drain(60_000);
  ok(idle.ended);
  equal(busy.ended, false);
  busy.onData(Buffer.from("b"));
  ok(busy.ended);
  match(got(busy), /connection: close\r\n\r\n\/ h ab$/);
  await runtime.turn();
});

test("a handler that throws is a bug, and 500", async () => {
  const { runtime } = sampleServer();
  const bugs: unknown[] = [];
  let answer: () => HttpResponse | Promise<HttpResponse> = () => {
    throw new Error("at once");
  };
  const routes = { unary: new Map(), streams: new Map(), http: () => answer() };
  const transport = createTransport(runtime, routes, connectSettings, (bug) => bugs.push(bug));
  const stream = new MemoryStream();
  transport.accept(stream);
  const ask = async (): Promise<string[]> => {
    stream.onData(Buffer.from("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    await runtime.turn();
    return statuses(got(stream));
  };
  deepEqual(await ask(), ["500"]);
  answer = () => Promise.reject(new Error("later"));
  deepEqual(await ask(), ["500"]);
  answer = () => ({ status: 200, headers: { "x-split": "a\r\nset-cookie: b" }, body: "" });
  deepEqual(await ask(), ["500"]);
  answer = () => ({ status: 204, headers: {}, body: "" });
  deepEqual(await ask(), ["204"]);
  equal(bugs.length, 3);
});

test("a body that trickles in ends all the same, and the next request has its own time", async () => {
  const { runtime, stream, say } = connect();
  say("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n");
  for (let ms = 0; ms < BODY_TIMEOUT_MS - 30_000; ms += 30_000) {
    await runtime.pass(30_000);
    say("x");
  }
  say("x".repeat(100 - BODY_TIMEOUT_MS / 30_000 + 1));
  deepEqual(statuses(got(stream)), ["200"]);
  say("POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n");
  for (let ms = 0; ms < BODY_TIMEOUT_MS + 30_000; ms += 30_000) {
    await runtime.pass(30_000);
    if (!stream.ended) say("x");
  }
  deepEqual(statuses(got(stream)), ["408"]);
  ok(stream.ended);
});

test("unfinished bodies hold no more than their budget, which is given back", () => {
  const { stream, say, transport } = connect({ messageBytesMax: 1024, httpBodyBytesMax: 4 * ASSEMBLY_BYTES_MIN });
  const part = "x".repeat(1 << 20);
  for (let n = 0; n < 3; n++) {
    say(`POST /${n} HTTP/1.1\r\nHost: h\r\nContent-Length: ${6 << 20}\r\n\r\n`);
    for (let sent = 0; sent < 6; sent++) say(part);
    deepEqual(statuses(got(stream)), ["200"]);
  }
  say(`POST /large HTTP/1.1\r\nHost: h\r\nContent-Length: ${2 * ASSEMBLY_BYTES_MIN}\r\n\r\n`);
  for (let sent = 0; sent < 20 && !stream.ended; sent++) say(part);
  deepEqual(statuses(got(stream)), ["503"]);
  equal(transport.stats().refused.get("http1_bad_request"), 1);
});
