import { parentPort, workerData } from "node:worker_threads";
import { create, toBinary } from "@bufbuild/protobuf";
import { RangeRequestSchema } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { Flag, FrameType, Setting } from "../../src/transport/frames.ts";
import { block, frame, grpcFields, uint32 } from "../transport/h2-peer.ts";
import { RawClient } from "./raw-client.ts";

/**
 * Many connections, on a thread of their own, each of which asks for as much as one may, by turns in five ways. They
 * go on for as long as the thread lives, and begin anew where they are cut off.
 */
const { address, connections } = workerData as { address: string; connections: number };
const range = toBinary(
  RangeRequestSchema,
  create(RangeRequestSchema, { key: Buffer.from([0]), rangeEnd: Buffer.from([0]) }),
);
/** So many requests are written at a time. */
const BURST = 40;

interface Way {
  readonly speaksH2: boolean;
  readonly bytes: (client: RawClient, firstStream: number) => Buffer;
}

const many = (firstStream: number, one: (streamId: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: BURST }, (_, i) => one(firstStream + 2 * i)));
const RANGE = "/etcdserverpb.KV/Range";
const WATCH = "/etcdserverpb.Watch/Watch";
const ENDS = Flag.endHeaders | Flag.endStream;
const takesAll = [[Setting.initialWindowSize, 0x7fffffff]] as const;
const allOfConnection = frame(FrameType.windowUpdate, 0, 0, uint32(0x7f000000));
const largeFields = block(
  grpcFields(
    RANGE,
    Array.from({ length: 300 }, (_, i) => [`x-${i}`, "y".repeat(30)]),
  ),
);
const pipelined = Buffer.from("GET /version HTTP/1.1\r\nhost: h\r\n\r\n".repeat(10 * BURST));
const metrics = Buffer.from("GET /metrics HTTP/1.1\r\nhost: h\r\n\r\n".repeat(4));
const tiny = Buffer.concat(Array.from({ length: 1500 }, () => frame(FrameType.data, 0, 1, Buffer.from([0]))));

const ways: readonly Way[] = [
  {
    speaksH2: true,
    bytes: (client, first) =>
      many(first, (id) => Buffer.concat([client.headers(id, RANGE), client.data(id, range, true)])),
  },
  { speaksH2: true, bytes: (_, first) => many(first, (id) => frame(FrameType.headers, ENDS, id, largeFields)) },
  {
    speaksH2: true,
    bytes: (client, first) => (first === 1 ? Buffer.concat([client.headers(1, WATCH), tiny]) : tiny),
  },
  { speaksH2: false, bytes: () => pipelined },
  { speaksH2: false, bytes: () => metrics },
];

/** The socket has taken what was written, or is gone. */
const taken = ({ socket }: RawClient): Promise<void> =>
  new Promise((resolve) => {
    if (socket.destroyed || !socket.writableNeedDrain) setImmediate(resolve);
    else {
      const done = (): void => {
        socket.off("drain", done).off("close", done);
        resolve();
      };
      socket.on("drain", done).on("close", done);
    }
  });

async function besiege(number: number): Promise<void> {
  const way = ways[number % ways.length]!;
  for (;;) {
    const client = await (way.speaksH2 ? RawClient.openH2(address, takesAll) : RawClient.open(address));
    if (way.speaksH2) client.write(allOfConnection);
    for (let stream = 1; !client.closed; stream += 2 * BURST) {
      client.write(way.bytes(client, stream));
      await taken(client);
    }
  }
}

const all = Array.from({ length: connections }, (_, number) => besiege(number).catch(() => {}));
setTimeout(() => parentPort!.postMessage("begun"), 3000);
await Promise.all(all);
