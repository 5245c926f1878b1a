import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { connect as connectH2 } from "node:http2";
import { connect as connectTcp } from "node:net";
import { after, before, test } from "node:test";
import { sampleSettings } from "../../test/transport/sample-server.ts";
import { createNodeRuntime } from "../runtime/node.ts";
import type { Listener } from "../runtime/runtime.ts";
import { createTransport, type Transport } from "./server.ts";
import type { HttpBody, HttpHandler, HttpSink } from "./transport.ts";

// Bodies that are made as they go, over HTTP/1.1 and HTTP/2.

const runtime = createNodeRuntime();
const bugs: unknown[] = [];
const gone: string[] = [];
let sinks: HttpSink[] = [];
let listener: Listener;
let transport: Transport;

const PART = Buffer.alloc(64 << 10, "x");
const PARTS = 400;

const bodies: Record<string, HttpBody> = {
  "/two": (sink) => {
    sink.write(Buffer.from("one,"));
    setTimeout(() => {
      sink.write(Buffer.from("two"));
      sink.end();
    }, 20);
  },
  "/empty": (sink) => sink.end(),
  "/open": (sink) => {
    sinks.push(sink);
    sink.write(Buffer.from("first"));
  },
  "/much": (sink) => {
    let sent = 0;
    const more = (): void => {
      while (sent < PARTS) {
        sent++;
        if (!sink.write(PART)) return;
      }
      sink.end();
    };
    sink.onDrain = more;
    sinks.push(sink);
    more();
    ok(sent < PARTS / 2, "who does not read is waited for");
  },
  "/cut": (sink) => {
    sink.write(Buffer.from("half"));
    setTimeout(() => sink.abort(), 20);
  },
  "/bug": () => {
    throw new Error("a bug");
  },
};

const http: HttpHandler = (request) => {
  request.onGone?.(() => gone.push(request.target));
  if (request.target === "/never") return new Promise(() => {});
  return { status: 200, headers: { "content-type": "text/plain" }, body: bodies[request.target]! };
};

before(async () => {
  const routes = { unary: new Map(), streams: new Map(), http };
  transport = createTransport(runtime, routes, sampleSettings, (bug) => bugs.push(bug));
  listener = await runtime.net.listen({ host: "127.0.0.1", port: 0 }, (stream) => transport.accept(stream));
});

after(async () => {
  await listener.close();
  transport.destroy();
});

const address = (): string => `http://127.0.0.1:${listener.port}`;

async function eventually(is: () => boolean): Promise<void> {
  for (let i = 0; i < 400 && !is(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  ok(is());
}

async function overH2(path: string): Promise<string> {
  const session = connectH2(address());
  const request = session.request({ ":path": path });
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString();
  } finally {
    session.close();
  }
}

const overHttp1 = async (path: string): Promise<string> => (await fetch(address() + path)).text();

for (const [protocol, get] of [["HTTP/1.1", overHttp1] as const, ["HTTP/2", overH2] as const]) {
  test(`${protocol}: parts, no part, many parts at the reader's pace, a body that is cut`, async () => {
    equal(await get("/two"), "one,two");
    equal(await get("/empty"), "");
    equal((await get("/much")).length, PART.length * PARTS);
    await rejects(get("/cut"));
    await rejects(get("/bug"));
    equal(bugs.splice(0).length, 1);
    equal(await get("/two"), "one,two");
  });
}

test("HTTP/1.1: the connection is used again after such a body; HTTP/1.0 gets it as it is, and the end", async () => {
  const ask = (text: string): Promise<string> =>
    new Promise((resolve) => {
      const socket = connectTcp(listener.port, "127.0.0.1", () => socket.write(text));
      let heard = "";
      socket.on("data", (chunk) => (heard += String(chunk)));
      socket.on("close", () => resolve(heard));
    });
  const twice = await ask(
    "GET /two HTTP/1.1\r\nhost: x\r\n\r\nGET /two HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
  );
  equal(twice.split("4\r\none,\r\n3\r\ntwo\r\n0\r\n\r\n").length, 3);
  const old = await ask("GET /two HTTP/1.0\r\n\r\n");
  ok(old.endsWith("\r\n\r\none,two") && !/transfer-encoding/i.test(old));
  ok((await ask("HEAD /two HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).endsWith("\r\n\r\n"));
});

test("a client that goes away is told of, once, while it waits or reads; nothing is written to it", async () => {
  gone.length = 0;
  sinks = [];
  for (const path of ["/never", "/open"]) {
    const socket = connectTcp(listener.port, "127.0.0.1", () =>
      socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`),
    );
    if (path === "/open") await new Promise((resolve) => socket.once("data", resolve));
    else await new Promise((resolve) => setTimeout(resolve, 30));
    if (path === "/open") socket.end();
    else socket.destroy();
  }
  await eventually(() => gone.length === 2);
  for (const path of ["/never", "/open"]) {
    const session = connectH2(address());
    const request = session.request({ ":path": path });
    request.on("error", () => {});
    if (path === "/open") await new Promise((resolve) => request.once("data", resolve));
    else await new Promise((resolve) => setTimeout(resolve, 30));
    request.close(8);
    await eventually(() => gone.length === (path === "/never" ? 3 : 4));
    session.close();
  }
  deepEqual(gone, ["/never", "/open", "/never", "/open"]);
  for (const sink of sinks) {
    equal(sink.write(Buffer.from("late")), false);
    sink.end();
    sink.abort();
  }
  deepEqual(bugs, []);
});
