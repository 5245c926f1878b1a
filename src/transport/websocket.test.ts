import { deepEqual, equal, match, ok } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { ManualRuntime } from "../../test/transport/manual-runtime.ts";
import { MemoryStream } from "../../test/transport/memory-stream.ts";
import { sampleSettings } from "../../test/transport/sample-server.ts";
import { BODY_TIMEOUT_MS, STALL_TIMEOUT_MS } from "./limits.ts";
import { createTransport } from "./server.ts";
import type { HttpHandler, MessageSocket, TransportSettings } from "./transport.ts";
import { frameOf } from "./websocket.ts";

const HANDSHAKE =
  "GET /socket HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/** A client's frame. */
function frame(opcode: number, payload: Buffer | string, { final = true, mask = "abcd" } = {}): Buffer {
  const bytes = Buffer.from(payload);
  const plain = frameOf(opcode, bytes);
  const head = plain.subarray(0, plain.length - bytes.length);
  head[0] = (final ? 0x80 : 0) | opcode;
  head[1]! |= 0x80;
  return Buffer.concat([head, Buffer.from(mask), bytes.map((byte, i) => byte ^ mask.charCodeAt(i & 3))]);
}

/** An echo, which is told to stop by "pause". */
function connect(settings: Partial<TransportSettings> = {}) {
  const runtime = new ManualRuntime();
  const events: string[] = [];
  const sockets: MessageSocket[] = [];
  const bugs: unknown[] = [];
  const http: HttpHandler = (request) => {
    if (request.webSocket !== true) return { status: 400, headers: {}, body: "no handshake" };
    request.onGone?.(() => events.push("gone"));
    const webSocket = (socket: MessageSocket): void => {
      sockets.push(socket);
      socket.onDrain = () => events.push("drain");
      socket.onMessage = (message) => {
        events.push(message.length < 100 ? message.toString("latin1") : `${message.length} bytes`);
        if (message.toString("latin1") === "pause") socket.pause();
        if (message.toString("latin1") === "bug") throw new TypeError("a bug");
      };
    };
    return { status: 200, headers: { "x-own": "1" }, body: "", webSocket };
  };
  const routes = { unary: new Map(), streams: new Map(), http };
  const transport = createTransport(runtime, routes, { ...sampleSettings, ...settings }, (bug) => bugs.push(bug));
  const stream = new MemoryStream();
  transport.accept(stream);
  const say = (bytes: Buffer | string) => stream.onData(Buffer.from(bytes));
  return { runtime, transport, stream, events, sockets, bugs, say };
}

function opened(settings: Partial<TransportSettings> = {}) {
  const world = connect(settings);
  world.say(HANDSHAKE);
  world.stream.take();
  return world;
}

test("a handshake is answered as RFC 6455 has it, and what came behind it is a message", () => {
  const { stream, events, say } = connect();
  say(Buffer.concat([Buffer.from(HANDSHAKE), frame(1, "first")]));
  const head = stream.take().toString("latin1");
  match(head, /^HTTP\/1\.1 101 Switching Protocols\r\nx-own: 1\r\nupgrade: websocket\r\n/);
  match(
    head,
    /\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n(?!.*content-length).*connection: Upgrade\r\n\r\n$/s,
  );
  deepEqual(events, ["first"]);
});

test("what is no handshake is a request as any other", () => {
  for (const [from, to] of [
    ["GET", "POST"],
    ["HTTP/1.1", "HTTP/1.0"],
    ["Version: 13", "Version: 8"],
    ["dGhl", "dGh"],
    ["keep-alive, Upgrade", "keep-alive"],
    ["WebSocket", "h2c"],
  ] as const) {
    const { stream, say } = connect();
    say(HANDSHAKE.replace(from, to));
    match(stream.take().toString("latin1"), /^HTTP\/1\.1 400 /, to);
  }
});

test("messages come whole, however they are cut into frames and pieces", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ size: fc.integer({ min: 0, max: 70_000 }), frames: fc.integer({ min: 1, max: 4 }) }), {
        maxLength: 4,
      }),
      fc.integer({ min: 1, max: 9000 }),
      (messages, piece) => {
        const { stream, events, say } = opened();
        const sent = messages.flatMap(({ size, frames }, n) => {
          const payload = Buffer.alloc(size, 97 + n);
          const cut = Math.ceil(size / frames) || 1;
          return Array.from({ length: frames }, (_, i) => {
            const part = payload.subarray(i * cut, (i + 1) * cut);
            return [frame(i === 0 ? 2 : 0, part, { final: i === frames - 1 }), frame(9, `p${n}`)];
          }).flat();
        });
        const bytes = Buffer.concat(sent);
        for (let at = 0; at < bytes.length; at += piece) say(bytes.subarray(at, at + piece));
        deepEqual(
          events,
          messages.map(({ size }, n) => (size < 100 ? String.fromCharCode(97 + n).repeat(size) : `${size} bytes`)),
        );
        const pongs = messages.flatMap(({ frames }, n) => Array<string>(frames).fill(`p${n}`));
        deepEqual(stream.take(), Buffer.concat(pongs.map((pong) => frameOf(10, Buffer.from(pong)))));
      },
    ),
    { numRuns: 50 },
  );
});

test("what the protocol does not allow ends it, with the code that says so", () => {
  const cases: [string, Buffer, number][] = [
    ["not masked", frameOf(1, Buffer.from("{}")), 1002],
    ["an extension's bit", Buffer.from([0xc1, 0x80, 0, 0, 0, 0]), 1002],
    ["an unknown opcode", frame(3, ""), 1002],
    ["an unknown control opcode", frame(11, ""), 1002],
    ["a ping in parts", frame(9, "x", { final: false }), 1002],
    ["a long ping", frame(9, "x".repeat(126)), 1002],
    ["a continuation of nothing", frame(0, "x"), 1002],
    ["a message amid one", Buffer.concat([frame(1, "x", { final: false }), frame(1, "y")]), 1002],
    ["a close of one byte", frame(8, "x"), 1002],
    ["a close with nobody's code", frame(8, Buffer.from([3, 0xed])), 1002],
    ["a length of 2^63", Buffer.from([0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]), 1002],
    ["a large message, by what is announced", Buffer.from([0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4]), 1009],
    ["one in parts", Buffer.concat([frame(1, "x".repeat(60), { final: false }), frame(0, "x".repeat(60))]), 1009],
  ];
  for (const [what, bytes, code] of cases) {
    const { stream, events, say } = opened({ httpBodyBytesMax: 100 });
    say(bytes);
    const answer = stream.take();
    deepEqual([answer[0], answer.readUInt16BE(2)], [0x88, code], what);
    ok(stream.ended, what);
    deepEqual(events, ["gone"], what);
    say(frame(1, "too late"));
    deepEqual(events, ["gone"], what);
  }
});

test("a close is answered by the same code; the server's own comes after what is queued", () => {
  const asked = opened();
  asked.say(frame(8, Buffer.concat([Buffer.from([0x0f, 0xa0]), Buffer.from("why")])));
  deepEqual(asked.stream.take(), frameOf(8, Buffer.from([0x0f, 0xa0])));
  ok(asked.stream.ended);
  deepEqual(asked.events, ["gone"]);

  const own = opened();
  own.sockets[0]!.send(Buffer.from("last"));
  own.sockets[0]!.close(1000, "done");
  equal(own.sockets[0]!.send(Buffer.from("never")), false);
  const closing = frameOf(8, Buffer.concat([Buffer.from([0x03, 0xe8]), Buffer.from("done")]));
  deepEqual(own.stream.take(), Buffer.concat([frameOf(1, Buffer.from("last")), closing]));
});

test("who does not read is told nothing more, gets no pongs, and goes after a while", async () => {
  const { runtime, stream, sockets, events, say } = opened();
  stream.stuck = true;
  let sent = 0;
  while (sockets[0]!.send(Buffer.alloc(10_000))) sent++;
  equal(sent, 6);
  const { pendingBytes } = stream;
  for (let i = 0; i < 100; i++) say(frame(9, "x".repeat(1000 / 8)));
  equal(stream.pendingBytes, pendingBytes);
  for (let i = 0; i < 1000; i++) say(frame(9, "x".repeat(100)));
  ok(stream.paused, "what it sends is not read, either");
  stream.stuck = false;
  stream.take();
  deepEqual(events, ["drain"]);
  ok(!stream.paused);
  stream.stuck = true;
  while (sockets[0]!.send(Buffer.alloc(10_000)));
  await runtime.pass(STALL_TIMEOUT_MS + 2000);
  ok(stream.destroyed);
});

test("messages that are not taken stop the client; resumed, they come in order", () => {
  const { stream, sockets, events, say } = opened();
  say(Buffer.concat([frame(1, "pause"), frame(1, "second")]));
  deepEqual(events, ["pause"]);
  say(frame(2, Buffer.alloc(70_000)));
  ok(stream.paused);
  sockets[0]!.resume();
  deepEqual(events, ["pause", "second", "70000 bytes"]);
  ok(!stream.paused);
});

test("a message that trickles in ends after five minutes, pings amid it or not; a quiet socket stays", async () => {
  const quiet = opened();
  await quiet.runtime.pass(BODY_TIMEOUT_MS + 2000);
  ok(!quiet.stream.destroyed);
  const { runtime, stream, events, say } = opened();
  say(frame(1, "begun", { final: false }));
  for (let i = 0; i < 11; i++) {
    await runtime.pass(BODY_TIMEOUT_MS / 10);
    if (!stream.destroyed) say(frame(9, ""));
    stream.take();
  }
  ok(stream.destroyed);
  stream.onClose();
  deepEqual(events, ["gone"]);
});

test("unfinished messages count in what all connections may hold", () => {
  const { stream, say } = opened({ messageBytesMax: 1 << 20, assemblyBytesTotalMax: 100_000 });
  say(frame(1, "x".repeat(200_000), { final: false }));
  equal(stream.take().readUInt16BE(2), 1013);
});

test("the client's end, and a bug, end the connection", () => {
  const gone = opened();
  gone.stream.onEnd();
  deepEqual([gone.events, gone.stream.destroyed], [["gone"], true]);
  const broken = opened();
  broken.say(frame(1, "bug"));
  deepEqual([broken.bugs.length, broken.stream.destroyed], [1, true]);
});
