import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
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
  uint32,
  windowSetting,
} from "../../test/transport/h2-peer.ts";
import { MemoryStream } from "../../test/transport/memory-stream.ts";
import { sampleServer } from "../../test/transport/sample-server.ts";
import { ErrorCode, Flag, FrameType, PREFACE } from "./frames.ts";
import { BODY_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS, HEADERS_TIMEOUT_MS, LINGER_MS, STALL_TIMEOUT_MS } from "./limits.ts";
import type { TransportSettings } from "./transport.ts";

const FRAMES_A_TURN = 100;

/**
 * Sends what `next` makes, until the connection is ended for `reason`; fails when that takes more than `most` times.
 */
async function flood(
  reason: string,
  most: number,
  next: (i: number, peer: H2Peer) => Buffer[],
  settings: Partial<TransportSettings> = {},
): Promise<number> {
  const { runtime, transport, sample } = sampleServer(settings);
  const peer = new H2Peer(transport, runtime);
  await peer.got();
  for (let i = 0; i < most; i++) {
    peer.send(...next(i, peer));
    ok(peer.stream.pendingBytes < 4 << 20, "what waits for the flooder is bounded");
    if (i % 16 === 0) peer.stream.take();
    // What one turn has no time for is looked at in the next; no turn has time for more than so many frames.
    if (peer.stream.paused || i % FRAMES_A_TURN === 0) await runtime.turn();
    if (!peer.stream.ended) continue;
    deepEqual([...transport.stats().refused], [[reason, 1]]);
    equal(transport.stats().streams, 0);
    equal(sample.bugs.length, 0);
    await runtime.pass(2 * LINGER_MS + 1000);
    ok(peer.stream.destroyed, "who does not go is cut off");
    return i + 1;
  }
  throw new Error(`${most} were not enough for ${reason}: ${[...transport.stats().refused.keys()]}`);
}

const id = (i: number): number => 2 * i + 1;
const open = (streamId: number, path = "/test.Sample/Chat", flags: number = Flag.endHeaders): Buffer =>
  frame(FrameType.headers, flags, streamId, block(grpcFields(path)));

test("rapid reset: streams opened only to be reset", async () => {
  const sent = await flood("rapid_reset", 10_000, (i) => [
    open(id(i)),
    frame(FrameType.rstStream, 0, id(i), uint32(ErrorCode.cancel)),
  ]);
  ok(sent > 1000, "a client may cancel many calls");
});

test("rapid reset by mistakes that make the server reset", async () => {
  await flood("rapid_reset", 10_000, (i) => [open(id(i)), frame(FrameType.windowUpdate, 0, id(i), uint32(0))]);
});

test("streams beyond the bound are refused, and asking for more and more of them ends", async () => {
  await flood("rapid_reset", 10_000, (i) => [open(id(i))], { concurrentStreamsMax: 10 });
});

test("cancelling at a working client's pace goes on for ever", async () => {
  const { runtime, transport } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  for (let i = 0; i < 20_000; i++) {
    peer.send(open(id(i)), frame(FrameType.rstStream, 0, id(i), uint32(ErrorCode.cancel)));
    if (i % 50 === 49) await runtime.pass(100);
  }
  equal(peer.stream.ended, false);
});

test("CONTINUATION without end, by number and by bytes", async () => {
  const begin = frame(FrameType.headers, 0, 1, Buffer.alloc(0));
  await flood("continuation_flood", 100, (i) => [
    i === 0 ? begin : frame(FrameType.continuation, 0, 1, Buffer.alloc(0)),
  ]);
  await flood("header_block_too_large", 10, (i) => [
    i === 0 ? begin : frame(FrameType.continuation, 0, 1, Buffer.alloc(16384)),
  ]);
});

test("a header list over the bound is refused, and the connection lives", async () => {
  const { runtime, transport } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  // An entry of 4,000 bytes enters the table; each further byte of the block makes the list 4,000 longer.
  const entry = Buffer.concat([Buffer.from([0x40]), text("a"), text("b".repeat(4000))]);
  const bomb = Buffer.concat([block(grpcFields("/test.Sample/Echo")), entry, Buffer.alloc(10_000, 0xbe)]);
  peer.send(frame(FrameType.headers, Flag.endHeaders | Flag.endStream, 1, bomb));
  deepEqual(answerTo(1, await peer.got()).fields[0], ":status: 431");
  peer.call(3, "/test.Sample/Echo", "alive");
  equal(answerTo(3, await peer.got()).body, "alive");
});

test("SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty DATA, frames of no meaning", async () => {
  await flood("settings_flood", 200, () => [frame(FrameType.settings, 0, 0)]);
  await flood("settings_flood", 200, () => [frame(FrameType.settings, Flag.ack, 0)]);
  await flood("too_many_pings", 5, () => [frame(FrameType.ping, 0, 0, Buffer.alloc(8))]);
  await flood("ping_flood", 2000, () => [frame(FrameType.ping, 0, 0, Buffer.alloc(8))], { keepaliveMinMs: 0 });
  await flood("ping_flood", 2000, () => [frame(FrameType.ping, Flag.ack, 0, Buffer.alloc(8))]);
  await flood("priority_flood", 2000, () => [frame(FrameType.priority, 0, 9, Buffer.from([0, 0, 0, 0, 1]))]);
  await flood("window_update_flood", 20_000, () => [frame(FrameType.windowUpdate, 0, 0, uint32(1))]);
  await flood("empty_data_flood", 2000, (i) => [i === 0 ? open(1) : frame(FrameType.data, 0, 1)]);
  await flood("ignored_frames_flood", 10_000, () => [frame(99, 0, 0, Buffer.alloc(3))]);
  await flood("ignored_frames_flood", 10_000, () => [frame(FrameType.goaway, 0, 0, Buffer.alloc(8))]);
});

test("a client that reads a lot may send window updates as often as it gets frames", async () => {
  const { runtime, transport } = sampleServer();
  const peer = new H2Peer(transport, runtime, [windowSetting(65535)]);
  for (let i = 0; i < 8000; i++) {
    peer.call(id(i), "/test.Sample/Echo", "x");
    for (let n = 0; n < 4; n++) peer.send(frame(FrameType.windowUpdate, 0, 0, uint32(6)));
    if (i % 100 === 0) await peer.got();
  }
  equal(peer.stream.ended, false);
});

test("pings: three strikes, forgiven whenever something was sent; rarer ones are no strikes", async () => {
  const { runtime, transport, sample } = sampleServer({ keepaliveMinMs: 1000 });
  const peer = new H2Peer(transport, runtime);
  const ping = frame(FrameType.ping, 0, 0, Buffer.from("12345678"));
  peer.headers(1, grpcFields("/test.Sample/Chat"));
  for (let i = 0; i < 20; i++) {
    peer.send(ping);
    await runtime.pass(1000);
  }
  for (let i = 0; i < 20; i++) {
    peer.send(ping);
    peer.data(1, message("x"), false);
  }
  equal((await peer.got()).filter(({ type }) => type === FrameType.ping).length, 40);
  for (let i = 0; i < 4; i++) peer.send(ping);
  deepEqual(goawayOf(await peer.got()), { last: 1, code: ErrorCode.enhanceYourCalm, text: "too_many_pings" });
  deepEqual(sample.events.at(-1), "cancelled");
});

test("an idle connection is pinged, and closed when it does not answer", async () => {
  const { runtime, transport } = sampleServer({ keepaliveIntervalMs: 10_000, keepaliveTimeoutMs: 2_000 });
  const peer = new H2Peer(transport, runtime);
  await peer.got();
  await runtime.pass(11_000);
  const ping = (await peer.got()).find(({ type }) => type === FrameType.ping)!;
  peer.send(frame(FrameType.ping, Flag.ack, 0, ping.payload));
  await runtime.pass(11_000);
  equal((await peer.got()).filter(({ type }) => type === FrameType.ping).length, 1);
  equal(peer.stream.destroyed, false);
  await runtime.pass(3_000);
  ok(peer.stream.destroyed);
  equal(transport.stats().refused.get("keepalive_timeout"), 1);
});

test("a connection that says nothing, or half a preface, or no SETTINGS", async () => {
  const { runtime, transport } = sampleServer();
  const streams = [0, 10, PREFACE.length].map((bytes) => {
    const stream = new MemoryStream();
    transport.accept(stream);
    if (bytes > 0) stream.onData(PREFACE.subarray(0, bytes));
    return stream;
  });
  await runtime.pass(HANDSHAKE_TIMEOUT_MS - 1100);
  ok(streams.every(({ destroyed, ended }) => !destroyed && !ended));
  await runtime.pass(3000);
  ok(streams.every(({ destroyed, ended }) => destroyed || ended));
  equal(transport.stats().refused.get("slow_handshake"), 3);
});

test("a header block that is never finished, and a frame that is never finished", async () => {
  const { runtime, transport } = sampleServer();
  const headers = new H2Peer(transport, runtime);
  headers.send(frame(FrameType.headers, 0, 1, Buffer.alloc(0)));
  const half = new H2Peer(transport, runtime);
  half.send(frame(FrameType.headers, Flag.endHeaders, 1, block(grpcFields("/test.Sample/Chat"))).subarray(0, 30));
  await runtime.pass(HEADERS_TIMEOUT_MS + 2000);
  equal(goawayOf(await headers.got())?.text, "slow_headers");
  equal(half.stream.ended, false);
  await runtime.pass(STALL_TIMEOUT_MS);
  equal(goawayOf(await half.got())?.text, "slow_frame");
});

test("requests that stop half-way and responses that nobody takes are reset; streams may be quiet", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime, [windowSetting(100)]);
  peer.headers(1, grpcFields("/test.Sample/Echo"));
  peer.data(1, message("unfinished").subarray(0, 9), false);
  peer.call(3, "/test.Sample/Large", "1000");
  peer.headers(5, grpcFields("/test.Sample/Chat"));
  peer.call(7, "/test.Sample/Wait", "working");
  await peer.got();
  await runtime.pass(STALL_TIMEOUT_MS + 10_000);
  deepEqual(resetsOf(await peer.got()), [
    [1, ErrorCode.cancel],
    [3, ErrorCode.cancel],
  ]);
  equal(transport.stats().refused.get("stalled_stream"), 2);
  equal(transport.stats().streams, 2);
  deepEqual(sample.events, []);
});

test("a client that does not read is cut off", async () => {
  const { runtime, transport } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  await peer.got();
  peer.stream.stuck = true;
  peer.call(1, "/test.Sample/Echo", "x");
  await runtime.pass(STALL_TIMEOUT_MS - 2000);
  equal(peer.stream.destroyed, false);
  await runtime.pass(4000);
  ok(peer.stream.destroyed);
  equal(transport.stats().refused.get("slow_reader"), 1);
});

test("connections over the bound are closed at once", () => {
  const { runtime, transport } = sampleServer({ connectionsMax: 2 });
  const peers = [1, 2, 3].map(() => new H2Peer(transport, runtime));
  deepEqual(
    peers.map(({ stream }) => stream.destroyed),
    [false, false, true],
  );
  equal(transport.stats().refused.get("too_many_connections"), 1);
  peers[0]!.stream.onClose();
  equal(new H2Peer(transport, runtime).stream.destroyed, false);
});

test("unfinished messages of one connection are bounded together", async () => {
  const { runtime, transport } = sampleServer({ messageBytesMax: 1 << 18 });
  const peer = new H2Peer(transport, runtime);
  const part = Buffer.concat([message(Buffer.alloc(1 << 18)).subarray(0, 5), Buffer.alloc(16_000)]);
  let refused = 0;
  for (let i = 0; i < 900; i++) {
    peer.headers(id(i), grpcFields("/test.Sample/Echo"));
    peer.data(id(i), part, false);
    if (i % 50 === 0) refused += (await peer.got()).filter(({ fields }) => fields.includes("grpc-status: 8")).length;
  }
  refused += (await peer.got()).filter(({ fields }) => fields.includes("grpc-status: 8")).length;
  ok(refused > 600 && refused < 700, `${refused} refused`);
  ok(!peer.stream.ended);
  for (let i = 0; i < 300; i++) peer.send(frame(FrameType.rstStream, 0, id(i), uint32(ErrorCode.cancel)));
  peer.headers(9001, grpcFields("/test.Sample/Echo"));
  peer.data(9001, part, false);
  deepEqual(
    (await peer.got()).map(({ fields }) => fields),
    [],
    "what was cancelled has given its room back",
  );
});

test("when there is no room for unfinished requests, who holds most of it loses that", async () => {
  const { runtime, transport, sample } = sampleServer({ messageBytesMax: 1 << 20, assemblyBytesTotalMax: 4 << 20 });
  const greedy = new H2Peer(transport, runtime);
  const part = Buffer.concat([message(Buffer.alloc(1 << 20)).subarray(0, 5), Buffer.alloc(16_000)]);
  const whole = message(Buffer.alloc(16_000));
  for (let i = 0; i < 40; i++) {
    greedy.headers(id(i), grpcFields("/test.Sample/Echo"));
    greedy.data(id(i), i % 2 === 0 ? part : whole, false);
    if (greedy.stream.paused) await runtime.turn();
  }
  const talker = new H2Peer(transport, runtime);
  talker.headers(1, grpcFields("/test.Sample/Chat"));
  talker.data(1, part, false);
  equal((await greedy.got()).length, 0);
  // Three others want more than is left.
  const modest = [1, 2, 3].map(() => new H2Peer(transport, runtime));
  for (const peer of modest) {
    for (let i = 0; i < 16; i++) {
      peer.headers(id(i), grpcFields("/test.Sample/Echo"));
      peer.data(id(i), part, false);
    }
  }
  for (const peer of modest) deepEqual(await peer.got(), []);
  deepEqual(await talker.got(), []);
  const refused = (await greedy.got()).filter(({ fields }) => fields.includes("grpc-status: 8"));
  equal(refused.length, 40);
  // Room that was given back is there.
  for (const peer of [greedy, talker, ...modest]) peer.stream.onClose();
  equal(transport.stats().streams, 0);
  const last = new H2Peer(transport, runtime);
  for (let i = 0; i < 60; i++) {
    last.headers(id(i), grpcFields("/test.Sample/Echo"));
    last.data(id(i), part, false);
    if (last.stream.paused) await runtime.turn();
  }
  deepEqual(await last.got(), []);
  deepEqual(sample.bugs, []);
});

test("a request that is whole but not ended counts as unfinished, and holds no more than itself", async () => {
  const { runtime, transport } = sampleServer({ messageBytesMax: 1 << 18, assemblyBytesTotalMax: 1 << 20 });
  const peer = new H2Peer(transport, runtime);
  for (let i = 0; i < 100; i++) {
    peer.headers(id(i), grpcFields("/test.Sample/Echo"));
    peer.data(id(i), message(Buffer.alloc(16_000)), false);
    if (peer.stream.paused) await runtime.turn();
  }
  const refused = (await peer.got()).filter(({ fields }) => fields.includes("grpc-status: 8"));
  equal(refused.length, 100 - Math.floor((1 << 20) / 16_000));
  peer.send(frame(FrameType.data, Flag.endStream, id(0)));
  equal(answerTo(id(0), await peer.got()).body.length, 16_000);
});

test("a message that trickles in ends all the same, of a call and of a stream", async () => {
  const { runtime, transport } = sampleServer({ keepaliveIntervalMs: 0 });
  const peer = new H2Peer(transport, runtime);
  for (const [streamId, path] of [
    [1, "/test.Sample/Echo"],
    [3, "/test.Sample/Chat"],
    [5, "/test.Sample/Chat"],
  ] as const) {
    peer.headers(streamId, grpcFields(path));
    peer.data(streamId, message(Buffer.alloc(100_000)).subarray(0, 100), false);
  }
  for (let ms = 0; ms < BODY_TIMEOUT_MS; ms += STALL_TIMEOUT_MS / 2) {
    deepEqual(resetsOf(await peer.got()), [], `after ${ms} ms`);
    for (const streamId of [1, 3]) peer.send(frame(FrameType.data, 0, streamId, Buffer.from([1])));
    // This one has begun another message meanwhile.
    if (ms === STALL_TIMEOUT_MS) {
      const rest = Buffer.concat([Buffer.alloc(100_005 - 100), message(Buffer.alloc(10)).subarray(0, 7)]);
      for (let at = 0; at < rest.length; at += 16_000) peer.send(frame(0, 0, 5, rest.subarray(at, at + 16_000)));
    }
    await runtime.pass(STALL_TIMEOUT_MS / 2);
  }
  await runtime.pass(10_000);
  deepEqual(
    resetsOf(await peer.got()).map(([streamId]) => streamId),
    [1, 3],
  );
  await runtime.pass(STALL_TIMEOUT_MS + 10_000);
  deepEqual(
    resetsOf(await peer.got()).map(([streamId]) => streamId),
    [5],
  );
});

test("open streams and their heads are bounded over all connections; each may have a few all the same", async () => {
  const { runtime, transport } = sampleServer({ streamsBytesTotalMax: 4 << 20 });
  const fat = block(grpcFields("/test.Sample/Chat", [["x-fat", "y".repeat(14_000)]]));
  const greedy = new H2Peer(transport, runtime);
  for (let i = 0; i < 1000; i++) {
    greedy.send(frame(FrameType.headers, Flag.endHeaders, id(i), fat));
    if (greedy.stream.paused) await runtime.turn();
  }
  const taken = 1000 - resetsOf(await greedy.got()).filter(([, code]) => code === ErrorCode.refusedStream).length;
  ok(taken > 200 && taken < 300, `${taken} streams`);
  const modest = new H2Peer(transport, runtime);
  for (let i = 0; i < 100; i++) modest.headers(id(i), grpcFields("/test.Sample/Chat"));
  deepEqual(resetsOf(await modest.got()), []);
});

test("who sends without a pause is read on in the next turn: others are answered between", async () => {
  const { runtime, transport, sample } = sampleServer();
  const busy = new H2Peer(transport, runtime);
  const calls = Array.from({ length: 400 }, (_, i) =>
    Buffer.concat([
      frame(FrameType.headers, Flag.endHeaders, id(i), block(grpcFields("/test.Sample/Echo"))),
      frame(FrameType.data, Flag.endStream, id(i), message("x")),
    ]),
  );
  busy.send(...calls);
  ok(busy.stream.paused, "it is not read on");
  const other = new H2Peer(transport, runtime);
  other.call(1, "/test.Sample/Echo", "y");
  equal(answerTo(1, await other.got()).body, "y");
  const answers = [];
  for (let turns = 0; turns < 10; turns++) {
    const ended = (await busy.got()).filter(({ flags, type }) => type === FrameType.headers && (flags & 1) === 1);
    if (ended.length > 0) answers.push(ended.length);
  }
  ok(answers.length > 1, `${answers.join(", ")} answers a turn`);
  equal(
    answers.reduce((sum, count) => sum + count),
    400,
  );
  equal(busy.stream.paused, false);
  deepEqual(sample.bugs, []);
});
