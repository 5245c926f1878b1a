import { deepEqual, equal, match, ok } from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import {
  answerTo,
  block,
  frame,
  goawayOf,
  grpcFields,
  H2Peer,
  message,
  resetsOf,
  text,
  windowSetting,
} from "../../test/transport/h2-peer.ts";
import { bytesMessage, sampleServer } from "../../test/transport/sample-server.ts";
import { ErrorCode, Flag, FrameType } from "./frames.ts";
import { GrpcError, type Pieces } from "./transport.ts";

const OK = [":status: 200", "content-type: application/grpc", "grpc-status: 0"];

test("unary calls of one chunk are answered in one write, at its end", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  await peer.got();
  const before = peer.stream.writes;
  const call = (id: number, body: string): Buffer[] => [
    frame(FrameType.headers, Flag.endHeaders, id, block(grpcFields("/test.Sample/Echo"))),
    frame(FrameType.data, Flag.endStream, id, message(body)),
  ];
  peer.send(...call(1, "one"), ...call(3, ""), ...call(5, "three"));
  equal(peer.stream.writes, before + 1, "without waiting for the end of the turn");
  const frames = await peer.got();
  deepEqual(answerTo(1, frames), { body: "one", fields: OK, ended: true });
  deepEqual(answerTo(3, frames), { body: "", fields: OK, ended: true });
  deepEqual(answerTo(5, frames), { body: "three", fields: OK, ended: true });
  deepEqual(resetsOf(frames), []);
  equal(transport.stats().streams, 0);
  deepEqual(
    sample.calls.map((one) => one.message),
    ["one", "", "three"],
  );
});

test("answers that come later leave together at the end of the turn", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  await peer.got();
  for (const id of [1, 3, 5]) peer.call(id, "/test.Sample/Wait", `call ${id}`);
  deepEqual(await peer.got(), []);
  const writes = peer.stream.writes;
  sample.waiting[1]!.resolve(bytesMessage("second"));
  sample.waiting[2]!.reject(new GrpcError(5, "not here"));
  sample.waiting[0]!.resolve(bytesMessage("first"));
  const frames = await peer.got();
  equal(peer.stream.writes, writes + 1);
  equal(answerTo(1, frames).body, "first");
  equal(answerTo(3, frames).body, "second");
  deepEqual(answerTo(5, frames).fields.slice(2), ["grpc-status: 5", "grpc-message: not here"]);
  equal(transport.stats().streams, 0);
});

test("errors of handlers become trailers; what is no GrpcError is a bug and tells the client nothing", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  peer.call(1, "/test.Sample/Fail", "7:näin 100%\n");
  peer.call(3, "/test.Sample/Bug", "");
  const frames = await peer.got();
  deepEqual(answerTo(1, frames), {
    body: "",
    fields: [":status: 200", "content-type: application/grpc", "grpc-status: 7", "grpc-message: n%C3%A4in 100%25%0A"],
    ended: true,
  });
  deepEqual(answerTo(3, frames).fields.slice(2), ["grpc-status: 13", "grpc-message: internal error"]);
  equal(sample.bugs.length, 1);
});

test("an answer larger than any client takes is refused before anything of it is made", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  peer.call(1, "/test.Sample/Wait", "");
  await peer.got();
  const encodeInto = (): number => {
    throw new Error("not reached");
  };
  sample.waiting[0]!.resolve({ byteLength: () => 2 ** 31, encodeInto });
  deepEqual(answerTo(1, await peer.got()).fields.slice(2), [
    "grpc-status: 8",
    "grpc-message: trying to send message larger than max (2147483648 vs. 2147483647)",
  ]);
  deepEqual(sample.bugs, []);
});

test("unknown methods and services, and requests that are not quite gRPC", async () => {
  const { runtime, transport } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  const texts: [string, string, string][] = [
    ["/test.Sample/Nope", "12", "unknown method Nope for service test.Sample"],
    ["/other.Service/Nope", "12", "unknown service other.Service"],
    ["Nope", "12", 'malformed method name: "Nope"'],
  ];
  let id = 1;
  for (const [path, code, text] of texts) {
    peer.call(id, path, "x");
    const frames = await peer.got();
    deepEqual(answerTo(id, frames).fields.slice(-2), [`grpc-status: ${code}`, `grpc-message: ${text}`]);
    // Its body is not waited for, and not held against the client when it comes.
    deepEqual(resetsOf(frames), [[id, ErrorCode.noError]]);
    id += 2;
  }
  peer.headers(id, [[":method", "GET"], ...grpcFields("/test.Sample/Echo").slice(1)], Flag.endHeaders | Flag.endStream);
  const got = answerTo(id, await peer.got()).fields;
  equal(got[0], ":status: 405");
  match(got.join("\n"), /grpc-message: Received a HEADERS frame with :method "GET" which should be POST/);
});

test("a unary call has exactly one message", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  peer.headers(1, grpcFields("/test.Sample/Echo"), Flag.endHeaders | Flag.endStream);
  peer.headers(3, grpcFields("/test.Sample/Echo"));
  peer.data(3, Buffer.concat([message("a"), message("b")]));
  peer.headers(5, grpcFields("/test.Sample/Echo"));
  peer.data(5, message("cut short").subarray(0, 8));
  peer.headers(7, grpcFields("/test.Sample/Echo"));
  peer.data(7, message("end on its own"), false);
  peer.data(7, Buffer.alloc(0));
  const frames = await peer.got();
  const status = (id: number): string => answerTo(id, frames).fields.slice(-2).join(" ");
  match(status(1), /grpc-status: 13 .*received no request message/);
  match(status(3), /grpc-status: 13 .*received multiple request messages/);
  equal(status(5), "grpc-status: 13 grpc-message: unexpected EOF");
  equal(answerTo(7, frames).body, "end on its own");
  equal(sample.calls.length, 1);
});

test("messages in many pieces, of no bytes, and over the bound", async () => {
  const { runtime, transport, sample } = sampleServer({ messageBytesMax: 100_000 });
  const peer = new H2Peer(transport, runtime);
  const body = Buffer.alloc(100_000, "abcdefghij");
  peer.headers(1, grpcFields("/test.Sample/Echo"));
  const whole = message(body);
  for (let at = 0; at < whole.length; at += 777) peer.data(1, whole.subarray(at, at + 777), at + 777 >= whole.length);
  await peer.got();
  equal(sample.calls[0]!.message, body.toString());
  peer.headers(3, grpcFields("/test.Sample/Echo"));
  peer.data(3, message(Buffer.alloc(100_001)).subarray(0, 16_000), false);
  const frames = await peer.got();
  deepEqual(answerTo(3, frames).fields.slice(-2), [
    "grpc-status: 8",
    "grpc-message: grpc: received message larger than max (100001 vs. 100000)",
  ]);
  deepEqual(resetsOf(frames), [[3, ErrorCode.noError]]);
  // What was on its way is passed over, without a word.
  peer.data(3, Buffer.alloc(5), true);
  deepEqual(await peer.got(), []);
});

test("gzip requests are taken, within the bound; other encodings are named", async () => {
  const { runtime, transport } = sampleServer({ messageBytesMax: 10_000 });
  const peer = new H2Peer(transport, runtime);
  const send = (id: number, encoding: string, body: Buffer): void => {
    peer.headers(id, grpcFields("/test.Sample/Echo", encoding === "" ? [] : [["grpc-encoding", encoding]]));
    peer.data(id, message(body, 1));
  };
  send(1, "gzip", gzipSync("compressed"));
  send(3, "gzip", gzipSync(Buffer.alloc(10_001)));
  send(5, "gzip", Buffer.from("not gzip"));
  send(7, "", gzipSync("no encoding named"));
  send(9, "snappy", Buffer.from("x"));
  peer.headers(11, grpcFields("/test.Sample/Echo"));
  peer.data(11, message("x", 7));
  const frames = await peer.got();
  equal(answerTo(1, frames).body, "compressed");
  const status = (id: number): string => answerTo(id, frames).fields.slice(2).join(" ");
  equal(status(3), "grpc-status: 8 grpc-message: grpc: received message after decompression larger than max 10000");
  match(status(5), /^grpc-status: 13 /);
  equal(status(7), "grpc-status: 13 grpc-message: grpc: compressed flag set with identity or empty encoding");
  match(status(9), /grpc-accept-encoding: identity,gzip grpc-status: 12 .*not installed for grpc-encoding "snappy"/);
  equal(status(11), "grpc-status: 13 grpc-message: grpc: received unexpected payload format 7");
});

test("metadata, authority and remote address of a call; blocks that are seen again mean the same", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  for (const [id, value] of [
    [1, "one"],
    [3, "two"],
    [5, "one"],
    [7, "two"],
  ] as const) {
    peer.call(id, "/test.Sample/Metadata", "token", [
      ["token", value],
      ["token", "second"],
    ]);
    equal(answerTo(id, await peer.got()).body, `${value} of test`);
  }
  peer.call(9, "/test.Sample/Echo", "");
  await peer.got();
  equal(sample.calls[0]!.call.remoteAddress, "192.0.2.1:4711");
  equal(sample.calls[0]!.call.metadata("absent"), undefined);
});

test("the same bytes of a header block mean something else when the table has changed", async () => {
  const { runtime, transport } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  const fields = block(grpcFields("/test.Sample/Metadata"));
  const entering = (value: string): Buffer => Buffer.concat([fields, Buffer.from([0x40]), text("token"), text(value)]);
  const newest = Buffer.concat([fields, Buffer.from([0xbe])]);
  const blocks = [entering("one"), newest, newest, entering("two"), newest, newest];
  for (const [i, one] of blocks.entries()) {
    peer.send(frame(FrameType.headers, Flag.endHeaders, 2 * i + 1, one));
    peer.data(2 * i + 1, message("token"));
  }
  const frames = await peer.got();
  deepEqual(
    blocks.map((_, i) => answerTo(2 * i + 1, frames).body),
    ["one", "one", "one", "two", "two", "two"].map((value) => `${value} of test`),
  );
});

test("a deadline ends the call, cancels its handler, and late answers are dropped", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  peer.call(1, "/test.Sample/Wait", "a", [["grpc-timeout", "250m"]]);
  peer.call(3, "/test.Sample/Wait", "b", [["grpc-timeout", "1S"]]);
  equal(sample.calls[0]!.call.timeLeftMs(), 250);
  await runtime.pass(249);
  deepEqual(await peer.got(), []);
  equal(sample.calls[0]!.call.timeLeftMs(), 1);
  await runtime.pass(1);
  const frames = await peer.got();
  deepEqual(answerTo(1, frames).fields.slice(2), ["grpc-status: 4", "grpc-message: context deadline exceeded"]);
  deepEqual(sample.events, ["cancelled a"]);
  sample.waiting[0]!.resolve(bytesMessage("late"));
  sample.waiting[1]!.resolve(bytesMessage("in time"));
  equal(answerTo(3, await peer.got()).body, "in time");
  await runtime.pass(5000);
  deepEqual(await peer.got(), []);
  deepEqual(sample.events, ["cancelled a"]);
});

test("a deadline amid an answer resets the call: trailers there would be an unexpected end to its reader", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime, [windowSetting(10)]);
  const timeout: [string, string][] = [["grpc-timeout", "250m"]];
  // Queued in part, whole but for its window, a message of a stream, and pieces of which none is queued now.
  peer.call(1, "/test.Sample/Large", "100", timeout);
  peer.call(3, "/test.Sample/Large", "50000", timeout);
  peer.call(5, "/test.Sample/Count", "9", timeout);
  peer.call(7, "/test.Sample/Wait", "pieces", timeout);
  let closed = 0;
  sample.waiting[0]!.resolve({
    ...bytesMessage("pieces"),
    nextPiece: () => new Promise(() => undefined),
    close: () => closed++,
  } as Pieces);
  const before = await peer.got();
  for (const id of [1, 3, 5, 7]) equal(answerTo(id, before).ended, false);
  await runtime.pass(250);
  const frames = await peer.got();
  deepEqual(
    resetsOf(frames).sort(([a], [b]) => a - b),
    [1, 3, 5, 7].map((id) => [id, ErrorCode.cancel]),
  );
  ok(frames.every((one) => one.type === FrameType.rstStream));
  deepEqual([transport.stats().streams, closed], [0, 1]);
  deepEqual(sample.events, ["cancelled pieces"]);
  peer.call(9, "/test.Sample/Echo", "on");
  equal(answerTo(9, await peer.got()).body, "on", "the connection goes on");
});

test("a deadline of nothing is over at once; one that is no number is refused", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  peer.call(1, "/test.Sample/Echo", "x", [["grpc-timeout", "0n"]]);
  peer.call(3, "/test.Sample/Echo", "x", [["grpc-timeout", "soon"]]);
  const frames = await peer.got();
  equal(answerTo(1, frames).fields[2], "grpc-status: 4");
  deepEqual(answerTo(3, frames).fields.slice(-2), ["grpc-status: 13", "grpc-message: malformed grpc-timeout"]);
  equal(sample.calls.length, 0);
});

test("a reset cancels the call, and its answer goes nowhere", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  peer.call(1, "/test.Sample/Wait", "a");
  peer.send(Buffer.from([0, 0, 4, FrameType.rstStream, 0, 0, 0, 0, 1, 0, 0, 0, 8]));
  deepEqual(sample.events, ["cancelled a"]);
  equal(transport.stats().streams, 0);
  sample.waiting[0]!.resolve(bytesMessage("late"));
  deepEqual(await peer.got(), []);
  sample.calls[0]!.call.onCancel(() => sample.events.push("told at once"));
  deepEqual(sample.events, ["cancelled a", "told at once"]);
});

test("handlers that outlive their streams count against the bound of streams", async () => {
  const { runtime, transport, sample } = sampleServer({ concurrentStreamsMax: 2 });
  const peer = new H2Peer(transport, runtime);
  for (const id of [1, 3]) {
    peer.call(id, "/test.Sample/Wait", "x");
    peer.send(Buffer.from([0, 0, 4, FrameType.rstStream, 0, 0, 0, 0, id, 0, 0, 0, 8]));
  }
  peer.call(5, "/test.Sample/Echo", "x");
  deepEqual(resetsOf(await peer.got()), [[5, ErrorCode.refusedStream]]);
  sample.waiting[0]!.reject(new Error("never mind"));
  await peer.got();
  peer.call(7, "/test.Sample/Echo", "x");
  equal(answerTo(7, await peer.got()).body, "x");
});

test("a stream: messages both ways, half-close, end", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  peer.headers(1, grpcFields("/test.Sample/Chat"));
  deepEqual(await peer.got(), []);
  peer.data(1, Buffer.concat([message("a"), message("b"), message("c").subarray(0, 3)]), false);
  peer.data(1, message("c").subarray(3), false);
  const frames = await peer.got();
  const bodies = frames
    .filter(({ type }) => type === FrameType.data)
    .map(({ payload }) => payload.toString("latin1", 5));
  deepEqual(bodies, ["re: a", "re: b", "re: c"]);
  peer.data(1, Buffer.alloc(0));
  const end = await peer.got();
  deepEqual(
    end.flatMap(({ fields }) => fields),
    ["grpc-status: 0"],
  );
  deepEqual(resetsOf(end), []);
  deepEqual(sample.events, ["message a", "message b", "message c", "half-close"]);
});

test("a stream that the server ends first, before and after messages", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  peer.headers(1, grpcFields("/test.Sample/Chat"));
  sample.streams[0]!.end(14, "going");
  const first = await peer.got();
  deepEqual(answerTo(1, first).fields, [
    ":status: 200",
    "content-type: application/grpc",
    "grpc-status: 14",
    "grpc-message: going",
  ]);
  deepEqual(resetsOf(first), [[1, ErrorCode.noError]]);
  peer.data(1, message("on its way"));
  deepEqual(await peer.got(), []);
  peer.headers(3, grpcFields("/test.Sample/Chat"));
  ok(sample.streams[1]!.send(bytesMessage("hello")));
  sample.streams[1]!.end(0);
  const second = await peer.got();
  deepEqual(answerTo(3, second), { body: "hello", fields: OK, ended: true });
  deepEqual(sample.events, []);
  equal(sample.streams[1]!.send(bytesMessage("too late")), false);
  equal(sample.bugs.length, 0);
});

test("streams are told when their client or its connection goes", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  peer.headers(1, grpcFields("/test.Sample/Chat"));
  peer.headers(3, grpcFields("/test.Sample/Chat"));
  peer.send(Buffer.from([0, 0, 4, FrameType.rstStream, 0, 0, 0, 0, 1, 0, 0, 0, 8]));
  deepEqual(sample.events, ["cancelled"]);
  peer.stream.onClose();
  deepEqual(sample.events, ["cancelled", "cancelled"]);
  equal(sample.streams[1]!.send(bytesMessage("x")), false);
  equal(transport.stats().streams, 0);
  equal(transport.stats().connections, 0);
  equal(sample.bugs.length, 0);
});

test("drain: two GOAWAYs, calls at work are answered, then the connection ends", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  peer.call(1, "/test.Sample/Wait", "a");
  await peer.got();
  let drained = false;
  void transport.drain(10_000).then(() => {
    drained = true;
  });
  const first = await peer.got();
  deepEqual(goawayOf(first), { last: 0x7fffffff, code: 0, text: "" });
  const ping = first.find(({ type }) => type === FrameType.ping)!;
  // A call that was on its way when the first GOAWAY was sent.
  peer.call(3, "/test.Sample/Echo", "made it");
  peer.send(Buffer.concat([Buffer.from([0, 0, 8, FrameType.ping, Flag.ack, 0, 0, 0, 0]), ping.payload]));
  const second = await peer.got();
  equal(answerTo(3, second).body, "made it");
  deepEqual(goawayOf(second), { last: 3, code: 0, text: "" });
  peer.call(5, "/test.Sample/Echo", "too late");
  deepEqual(await peer.got(), []);
  equal(peer.stream.ended, false);
  sample.waiting[0]!.resolve(bytesMessage("done"));
  equal(answerTo(1, await peer.got()).body, "done");
  ok(peer.stream.ended);
  equal(drained, false);
  peer.stream.onClose();
  await runtime.turn();
  ok(drained);
  const late = new H2Peer(transport, runtime);
  ok(late.stream.destroyed);
});

test("drain ends by force when its time is over", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  peer.headers(1, grpcFields("/test.Sample/Chat"));
  const drained = transport.drain(3_000);
  await runtime.pass(3_000);
  await drained;
  ok(peer.stream.destroyed);
  deepEqual(sample.events, ["cancelled"]);
});
