import { equal, ok } from "node:assert/strict";
import { connect } from "node:http2";
import { test } from "node:test";
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  LeaseGrantRequestSchema,
  PutRequestSchema,
  RangeRequestSchema,
  WatchRequestSchema,
} from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { bytes, EtcdClient, text } from "../compat/client.ts";
import type { ServerProcess } from "../compat/etcd-process.ts";
import { startServer } from "../compat/server-runner.ts";
import { SocketEndpoint } from "../compat/socket-endpoint.ts";
import { eventually, sleep } from "../compat/story.ts";
import { Transcript } from "../compat/transcript.ts";
import { type Flooded, flood, residentBytes } from "./flood.ts";

/**
 * Floods from many connections: callers are told "too many requests" or wait, memory stays within a bound that does
 * not depend on how many ask, and afterwards all is as it was. T4_FLOOD_SECONDS makes them last longer.
 */
const SECONDS = Number(process.env["T4_FLOOD_SECONDS"] ?? 4);
const TOO_MANY = "2 etcdserver: too many requests";
const MiB = 1 << 20;

const encode = <D extends DescMessage>(schema: D, init: MessageInitShape<D>): Uint8Array =>
  toBinary(schema, create(schema, init));

async function using(flags: string[], body: (server: ServerProcess, client: EtcdClient) => Promise<void>) {
  const server = await startServer(flags);
  const endpoint = new SocketEndpoint(server.address);
  try {
    await body(server, new EtcdClient(endpoint, new Transcript()));
  } finally {
    await endpoint.close();
    await server.stop();
  }
}

function show(name: string, { calls, ends, residentBytes, residentBytesMax }: Flooded): void {
  const told = [...ends].map(([end, count]) => `${end}: ${count}`).join(", ");
  console.log(
    `${name}: ${calls} calls in ${SECONDS} s (${told}); ${mib(residentBytes)} to ${mib(residentBytesMax)} MiB`,
  );
}
const mib = (count: number): number => Math.round(count / MiB);

function within(flooded: Flooded, growthMiB: number): void {
  const growth = mib(flooded.residentBytesMax - flooded.residentBytes);
  ok(growth < growthMiB, `${growth} MiB more, may be ${growthMiB}`);
}

/** Nothing but these ends. */
function onlyEnds(flooded: Flooded, ...allowed: string[]): void {
  const others = [...flooded.ends.keys()].filter((end) => !allowed.includes(end));
  equal(others.join("; "), "");
}

test(
  "B1.4 E26 a flood of puts while durability is slow: so many are taken, the others are told, none is lost",
  {
    timeout: 120_000,
  },
  () =>
    using(["--durability", "object", "--put-interval-min", "1s", "--calls-max", "1000"], async (server, client) => {
      const message = (n: number) => encode(PutRequestSchema, { key: bytes(`k${n}`), value: bytes("v".repeat(1000)) });
      const load = { connections: 30, outstanding: 100, seconds: SECONDS };
      const flooded = await flood({ ...server, path: "/etcdserverpb.KV/Put", message, ...load });
      show("puts", flooded);
      onlyEnds(flooded, "0", TOO_MANY);
      ok(flooded.ends.get(TOO_MANY)! > 0 && flooded.ends.get("0")! > 0);
      within(flooded, 250);
      const { count, header } = await client.range("\0", { end: "\0", countOnly: true });
      equal(count, BigInt(flooded.ends.get("0")!), "what was acknowledged is there, what was refused is not");
      equal(header!.revision, count + 1n);
    }),
);

test("B1.4 a flood of large puts is bounded by their bytes", { timeout: 120_000 }, () =>
  using(["--durability", "object", "--put-interval-min", "500ms", "--calls-bytes-max", "16MiB"], async (server) => {
    const value = bytes("v".repeat(MiB));
    const message = (n: number) => encode(PutRequestSchema, { key: bytes(`k${n % 10}`), value });
    const load = { connections: 20, outstanding: 5, seconds: SECONDS };
    const flooded = await flood({ ...server, path: "/etcdserverpb.KV/Put", message, ...load });
    show("large puts", flooded);
    // On a slow disk so much may take longer than a call's time.
    onlyEnds(flooded, "0", TOO_MANY, "14 etcdserver: request timed out");
    ok(flooded.ends.get(TOO_MANY)! > 0);
    within(flooded, 500);
  }),
);

test("B1.4 a flood of large ranges: each is whole or refused, built in pieces", { timeout: 120_000 }, () =>
  using([], async (server, client) => {
    const value = "v".repeat(100_000);
    for (let n = 0; n < 40; n++) await client.transcript.silently(() => client.put(`k${n}`, value));
    const message = () => encode(RangeRequestSchema, { key: bytes("k"), rangeEnd: bytes("l") });
    const load = { connections: 20, outstanding: 10, seconds: SECONDS };
    const flooded = await flood({ ...server, path: "/etcdserverpb.KV/Range", message, ...load });
    show("ranges of 4 MB", flooded);
    onlyEnds(flooded, "0", TOO_MANY);
    within(flooded, 450);
  }),
);

test("B1.4 a flood of lease grants", { timeout: 120_000 }, () =>
  using(["--durability", "object", "--put-interval-min", "1s", "--calls-max", "1000"], async (server, client) => {
    const message = () => encode(LeaseGrantRequestSchema, { TTL: 1000n });
    const load = { connections: 30, outstanding: 100, seconds: SECONDS };
    const flooded = await flood({ ...server, path: "/etcdserverpb.Lease/LeaseGrant", message, ...load });
    show("lease grants", flooded);
    onlyEnds(flooded, "0", TOO_MANY);
    within(flooded, 250);
    ok((await client.grant(10)).ID > 0n);
  }),
);

test(
  "B1.4 a flood of watches: as many as may be, the others are told; who does not read costs nothing more",
  {
    timeout: 120_000,
  },
  () =>
    using(["--watchers-max", "5000"], async (server, client) => {
      const before = await residentBytes(server.pid);
      const session = connect(`http://${server.address}`);
      session.on("error", () => {});
      const streams = Array.from({ length: 50 }, () => watchStream(session));
      const creating = encode(WatchRequestSchema, {
        requestUnion: { case: "createRequest", value: { key: bytes("a"), rangeEnd: bytes("b") } },
      });
      // Nobody reads what these are answered.
      for (let n = 0; n < 400; n++) for (const stream of streams) stream.send(creating);
      await sleep(1000);
      for (let n = 0; n < 50; n++) await client.transcript.silently(() => client.put(`a${n}`, "v".repeat(10_000)));
      const growth = mib((await residentBytes(server.pid)) - before);
      console.log(`50 streams of 400 watchers asked for, 50 puts of 10 kB: ${growth} MiB more`);
      ok(growth < 250, `${growth} MiB more`);
      const watch = client.watch();
      const refused = await watch.created("a");
      equal(refused.cancelReason, "etcdserver: too many requests");
      session.destroy();
      await eventually(
        "their places are free again",
        10_000,
        async () => !(await client.watch().created("a")).canceled,
      );
      equal(text((await client.range("a0")).kvs[0]!.value).length, 10_000);
    }),
);

function watchStream(session: ReturnType<typeof connect>): { send(message: Uint8Array): void } {
  const stream = session.request({
    ...{ ":method": "POST", ":path": "/etcdserverpb.Watch/Watch", "content-type": "application/grpc", te: "trailers" },
  });
  stream.on("error", () => {});
  stream.pause();
  return {
    send(message) {
      const prefix = Buffer.alloc(5);
      prefix.writeUInt32BE(message.length, 1);
      stream.write(Buffer.concat([prefix, message]));
    },
  };
}
