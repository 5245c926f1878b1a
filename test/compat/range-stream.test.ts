import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type RangeRequest_SortOrder as Order,
  RangeRequestSchema,
  type RangeResponse,
  RangeResponseSchema,
  RangeStreamResponseSchema,
  type RangeRequest_SortTarget as Target,
} from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { EtcdClient } from "./client.ts";
import { RpcFailure } from "./endpoint.ts";
import { etcd37Program, type ServerProcess, startEtcd } from "./etcd-process.ts";
import { serverIsMissing, startServer } from "./server-runner.ts";
import { SocketEndpoint } from "./socket-endpoint.ts";
import { Transcript } from "./transcript.ts";

type Request = MessageInitShape<typeof RangeRequestSchema>;

/** RangeStream and large unary ranges, on our server and on etcd 3.7, which RangeStream came with (RS1 to RS10). */
const servers = [
  { name: "t4", missing: serverIsMissing(), start: () => startServer() },
  {
    name: "etcd 3.7",
    missing: existsSync(etcd37Program) ? false : `no etcd at ${etcd37Program}: test/peers/build.sh etcd37 builds it`,
    start: () => startEtcd({ program: etcd37Program }),
  },
];

const KEYS = 3000;
const LARGE_BYTES = 10_000;
const utf8 = new TextEncoder();
const all = { key: utf8.encode("k"), rangeEnd: utf8.encode("l") };

/** Of a process, as the kernel counts it. */
async function residentBytes(pid: number): Promise<number> {
  const [, kilobytes] = /VmRSS:\s+(\d+) kB/.exec(await readFile(`/proc/${pid}/status`, "utf8"))!;
  return Number(kilobytes) * 1024;
}

for (const { name, missing, start } of servers) {
  describe(`RangeStream of ${name}`, { skip: missing }, () => {
    let server: ServerProcess;
    let endpoint: SocketEndpoint;
    let client: EtcdClient;

    before(async () => {
      server = await start();
      endpoint = new SocketEndpoint(server.address);
      client = new EtcdClient(endpoint, new Transcript());
      const value = (i: number): string => (i % 10 === 0 ? "v".repeat(LARGE_BYTES) : `value ${i}`);
      for (let i = 0; i < KEYS; i += 100)
        await Promise.all(Array.from({ length: 100 }, (_, j) => client.put(`k${i + j}`, value(i + j))));
    });

    after(async () => {
      await endpoint.close();
      await server.stop();
    });

    async function stream(request: Request): Promise<RangeResponse[]> {
      const call = endpoint.stream("/etcdserverpb.KV/RangeStream");
      call.send(toBinary(RangeRequestSchema, create(RangeRequestSchema, request)));
      call.halfClose();
      const chunks: RangeResponse[] = [];
      for (let bytes = await call.next(); bytes !== null; bytes = await call.next()) {
        chunks.push(fromBinary(RangeStreamResponseSchema, bytes).rangeResponse!);
      }
      return chunks;
    }

    async function unary(request: Request): Promise<RangeResponse> {
      const message = toBinary(RangeRequestSchema, create(RangeRequestSchema, request));
      return fromBinary(RangeResponseSchema, await endpoint.unary("/etcdserverpb.KV/Range", message));
    }

    const refused = (request: Request, code: number, text: string) =>
      rejects(stream(request), (error) => error instanceof RpcFailure && error.code === code && error.text === text);

    test("RS1 RS2 RS3 Q7 what it refuses", async () => {
      await refused({}, 3, "etcdserver: key is not provided");
      await refused({ ...all, sortOrder: 3 as Order }, 3, "etcdserver: invalid sort option");
      await refused({ ...all, revision: 2n ** 40n }, 11, "etcdserver: mvcc: required revision is a future revision");
      const custom = "RangeStream does not support custom sort orders";
      await refused({ ...all, sortOrder: 2 as Order }, 12, custom);
      await refused({ ...all, sortOrder: 1 as Order, sortTarget: 1 as Target }, 12, custom);
      const filters = "RangeStream does not support revision filters";
      for (const filter of ["minModRevision", "maxModRevision", "minCreateRevision", "maxCreateRevision"]) {
        await refused({ ...all, [filter]: 5n }, 12, filters);
      }
      // With no order any target goes, and the rows come by key.
      equal((await stream({ ...all, sortTarget: 3 as Target, limit: 20n })).flatMap(({ kvs }) => kvs).length, 20);
    });

    test("RS5 KA3 chunks put together are the range; the last one alone tells of header, more and count", async () => {
      for (const more of [
        {},
        { limit: 7n },
        { limit: 1234n },
        { limit: BigInt(KEYS) },
        { keysOnly: true },
        { sortOrder: 1 as Order },
        { revision: 1000n },
        { revision: 1000n, limit: 500n },
      ]) {
        const chunks = await stream({ ...all, ...more });
        const last = chunks.at(-1)!;
        for (const chunk of chunks.slice(0, -1)) {
          ok(chunk.kvs.length > 0);
          deepEqual([chunk.header, chunk.more, chunk.count], [undefined, false, 0n]);
        }
        const whole = await unary({ ...all, ...more });
        deepEqual(
          chunks.flatMap(({ kvs }) => kvs),
          whole.kvs,
        );
        deepEqual([last.header, last.more, last.count], [whole.header, whole.more, whole.count]);
      }
      ok((await stream(all)).length > 5);
    });

    test("RS6 RS7 a count, nothing and one key are one message", async () => {
      for (const request of [{ ...all, countOnly: true }, { key: utf8.encode("zz") }, { key: utf8.encode("k5") }]) {
        const chunks = await stream(request);
        equal(chunks.length, 1);
        deepEqual(chunks[0], await unary(request));
      }
    });

    test("RS4 a compaction past its revision ends it", async () => {
      const call = endpoint.stream("/etcdserverpb.KV/RangeStream");
      call.send(toBinary(RangeRequestSchema, create(RangeRequestSchema, { ...all, revision: 100n })));
      call.halfClose();
      // So few chunks may all have left before: then the stream is whole.
      await call.next();
      await client.compact(200);
      await call.next().catch((error: unknown) => {
        equal((error as RpcFailure).text, "etcdserver: mvcc: required revision has been compacted");
      });
      call.cancel();
      await refused({ ...all, revision: 100n }, 11, "etcdserver: mvcc: required revision has been compacted");
    });

    test("RS10 streams that nobody reads cost little, and end with who leaves", async () => {
      const STREAMS = 40;
      // What etcd takes is its own affair: it fills each stream's window, too, and its collector comes when it likes.
      const growthBytesMax = name === "t4" ? 80 << 20 : Number.POSITIVE_INFINITY;
      const before = await residentBytes(server.pid);
      const calls = Array.from({ length: STREAMS }, () => {
        // A connection each, so that each has a window of its own.
        const own = new SocketEndpoint(server.address);
        const call = own.stream("/etcdserverpb.KV/RangeStream");
        call.send(toBinary(RangeRequestSchema, create(RangeRequestSchema, all)));
        call.halfClose();
        return { own, call };
      });
      await Promise.all(calls.map(({ call }) => call.next()));
      const after = await residentBytes(server.pid);
      // All that they would send is 130 MB.
      ok(after - before < growthBytesMax, `${(after - before) >> 20} MiB more`);
      for (const { call, own } of calls) {
        call.cancel();
        await own.close();
      }
      equal((await unary({ ...all, countOnly: true })).count, BigInt(KEYS));
    });

    test("a large unary range, again and again at once, is each time the same", async () => {
      const first = await unary(all);
      equal(first.kvs.length, KEYS);
      equal(first.count, BigInt(KEYS));
      const others = await Promise.all(Array.from({ length: 12 }, () => unary(all)));
      for (const other of others) deepEqual(other, first);
    });
  });
}
