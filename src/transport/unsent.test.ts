import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { answerTo, frame, H2Peer, uint32, windowSetting } from "../../test/transport/h2-peer.ts";
import { MemoryStream } from "../../test/transport/memory-stream.ts";
import { sampleServer } from "../../test/transport/sample-server.ts";
import { FrameType } from "./frames.ts";
import { QUEUED_BYTES_SHARE, UNSENT_SLOW_MS } from "./limits.ts";
import { slowestReaders } from "./unsent.ts";

const windowUpdate = (streamId: number, bytes: number): Buffer =>
  frame(FrameType.windowUpdate, 0, streamId, uint32(bytes));

/** Gives a peer all the window there is. */
async function taking(sampled: ReturnType<typeof sampleServer>): Promise<H2Peer> {
  const peer = new H2Peer(sampled.transport, sampled.runtime, [windowSetting(1 << 30)]);
  peer.send(windowUpdate(0, 1 << 30));
  await peer.got();
  return peer;
}

/** A peer that holds an answer of so many bytes in the server's queues. */
async function holding(sampled: ReturnType<typeof sampleServer>, bytes: number): Promise<H2Peer> {
  const peer = new H2Peer(sampled.transport, sampled.runtime, [windowSetting(0)]);
  peer.call(1, "/test.Sample/Large", String(bytes));
  await peer.got();
  return peer;
}

test("what lies in sockets counts: past the bound of all, each socket is given its share alone", async () => {
  const sampled = sampleServer({ queueBytesTotalMax: 500_000 });
  const [first, second] = [await taking(sampled), await taking(sampled)];
  for (const peer of [first, second]) {
    peer.stream.stuck = true;
    for (let id = 1; id < 41; id += 2) peer.call(id, "/test.Sample/Large", "100000");
    await sampled.runtime.turn();
  }
  ok(first.stream.pendingBytes > 500_000, `${first.stream.pendingBytes} bytes in the first socket`);
  const share = QUEUED_BYTES_SHARE + 100_000;
  ok(second.stream.pendingBytes < share, `${second.stream.pendingBytes} bytes in the second socket`);
  for (const peer of [first, second]) {
    peer.stream.stuck = false;
    const frames = [];
    for (let turn = 0; turn < 60; turn++) frames.push(...(await peer.got()));
    for (let id = 1; id < 41; id += 2) equal(answerTo(id, frames).body.length, 100_000, `stream ${id}`);
  }
});

test("answers that are not read, of HTTP/1.1: past the bound of all, each connection has its share", async () => {
  const sampled = sampleServer({ queueBytesTotalMax: 500_000 });
  const hog = await taking(sampled);
  hog.stream.stuck = true;
  for (let id = 1; id < 41; id += 2) hog.call(id, "/test.Sample/Large", "100000");
  await sampled.runtime.turn();
  const stream = new MemoryStream();
  stream.stuck = true;
  sampled.transport.accept(stream);
  const request = `GET /${"x".repeat(4000)} HTTP/1.1\r\nhost: h\r\n\r\n`;
  for (let n = 0; n < 3000; n++) stream.onData(Buffer.from(request));
  await sampled.runtime.turn();
  ok(stream.pendingBytes > QUEUED_BYTES_SHARE / 2, `${stream.pendingBytes} bytes`);
  ok(stream.pendingBytes < QUEUED_BYTES_SHARE + 10_000, `${stream.pendingBytes} bytes`);
});

test("at twice the bound whoever takes nothing is cut off, and only as many as it takes", async () => {
  const sampled = sampleServer({ queueBytesTotalMax: 500_000 });
  const { runtime, transport } = sampled;
  const slow: H2Peer[] = [];
  for (let n = 0; n < 4; n++) slow.push(await holding(sampled, 200_000));
  await runtime.pass(UNSENT_SLOW_MS);
  // One that takes what it is given, though it waits for more.
  const reader = await holding(sampled, 190_000);
  reader.send(windowUpdate(1, 1000));
  await reader.got();
  deepEqual(transport.stats().refused.get("slow_reader"), undefined);
  const last = await holding(sampled, 200_000);
  await runtime.turn();
  deepEqual(
    slow.map(({ stream }) => stream.destroyed),
    [true, true, true, false],
  );
  equal(transport.stats().refused.get("slow_reader"), 3);
  ok(!reader.stream.destroyed && !last.stream.destroyed);
  reader.send(windowUpdate(1, 1 << 20), windowUpdate(0, 1 << 20));
  const frames = await reader.got();
  for (let turn = 0; turn < 5; turn++) frames.push(...(await reader.got()));
  ok(frames.some(({ fields }) => fields.includes("grpc-status: 0")));
  for (const { stream } of slow) if (stream.destroyed) stream.onClose();
  equal(transport.stats().connections, 3);
});

test("who has taken nothing lately goes first, of them who holds most, then of the others", () => {
  const of = (name: string, unsentBytes: number, takenMs: number) => ({ name, unsentBytes, takenMs, destroy() {} });
  const holders = [of("a", 5, 9500), of("b", 90, 9900), of("c", 0, 0), of("d", 10, 100), of("e", 20, 9000)];
  const named = (bytes: number) => slowestReaders(holders, bytes, 10_000).map(({ name }) => name);
  deepEqual(named(0), []);
  deepEqual(named(1), ["e"]);
  deepEqual(named(21), ["e", "d"]);
  deepEqual(named(31), ["e", "d", "b"]);
  deepEqual(named(1000), ["e", "d", "b", "a"]);
});
