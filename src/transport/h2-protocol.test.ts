import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import {
  answerTo,
  block,
  type Fields,
  frame,
  goawayOf,
  grpcFields,
  H2Peer,
  message,
  resetsOf,
  uint32,
} from "../../test/transport/h2-peer.ts";
import { sampleServer } from "../../test/transport/sample-server.ts";
import { ErrorCode, Flag, FrameType } from "./frames.ts";

// h2spec covers the protocol more widely (h2spec.test.ts); these run everywhere, and show what is ours.

const get: Fields = [
  [":method", "GET"],
  [":scheme", "http"],
  [":path", "/health?x=1"],
  [":authority", "node1:2379"],
];
const END = Flag.endHeaders | Flag.endStream;

test("plain requests over HTTP/2: with and without bodies, HEAD, host from :authority", async () => {
  const { runtime, transport } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  peer.headers(1, get, END);
  peer.headers(3, [[":method", "POST"], ...get.slice(1), ["content-length", "6"]]);
  peer.data(3, Buffer.from("abc"), false);
  peer.data(3, Buffer.from("def"));
  peer.headers(5, [[":method", "HEAD"], ...get.slice(1)], END);
  const frames = await peer.got();
  const bodies = [1, 3, 5].map((id) =>
    Buffer.concat(
      frames.filter((one) => one.streamId === id && one.type === 0).map(({ payload }) => payload),
    ).toString(),
  );
  deepEqual(bodies, ["/health?x=1 node1:2379 ", "/health?x=1 node1:2379 abcdef", ""]);
  deepEqual(answerTo(1, frames).fields, [
    ":status: 200",
    "content-type: text/plain",
    "x-method: GET",
    `content-length: ${bodies[0]!.length}`,
  ]);
  // Where both were sent, what is checked and what is chosen by is the same name.
  peer.headers(7, [...get, ["host", "other:1"]], END);
  const both = (await peer.got()).filter((one) => one.streamId === 7 && one.type === 0);
  equal(both[0]?.payload.toString(), bodies[0]);
  ok(answerTo(5, frames).fields.includes(`content-length: ${bodies[0]!.length}`));
  ok([1, 3, 5].every((id) => answerTo(id, frames).ended));
});

test("a body over the bound gets 413", async () => {
  const { runtime, transport } = sampleServer({ messageBytesMax: 10 });
  const peer = new H2Peer(transport, runtime);
  peer.headers(1, [[":method", "POST"], ...get.slice(1)]);
  peer.data(1, Buffer.alloc(11), false);
  const frames = await peer.got();
  equal(answerTo(1, frames).fields[0], ":status: 413");
  deepEqual(resetsOf(frames), [[1, ErrorCode.noError]]);
  equal(transport.stats().streams, 0);
});

test("malformed requests are reset, one by one; the connection and its table live on", async () => {
  const { runtime, transport } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  const malformed: Fields[] = [
    get.slice(1),
    [...get, [":method", "GET"]],
    [...get, ["Upper", "case"]],
    [...get, ["connection", "close"]],
    [...get, ["te", "gzip"]],
    [...get, ["x", "line\nbreak"]],
    [...get, ["x", " space"]],
    [...get, ["bad name", "x"]],
    [...get, ["", "x"]],
    [...get, [":unknown", "x"]],
    [["x", "y"], ...get],
    [...get, ["content-length", "+5"]],
    [...get, ["content-length", "5"]],
    [...get, ["host", "a"], ["host", "b"]],
    [...get.slice(0, 2), [":path", ""], get[3]!],
    [[":method", "CONNECT"], ...get.slice(1)],
  ];
  malformed.forEach((fields, i) => {
    peer.headers(2 * i + 1, fields, END);
  });
  deepEqual(
    resetsOf(await peer.got()),
    malformed.map((_, i): [number, number] => [2 * i + 1, ErrorCode.protocolError]),
  );
  peer.headers(
    101,
    [
      [":method", "CONNECT"],
      [":authority", "x:1"],
    ],
    END,
  );
  equal(answerTo(101, await peer.got()).fields[0], ":status: 501");
  peer.call(103, "/test.Sample/Echo", "alive");
  equal(answerTo(103, await peer.got()).body, "alive");
});

test("content-length and DATA must agree", async () => {
  const { runtime, transport } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  const post: Fields = [[":method", "POST"], ...get.slice(1), ["content-length", "4"]];
  peer.headers(1, post);
  peer.data(1, Buffer.from("12345"), false);
  peer.headers(3, post);
  peer.data(3, Buffer.from("123"));
  peer.headers(5, post, END);
  deepEqual(
    resetsOf(await peer.got()).map(([id]) => id),
    [1, 3, 5],
  );
});

test("trailers end a request; what is not trailers resets it", async () => {
  const { runtime, transport } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  for (const id of [1, 3, 5]) {
    peer.headers(id, grpcFields("/test.Sample/Echo"));
    peer.data(id, message("x"), false);
  }
  peer.headers(1, [["x-checksum", "1"]], END);
  peer.headers(3, [["x-checksum", "1"]]);
  peer.headers(5, [[":path", "/"]], END);
  const frames = await peer.got();
  equal(answerTo(1, frames).body, "x");
  deepEqual(resetsOf(frames), [
    [3, ErrorCode.protocolError],
    [5, ErrorCode.protocolError],
  ]);
});

test("a header block over several frames, padded and with priority", async () => {
  const { runtime, transport } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  const whole = block(grpcFields("/test.Sample/Echo"));
  const first = Buffer.concat([Buffer.from([3]), Buffer.from([0, 0, 0, 0, 7]), whole.subarray(0, 10), Buffer.alloc(3)]);
  peer.send(
    frame(FrameType.headers, Flag.padded | Flag.priority, 1, first),
    frame(FrameType.continuation, 0, 1, whole.subarray(10, 20)),
    frame(FrameType.continuation, Flag.endHeaders, 1, whole.subarray(20)),
  );
  peer.data(1, message("spliced"));
  equal(answerTo(1, await peer.got()).body, "spliced");
});

test("what breaks the connection gets a GOAWAY that says which stream was the last", async () => {
  const cases: [string, number, Buffer[]][] = [
    ["DATA on stream 0", ErrorCode.protocolError, [frame(FrameType.data, 0, 0)]],
    ["DATA on an idle stream", ErrorCode.protocolError, [frame(FrameType.data, 0, 5)]],
    ["an even stream", ErrorCode.protocolError, [frame(FrameType.headers, END, 2, block(get))]],
    ["HEADERS again", ErrorCode.streamClosed, [frame(FrameType.headers, END, 1, block(get))]],
    ["a bad block", ErrorCode.compressionError, [frame(FrameType.headers, END, 3, Buffer.from([0x80]))]],
    [
      "a frame in a block",
      ErrorCode.protocolError,
      [frame(FrameType.headers, 0, 3), frame(FrameType.ping, 0, 0, Buffer.alloc(8))],
    ],
    ["CONTINUATION alone", ErrorCode.protocolError, [frame(FrameType.continuation, 4, 3)]],
    ["PUSH_PROMISE", ErrorCode.protocolError, [frame(FrameType.pushPromise, 0, 1, uint32(2))]],
    ["a short PING", ErrorCode.frameSizeError, [frame(FrameType.ping, 0, 0, Buffer.alloc(7))]],
    ["SETTINGS of 5 bytes", ErrorCode.frameSizeError, [frame(FrameType.settings, 0, 0, Buffer.alloc(5))]],
    ["an ack with payload", ErrorCode.frameSizeError, [frame(FrameType.settings, Flag.ack, 0, Buffer.alloc(6))]],
    ["ENABLE_PUSH 2", ErrorCode.protocolError, [frame(FrameType.settings, 0, 0, Buffer.from([0, 2, 0, 0, 0, 2]))]],
    [
      "a window of 2^31",
      ErrorCode.flowControlError,
      [frame(FrameType.settings, 0, 0, Buffer.from([0, 4, 128, 0, 0, 0]))],
    ],
    ["MAX_FRAME_SIZE 1", ErrorCode.protocolError, [frame(FrameType.settings, 0, 0, Buffer.from([0, 5, 0, 0, 0, 1]))]],
    ["padding over the frame", ErrorCode.protocolError, [frame(FrameType.data, Flag.padded, 1, Buffer.from([5, 0]))]],
    ["a frame of 16385", ErrorCode.frameSizeError, [Buffer.from([0, 0x40, 1, 0, 0, 0, 0, 0, 1])]],
    ["RST_STREAM on an idle stream", ErrorCode.protocolError, [frame(FrameType.rstStream, 0, 9, uint32(0))]],
  ];
  for (const [what, code, frames] of cases) {
    const { runtime, transport, sample } = sampleServer();
    const peer = new H2Peer(transport, runtime);
    peer.headers(1, get, END);
    equal(answerTo(1, await peer.got()).fields[0], ":status: 200");
    peer.send(...frames);
    const goaway = goawayOf(await peer.got());
    equal(goaway?.code, code, what);
    equal(goaway?.last, 1, what);
    ok(peer.stream.ended, what);
    peer.call(11, "/test.Sample/Echo", "ignored");
    deepEqual(await peer.got(), [], what);
    equal(sample.calls.length, 0);
    deepEqual(sample.bugs, []);
  }
});

test("DATA that was under way when we ended the stream is passed over, and later it is an error", async () => {
  const { runtime, transport } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  peer.headers(1, grpcFields("/test.Sample/Unknown"));
  peer.data(1, message("x"), false);
  peer.data(1, Buffer.alloc(0));
  peer.call(3, "/test.Sample/Echo", "x");
  await peer.got();
  peer.data(3, message("again"));
  deepEqual(resetsOf(await peer.got()), [[3, ErrorCode.streamClosed]]);
  equal(peer.stream.ended, false);
});
