import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { frame, grpcFields, H2Peer, resetsOf, uint32, windowSetting } from "../../test/transport/h2-peer.ts";
import { bytesMessage, sampleServer } from "../../test/transport/sample-server.ts";
import { ErrorCode, FrameType } from "./frames.ts";
import { ROOM_WAITERS_PER_TURN, STALL_TIMEOUT_MS } from "./limits.ts";
import type { GrpcStream } from "./transport.ts";

const windowUpdate = (streamId: number, bytes: number): Buffer =>
  frame(FrameType.windowUpdate, 0, streamId, uint32(bytes));
const large = bytesMessage("x".repeat(8000));

/** A client that takes nothing, with so many streams open, and which of them were told to go on. */
async function streamsOf(sampled: ReturnType<typeof sampleServer>, count: number) {
  const { runtime, transport, sample } = sampled;
  const peer = new H2Peer(transport, runtime, [windowSetting(0)]);
  const before = sample.streams.length;
  for (let n = 0; n < count; n++) peer.headers(2 * n + 1, grpcFields("/test.Sample/Chat"));
  await peer.got();
  const streams = sample.streams.slice(before);
  const told: number[] = [];
  for (const [n, stream] of streams.entries()) stream.onDrain = () => void told.push(n);
  /** As a watcher does. */
  const offer = (n: number): boolean => {
    const stream = streams[n] as GrpcStream;
    if (!stream.hasRoom(8000)) return false;
    stream.send(large);
    return true;
  };
  return { peer, streams, told, offer };
}

test("streams that take nothing hold no more than their connection may; each is told when there is room", async () => {
  const sampled = sampleServer({ connectionQueueBytesMax: 10_000 });
  const count = 3 * ROOM_WAITERS_PER_TURN;
  const { peer, streams, told, offer } = await streamsOf(sampled, count);
  deepEqual([offer(0), offer(1)], [true, true]);
  for (let n = 2; n < count; n++) equal(offer(n), false);
  equal(
    streams.reduce((sum, { queuedBytes }) => sum + queuedBytes, 0),
    2 * 8005,
  );
  peer.send(windowUpdate(0, 1 << 20));
  await peer.got();
  deepEqual(told, []);
  peer.send(windowUpdate(1, 9000));
  for (let turn = 0; turn < 5; turn++) await peer.got();
  equal(told.length, count - 2, "each of those that waited, over several turns");
  equal(new Set(told).size, told.length);
});

test("who can take all of its message need not wait for others of its connection, up to twice the bound", async () => {
  const { peer, told, offer } = await streamsOf(sampleServer({ connectionQueueBytesMax: 10_000 }), 5);
  deepEqual([offer(0), offer(1), offer(2)], [true, true, false]);
  peer.send(windowUpdate(0, 1 << 20), windowUpdate(5, 100));
  await peer.got();
  deepEqual(told, [], "a window for a part of it is none");
  peer.send(windowUpdate(5, 8000));
  await peer.got();
  deepEqual(told, [2]);
  ok(offer(2));
  ok((await peer.got()).some(({ streamId, payload }) => streamId === 5 && payload.length === 8005));
});

test("while all connections hold twice their bound nothing is made, until who takes nothing is cut off", async () => {
  const sampled = sampleServer({ queueBytesTotalMax: 10_000 });
  const [honest, hostile] = [await streamsOf(sampled, 2), await streamsOf(sampled, 4)];
  deepEqual([0, 1, 2, 3].map(hostile.offer), [true, true, true, false]);
  equal(honest.offer(0), false, "although its connection holds nothing");
  await sampled.runtime.turn();
  ok(hostile.peer.stream.destroyed && !honest.peer.stream.destroyed);
  equal(sampled.transport.stats().refused.get("slow_reader"), 1);
  await sampled.runtime.pass(1000);
  deepEqual(honest.told, [0]);
  ok(honest.offer(0));
});

test("while all connections hold more than their bound, streams stalled for a minute are cut off", async () => {
  const sampled = sampleServer({ queueBytesTotalMax: 10_000 });
  const hostile = await streamsOf(sampled, 2);
  deepEqual([0, 1].map(hostile.offer), [true, true]);
  const resets: [number, number][] = [];
  // It reads what it is sent: it has no windows, that is all.
  for (let ms = 0; ms < STALL_TIMEOUT_MS + 10_000; ms += 5_000) {
    await sampled.runtime.pass(5_000);
    resets.push(...resetsOf(await hostile.peer.got()));
  }
  deepEqual(resets, [[1, ErrorCode.cancel]], "with that there is room");
});

test("a stream that ends while it waits is not told, and asks for nothing", async () => {
  const { peer, streams, told, offer } = await streamsOf(sampleServer({ connectionQueueBytesMax: 10_000 }), 4);
  deepEqual([0, 1, 2, 3].map(offer), [true, true, false, false]);
  peer.send(frame(FrameType.rstStream, 0, 5, uint32(ErrorCode.cancel)));
  streams[3]!.end(0);
  peer.send(windowUpdate(0, 1 << 20), windowUpdate(1, 9000));
  for (let turn = 0; turn < 3; turn++) await peer.got();
  deepEqual(told, []);
  equal(streams[2]!.hasRoom(1 << 30), true);
});
