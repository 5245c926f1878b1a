/**
 * Throws valid, mutated and random bytes at a transport, cut at random: `t4-node src/transport/transport.fuzz.ts
 * [seconds] [seed]`. A round is a function of its seed. It fails when something is thrown, a bug is told, output grows
 * past its bound, or anything is left over after the connection has gone.
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { block, frame, grpcFields, message, uint32 } from "../../test/transport/h2-peer.ts";
import { MemoryStream } from "../../test/transport/memory-stream.ts";
import { bytesMessage, sampleServer } from "../../test/transport/sample-server.ts";
import type { TransportContext } from "./context.ts";
import { Flag, FrameType, PREFACE } from "./frames.ts";

/** A small generator of its own (mulberry32), so that a seed means the same everywhere. */
export class Dice {
  private state: number;

  constructor(seed: number) {
    this.state = seed | 0;
  }

  below(bound: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * bound);
  }

  one<T>(of: readonly T[]): T {
    return of[this.below(of.length)]!;
  }

  bytes(count: number): Buffer {
    return Buffer.from(Array.from({ length: count }, () => this.below(256)));
  }
}

const paths = ["Echo", "Later", "Wait", "Large", "Chat", "Count", "Metadata", "Fail", "Nope"];

/** What a sane client sends; the rest of the cases ends most connections soon. */
const saneCases = [0, 0, 0, 0, 6, 7, 8, 9, 10, 11, 13, 13];

/** Bytes that a client, sane or not, could send on HTTP/2, `streamId` being its next stream. */
function h2Bytes(dice: Dice, streamId: number, sane: boolean): Buffer {
  const some = (): number => Math.max(1, streamId - 2 - 2 * dice.below(6));
  switch (streamId === 1 ? 0 : sane ? dice.one(saneCases) : dice.below(16)) {
    case 0:
    case 1:
    case 2:
    case 3: {
      const method = dice.one(paths);
      const more: [string, string][] = dice.below(4) === 0 ? [["grpc-timeout", `${dice.below(30)}m`]] : [];
      if (dice.below(8) === 0) more.push(["grpc-encoding", dice.one(["gzip", "identity", "br"])]);
      const headers = frame(
        FrameType.headers,
        Flag.endHeaders,
        streamId,
        block(grpcFields(`/test.Sample/${method}`, more)),
      );
      if (dice.below(5) === 0) return headers;
      const body = dice.one(["", "x", "1000", "70000", "token", "7:no", "y".repeat(dice.below(3000))]);
      const data = message(body, dice.below(20) === 0 ? 1 : 0);
      return Buffer.concat([headers, frame(FrameType.data, dice.below(3) === 0 ? 0 : Flag.endStream, streamId, data)]);
    }
    case 4:
      return frame(FrameType.data, dice.below(16), some(), dice.bytes(dice.below(60)));
    case 5:
      return frame(FrameType.headers, Flag.endHeaders | dice.below(2), some(), dice.bytes(dice.below(60)));
    case 6: {
      const whole = block(grpcFields("/test.Sample/Echo"));
      const cut = dice.below(whole.length);
      const parts = [frame(FrameType.headers, dice.below(2), streamId, whole.subarray(0, cut))];
      return Buffer.concat([...parts, frame(FrameType.continuation, Flag.endHeaders, streamId, whole.subarray(cut))]);
    }
    case 7:
      return frame(FrameType.rstStream, 0, some(), uint32(dice.below(14)));
    case 8:
      return frame(
        FrameType.windowUpdate,
        0,
        dice.below(2) * some(),
        uint32(1 + dice.below(1 << dice.below(sane ? 20 : 30))),
      );
    case 9: {
      const setting = Buffer.concat([
        Buffer.from([0, sane ? dice.one([1, 4]) : 1 + dice.below(7)]),
        uint32(dice.one([0, 1, 100, 16384, 65535, 1 << 30])),
      ]);
      return frame(FrameType.settings, !sane && dice.below(8) === 0 ? 1 : 0, 0, setting);
    }
    case 10:
      return frame(FrameType.ping, dice.below(2), 0, dice.bytes(8));
    case 11:
      return frame(FrameType.priority, 0, some(), Buffer.from([0, 0, 0, 0, dice.below(256)]));
    case 12:
      return frame(dice.below(12), dice.below(256), dice.below(2) * some(), dice.bytes(dice.below(30)));
    default:
      return frame(
        FrameType.data,
        dice.below(4) === 0 ? Flag.endStream : 0,
        some(),
        message(dice.bytes(dice.below(200))),
      );
  }
}

const http1Parts = [
  "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
  "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
  "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
  "Content-Length: 3\r\n",
  "\r\n",
  "ffffffff\r\n",
  " ",
  "\0",
];

/** One connection's life. */
export async function fuzzRound(seed: number): Promise<{ refused: string[]; calls: number }> {
  const dice = new Dice(seed);
  const { runtime, sample, transport } = sampleServer({
    messageBytesMax: 50_000,
    concurrentStreamsMax: 20,
    keepaliveMinMs: dice.below(2),
    streamQueueBytesMax: 2_000,
    connectionQueueBytesMax: 100_000,
  });
  const stream = new MemoryStream();
  transport.accept(stream);
  const h2 = dice.below(5) > 0;
  let input: Buffer = h2 ? Buffer.concat([PREFACE, frame(FrameType.settings, 0, 0)]) : Buffer.alloc(0);
  let streamId = 1;
  const sane = dice.below(2) === 0;
  const mutates = !sane && dice.below(2) === 0;
  for (let step = 0; step < 80 && !stream.destroyed; step++) {
    const next = h2 ? h2Bytes(dice, streamId, sane) : Buffer.from(dice.one(http1Parts), "latin1");
    if (next[3] === FrameType.headers) streamId += 2;
    if (mutates && dice.below(10) === 0 && next.length > 0) next[dice.below(next.length)] = dice.below(256);
    input = Buffer.concat([input, next]);
    const cut = dice.below(3) === 0 ? dice.below(input.length + 1) : input.length;
    // The server may keep what it is given: a copy, as a socket would give.
    if (cut > 0 && !stream.paused) {
      stream.onData(Buffer.from(input.subarray(0, cut)));
      input = input.subarray(cut);
    }
    if (dice.below(4) === 0) stream.stuck = dice.below(3) === 0;
    if (dice.below(3) === 0) {
      await runtime.turn();
      stream.settle();
    }
    if (dice.below(10) === 0) await runtime.pass(dice.below(40));
    if (dice.below(5) === 0) sample.waiting.pop()?.resolve(bytesMessage(dice.bytes(dice.below(100))));
    const handed = dice.one([undefined, ...sample.streams.slice(-3)]);
    if (handed !== undefined) {
      if (dice.below(2) === 0) handed.pauseMessages();
      else handed.resumeMessages();
    }
    ok(stream.pendingBytes < 1 << 20, "output is bounded");
  }
  if (dice.below(4) === 0) void transport.drain(1000);
  if (dice.below(3) === 0) await runtime.pass(90_000);
  stream.onClose();
  for (const { reject } of sample.waiting) reject(new Error("over"));
  await runtime.turn();
  await runtime.pass(5_000);
  deepEqual(sample.bugs, []);
  const { connections, streams } = transport.stats();
  equal(connections, 0);
  equal(streams, 0);
  equal(runtime.timerCount, 0);
  equal((Reflect.get(transport, "context") as TransportContext).assembly.bytes, 0);
  return { refused: [...transport.stats().refused.keys()], calls: sample.calls.length };
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const untilMs = performance.now() + 1000 * Number(process.argv[2] ?? 10);
  let seed = Number(process.argv[3] ?? 1);
  const ends = new Map<string, number>();
  let calls = 0;
  for (; performance.now() < untilMs; seed++) {
    const round = await fuzzRound(seed).catch((error: unknown) => {
      console.error(`seed ${seed}`);
      throw error;
    });
    calls += round.calls;
    for (const reason of round.refused) ends.set(reason, (ends.get(reason) ?? 0) + 1);
  }
  console.log(`${calls} calls; connections ended by`, Object.fromEntries(ends));
  console.log(`no failure up to seed ${seed - 1}`);
}
