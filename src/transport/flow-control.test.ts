import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import {
  answerTo,
  block,
  type Frame,
  frame,
  goawayOf,
  grpcFields,
  H2Peer,
  message,
  resetsOf,
  uint32,
  windowSetting,
} from "../../test/transport/h2-peer.ts";
import { bytesMessage, sampleServer } from "../../test/transport/sample-server.ts";
import { ErrorCode, Flag, FrameType } from "./frames.ts";
import { CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES, TURN_BYTES_MAX } from "./limits.ts";

const dataBytes = (frames: readonly Frame[], streamId?: number): number =>
  frames
    .filter((one) => one.type === FrameType.data && (streamId === undefined || one.streamId === streamId))
    .reduce((sum, { payload }) => sum + payload.length, 0);

const windowUpdate = (streamId: number, bytes: number): Buffer =>
  frame(FrameType.windowUpdate, 0, streamId, uint32(bytes));

test("a response stops at the stream's window and goes on when it opens", async () => {
  const { runtime, transport } = sampleServer();
  const peer = new H2Peer(transport, runtime, [windowSetting(10)]);
  peer.call(1, "/test.Sample/Large", "100");
  const first = await peer.got();
  equal(dataBytes(first), 10);
  equal(answerTo(1, first).ended, false);
  peer.send(windowUpdate(1, 90));
  equal(dataBytes(await peer.got()), 90);
  peer.send(windowUpdate(1, 100));
  const last = await peer.got();
  equal(dataBytes(last), 5);
  deepEqual(answerTo(1, last).fields, ["grpc-status: 0"]);
});

test("INITIAL_WINDOW_SIZE moves open streams' windows, also below nothing", async () => {
  const { runtime, transport } = sampleServer();
  const peer = new H2Peer(transport, runtime, [windowSetting(50)]);
  const setting = (bytes: number): Buffer =>
    frame(FrameType.settings, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(bytes)]));
  peer.call(1, "/test.Sample/Large", "200");
  equal(dataBytes(await peer.got()), 50);
  peer.send(setting(20));
  peer.send(windowUpdate(1, 30));
  equal(dataBytes(await peer.got()), 0, "-30 + 30");
  peer.send(windowUpdate(1, 5));
  equal(dataBytes(await peer.got()), 5);
  peer.send(setting(1000));
  equal(dataBytes(await peer.got()), 150);
  peer.send(windowUpdate(1, 0x7fffffff));
  deepEqual(await peer.got(), [], "the stream has ended");
});

test("large responses share the connection's window, a frame each in turn", async () => {
  const { runtime, transport } = sampleServer();
  const peer = new H2Peer(transport, runtime, [windowSetting(1 << 20)]);
  peer.call(1, "/test.Sample/Large", "200000");
  peer.call(3, "/test.Sample/Large", "200000");
  equal(dataBytes(await peer.got()), 65535, "the window of the connection");
  peer.send(windowUpdate(0, 100_000));
  const frames = (await peer.got()).filter(({ type }) => type === FrameType.data);
  equal(dataBytes(frames), 100_000);
  ok(frames.every(({ payload }) => payload.length <= 16384));
  const shares = [dataBytes(frames, 1), dataBytes(frames, 3)];
  ok(Math.abs(shares[0]! - shares[1]!) <= 2 * 16384, `fair shares, not ${shares}`);
  // A small call passes the large ones when it may, and waits for the window when not.
  peer.call(5, "/test.Sample/Echo", "small");
  equal(dataBytes(await peer.got(), 5), 0);
  peer.send(windowUpdate(0, 1 << 20));
  const soon = await peer.got();
  equal(answerTo(5, soon).body, "small");
  const rest = [...soon, ...(await peer.got())];
  ok(answerTo(1, rest).ended && answerTo(3, rest).ended);
});

test("a peer that takes everything at once gets a share in each turn, and others are answered between", async () => {
  const { runtime, transport } = sampleServer();
  const peer = new H2Peer(transport, runtime, [windowSetting(1 << 30)]);
  const other = new H2Peer(transport, runtime);
  peer.send(windowUpdate(0, 1 << 30));
  await peer.got();
  peer.call(1, "/test.Sample/Large", "3000000");
  let frames = await peer.got();
  ok(dataBytes(frames) <= 2 * (TURN_BYTES_MAX + 16384), `${dataBytes(frames)} bytes in two turns`);
  other.call(1, "/test.Sample/Echo", "between");
  equal(answerTo(1, await other.got()).body, "between");
  ok(!answerTo(1, frames).ended);
  for (let turns = 0; turns < 20 && !answerTo(1, frames).ended; turns++) frames = [...frames, ...(await peer.got())];
  ok(answerTo(1, frames).ended);
  ok(dataBytes(frames) > 3_000_000);
});

test("long answers leave whole where there is window, in their order; requests beyond a turn's work wait", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime, [windowSetting(300_000)]);
  peer.send(windowUpdate(0, 1 << 30));
  await peer.got();
  const bytes = 400_000;
  const ids = Array.from({ length: 8 }, (_, n) => 2 * n + 1);
  const requests = ids.flatMap((id) => [
    frame(FrameType.headers, Flag.endHeaders, id, block(grpcFields("/test.Sample/Large"))),
    frame(FrameType.data, Flag.endStream, id, message(String(bytes))),
  ]);
  peer.send(...requests);
  // All came in one piece; each costs a part of a turn.
  ok(sample.calls.length > 1 && sample.calls.length < 8, `${sample.calls.length} calls in the first turn`);
  let frames = await peer.got();
  for (let turns = 0; turns < 20 && dataBytes(frames) < 8 * 300_000; turns++)
    frames = [...frames, ...(await peer.got())];
  equal(dataBytes(frames), 8 * 300_000, "all windows are used");
  for (const id of ids.toReversed()) peer.send(windowUpdate(id, 300_000));
  for (let turns = 0; turns < 20 && dataBytes(frames) < 8 * bytes; turns++) frames = [...frames, ...(await peer.got())];
  for (const id of ids) {
    const { body, ended } = answerTo(id, frames);
    ok(ended);
    equal(body, "x".repeat(bytes));
  }
});

test("windows over 2^31-1, DATA beyond a window, and updates by nothing are errors", async () => {
  const { runtime, transport } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  peer.headers(1, grpcFields("/test.Sample/Chat"));
  peer.send(windowUpdate(1, 0x7fffffff));
  deepEqual(resetsOf(await peer.got()), [[1, ErrorCode.flowControlError]]);
  peer.send(windowUpdate(0, 0x7fffffff));
  equal(goawayOf(await peer.got())!.code, ErrorCode.flowControlError);
  const other = new H2Peer(transport, runtime);
  other.send(windowUpdate(0, 0));
  equal(goawayOf(await other.got())!.code, ErrorCode.protocolError);
});

test("what is received is given back as window, to the stream and to the connection", async () => {
  const { runtime, transport, sample } = sampleServer({ messageBytesMax: 16 << 20 });
  const peer = new H2Peer(transport, runtime);
  await peer.all();
  peer.headers(1, grpcFields("/test.Sample/Echo"));
  const body = Buffer.alloc(12 << 20, "z");
  const whole = message(body);
  let streamWindow = STREAM_WINDOW_BYTES;
  let connectionWindow = CONNECTION_WINDOW_BYTES;
  for (let at = 0; at < whole.length; at += 16384) {
    const part = whole.subarray(at, at + 16384);
    streamWindow -= part.length;
    connectionWindow -= part.length;
    ok(streamWindow >= 0 && connectionWindow >= 0, "a client that keeps to its windows is never held up here");
    peer.data(1, part, at + 16384 >= whole.length);
    for (const { type, streamId, payload } of await peer.all()) {
      if (type !== FrameType.windowUpdate) continue;
      if (streamId === 0) connectionWindow += payload.readUInt32BE(0);
      else streamWindow += payload.readUInt32BE(0);
    }
  }
  equal(sample.calls[0]!.message.length, body.length);
});

test("a paused stream holds its client by the window, loses nothing, and goes on in order", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  peer.headers(1, grpcFields("/test.Sample/Chat"));
  const stream = sample.streams[0]!;
  const seen: number[] = [];
  stream.onMessage = (body) => {
    seen.push(body.readUInt32BE(0));
    if (seen.length % 1000 === 1) stream.pauseMessages();
  };
  stream.onHalfClose = () => stream.end(0);
  let sent = 0;
  let bytes = 0;
  while (bytes + 9000 <= STREAM_WINDOW_BYTES) {
    const parts: Buffer[] = [];
    for (let i = 0; i < 100; i++) parts.push(message(Buffer.concat([uint32(sent++), Buffer.alloc(80)])));
    const part = Buffer.concat(parts);
    bytes += part.length;
    peer.data(1, part, false);
  }
  peer.data(1, Buffer.alloc(0), true);
  equal(seen.length, 1);
  equal((await peer.got()).filter(({ type }) => type === FrameType.windowUpdate).length, 0);
  while (seen.length < sent) {
    const before = seen.length;
    stream.resumeMessages();
    ok(seen.length > before && seen.length <= before + 1000);
  }
  deepEqual(seen, [...seen.keys()]);
  ok(answerTo(1, await peer.got()).ended, "the half-close comes last");
});

test("a client that sends beyond a paused stream's window loses the stream", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  peer.headers(1, grpcFields("/test.Sample/Chat"));
  sample.streams[0]!.pauseMessages();
  for (let sent = 0; sent <= STREAM_WINDOW_BYTES; sent += 16384) peer.data(1, Buffer.alloc(16384), false);
  deepEqual(resetsOf(await peer.got()), [[1, ErrorCode.flowControlError]]);
});

test("paused streams together close the connection's window; it opens when they resume", async () => {
  const { runtime, transport, sample } = sampleServer();
  const fill = async (peer: H2Peer, streams: number): Promise<void> => {
    for (let n = 0; n < streams && !peer.stream.ended; n++) {
      // What one turn has no time for is looked at in the next.
      if (peer.stream.paused) await runtime.turn();
      peer.headers(2 * n + 1, grpcFields("/test.Sample/Chat"));
      sample.streams.at(-1)!.pauseMessages();
      const part = message(Buffer.alloc(16379));
      for (let i = 0; i < 64; i++) peer.data(2 * n + 1, part, false);
    }
  };
  const given = async (peer: H2Peer): Promise<number> =>
    (await peer.all())
      .filter(({ type, streamId }) => type === FrameType.windowUpdate && streamId === 0)
      .reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 0);
  const patient = new H2Peer(transport, runtime);
  await fill(patient, 24);
  const window = 65535 + (await given(patient)) - (24 << 20);
  ok(window >= 0 && window < 8 << 20, "it had just enough for all this");
  equal(patient.stream.ended, false);
  for (const stream of sample.streams) {
    stream.onMessage = () => {};
    stream.resumeMessages();
  }
  ok((await given(patient)) > 0);
  const greedy = new H2Peer(transport, runtime);
  await fill(greedy, 40);
  equal(goawayOf(await greedy.got())?.code, ErrorCode.flowControlError);
  deepEqual(sample.bugs, []);
});

test("send says stop at the stream's bound, and onDrain says go", async () => {
  const { runtime, transport, sample } = sampleServer({ streamQueueBytesMax: 1000 });
  const peer = new H2Peer(transport, runtime, [windowSetting(0)]);
  peer.headers(1, grpcFields("/test.Sample/Chat"));
  const stream = sample.streams[0]!;
  let sent = 0;
  while (stream.send(bytesMessage("x".repeat(95)))) sent++;
  equal(sent, 10);
  equal(stream.queuedBytes, 1100);
  peer.send(windowUpdate(1, 500));
  await peer.got();
  deepEqual(sample.events, []);
  peer.send(windowUpdate(1, 200));
  await peer.got();
  deepEqual(sample.events, ["drain"]);
  peer.headers(3, grpcFields("/test.Sample/Count"));
  peer.data(3, message("5000"));
  const frames = await peer.got();
  let count = 0;
  for (let turn = 0; turn < 1000 && !answerTo(3, frames).ended; turn++) {
    peer.send(windowUpdate(3, 900), windowUpdate(0, 900));
    frames.push(...(await peer.got()));
  }
  const all = Buffer.concat(frames.filter((one) => one.streamId === 3 && one.type === 0).map(({ payload }) => payload));
  for (let at = 0; at < all.length; at += 5 + all.readUInt32BE(at + 1)) {
    equal(all.toString("latin1", at + 5, at + 5 + all.readUInt32BE(at + 1)), `item ${count++}`);
  }
  equal(count, 5000);
});

test("while responses wait beyond the bound, requests wait too; each runs when there is room", async () => {
  const { runtime, transport, sample } = sampleServer({ connectionQueueBytesMax: 100_000 });
  const peer = new H2Peer(transport, runtime, [windowSetting(0)]);
  for (let id = 1; id < 21; id += 2) peer.call(id, "/test.Sample/Large", "30000");
  await peer.got();
  equal(sample.calls.length, 4, "four make 120 KB; the others are parked");
  const got: Frame[] = [];
  peer.send(windowUpdate(0, 1 << 20));
  for (let id = 1; id < 21; id += 2) {
    peer.send(windowUpdate(id, 40_000));
    got.push(...(await peer.got()));
  }
  got.push(...(await peer.got()));
  for (let id = 1; id < 21; id += 2) equal(answerTo(id, got).body.length, 30_000, `stream ${id}`);
  equal(sample.calls.length, 10);
  equal(transport.stats().streams, 0);
});

test("while responses of all connections wait beyond their bound, each connection has a small share", async () => {
  const { runtime, transport, sample } = sampleServer({ queueBytesTotalMax: 500_000 });
  const peers = [1, 2, 3].map(() => new H2Peer(transport, runtime, [windowSetting(0)]));
  const [first, ...others] = peers as [H2Peer, ...H2Peer[]];
  for (const peer of peers) {
    peer.call(1, "/test.Sample/Large", "200000");
    await peer.got();
  }
  equal(sample.calls.length, 3);
  first.call(3, "/test.Sample/Echo", "within a connection's own bound, beyond the share");
  await first.got();
  equal(sample.calls.length, 3);
  for (const peer of others) peer.send(windowUpdate(0, 1 << 20), windowUpdate(1, 1 << 20));
  for (const peer of others) {
    const got: Frame[] = [];
    for (let turn = 0; turn < 3; turn++) got.push(...(await peer.got()));
    equal(answerTo(1, got).body.length, 200_000);
  }
  first.send(windowUpdate(3, 1000));
  equal(answerTo(3, await first.got()).body.length, 49);
  equal(sample.calls.length, 4);
});

test("a parked call that is cancelled or whose time is over does not run", async () => {
  const { runtime, transport, sample } = sampleServer({ connectionQueueBytesMax: 1000 });
  const peer = new H2Peer(transport, runtime, [windowSetting(0)]);
  peer.call(1, "/test.Sample/Large", "2000");
  peer.call(3, "/test.Sample/Echo", "cancelled");
  peer.call(5, "/test.Sample/Echo", "expired", [["grpc-timeout", "10m"]]);
  peer.call(7, "/test.Sample/Echo", "kept");
  peer.send(frame(FrameType.rstStream, 0, 3, uint32(8)));
  await runtime.pass(10);
  equal(answerTo(5, await peer.got()).fields[2], "grpc-status: 4");
  peer.send(windowUpdate(1, 9000), windowUpdate(7, 9000));
  const frames = await peer.got();
  equal(answerTo(7, frames).body, "kept");
  deepEqual(
    sample.calls.map((call) => call.message),
    ["2000", "kept"],
  );
  equal(transport.stats().streams, 0);
});

test("a socket that is behind stops responses, then reading; both go on when it has caught up", async () => {
  const { runtime, transport, sample } = sampleServer({ connectionQueueBytesMax: 200_000 });
  const peer = new H2Peer(transport, runtime, [windowSetting(1 << 30)]);
  peer.send(windowUpdate(0, 1 << 30));
  await peer.got();
  peer.stream.stuck = true;
  for (let id = 1; id < 41; id += 2) peer.call(id, "/test.Sample/Large", "30000");
  await runtime.turn();
  ok(peer.stream.pendingBytes <= 200_000 + 33_000, `${peer.stream.pendingBytes} bytes in the socket`);
  ok(sample.calls.length < 20);
  ok(peer.stream.paused);
  peer.stream.stuck = false;
  const frames: Frame[] = [];
  for (let turn = 0; turn < 20; turn++) frames.push(...(await peer.got()));
  for (let id = 1; id < 41; id += 2) equal(answerTo(id, frames).body.length, 30_000);
  equal(peer.stream.paused, false);
});

test("padding counts in the window, and is not part of the message", async () => {
  const { runtime, transport } = sampleServer();
  const peer = new H2Peer(transport, runtime);
  peer.headers(1, grpcFields("/test.Sample/Echo"));
  const padded = Buffer.concat([Buffer.from([200]), message("padded"), Buffer.alloc(200)]);
  peer.send(frame(FrameType.data, Flag.padded | Flag.endStream, 1, padded));
  equal(answerTo(1, await peer.got()).body, "padded");
});

test("a message that fails to be encoded while others wait ends its stream; nothing of its place is sent", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peer = new H2Peer(transport, runtime, [windowSetting(0)]);
  peer.headers(1, grpcFields("/test.Sample/Chat"));
  await peer.got();
  const [stream] = sample.streams;
  const broken = {
    byteLength: () => 1000,
    encodeInto: (): number => {
      throw new TypeError("a bug");
    },
  };
  stream!.send(bytesMessage("first"));
  stream!.onMessage = () => stream!.send(broken);
  peer.send(frame(FrameType.data, 0, 1, message("go")));
  peer.send(windowUpdate(1, 5000));
  const frames = await peer.got();
  equal(dataBytes(frames), 0);
  deepEqual(answerTo(1, frames).fields.slice(-2), ["grpc-status: 13", "grpc-message: internal error"]);
  equal(sample.bugs.length, 1);
});
