import { equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import * as pb from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { ErrorCode, Flag, FrameType, Setting } from "../../src/transport/frames.ts";
import { SocketEndpoint } from "../compat/socket-endpoint.ts";
import { block, type Fields, frame, grpcFields, message, uint32 } from "../transport/h2-peer.ts";
import { type Besieged, besieged } from "./besieged.ts";
import { RawClient } from "./raw-client.ts";

/**
 * What HTTP/2, gRPC and JSON let a hostile client do, done to a real process: what it takes of memory is bounded, and
 * who asks for little beside is served in time. T4_FLOOD_SECONDS makes each last longer.
 */
const SECONDS = Number(process.env["T4_FLOOD_SECONDS"] ?? 2);
const WATCH = "/etcdserverpb.Watch/Watch";
const KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive";
const GRANT = "/etcdserverpb.Lease/LeaseGrant";
const RANGE = "/etcdserverpb.KV/Range";
const RANGE_STREAM = "/etcdserverpb.KV/RangeStream";
const PUT = "/etcdserverpb.KV/Put";
/** A client that takes whatever it is sent, and one that takes nothing. */
const takesAll = [[Setting.initialWindowSize, 0x7fffffff]] as const;
const takesNothing = [[Setting.initialWindowSize, 0]] as const;
const allOfConnection = frame(FrameType.windowUpdate, 0, 0, uint32(0x7f000000));

const encode = <D extends DescMessage>(schema: D, init: MessageInitShape<D>): Uint8Array =>
  toBinary(schema, create(schema, init));
const watchCreate = encode(pb.WatchRequestSchema, {
  requestUnion: { case: "createRequest", value: { key: Buffer.from("a"), rangeEnd: Buffer.from("b") } },
});
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Again and again, for as long as the harm is to last. */
async function untilOver(step: (n: number) => Promise<void> | void): Promise<void> {
  const endMs = performance.now() + SECONDS * 1000;
  for (let n = 0; performance.now() < endMs; n++) {
    await step(n);
    if (n % 20 === 19) await pause(0);
  }
}

/** Memory is bounded, and no call of others fails; how long these take is told, not judged: machines differ. */
function served(found: Besieged, { growthMiB }: { growthMiB: number }): void {
  equal(found.failures.join(), "");
  ok(found.growthMiB < growthMiB, `${found.growthMiB} MiB more, may be ${growthMiB}`);
  ok(found.calls >= 4, `${found.calls} calls beside`);
}

/** Sends the same again and again on one stream, and takes what it is answered. */
function onOneStream(path: string, messages: Buffer, fields: Fields = []) {
  return async ({ address }: { address: string }): Promise<void> => {
    const client = await RawClient.openH2(address, takesAll);
    client.write(Buffer.concat([allOfConnection, client.headers(1, path, fields)]));
    const data = frame(FrameType.data, 0, 1, messages);
    await untilOver(async () => {
      client.write(data);
      await client.drained();
    });
    ok(!client.closed && client.bytesRead > 0);
    client.destroy();
  };
}

const times = (count: number, bytes: Buffer): Buffer => Buffer.concat(Array.from({ length: count }, () => bytes));

test("watches are created without end on one stream", { timeout: 120_000 }, async () => {
  const harm = onOneStream(WATCH, times(500, message(watchCreate)));
  // As many watchers as may be, at some 200 bytes each.
  served(await besieged("watch creates", { flags: ["--watchers-max", "200000"] }, harm), { growthMiB: 250 });
});

test("watches are created and cancelled without end", { timeout: 120_000 }, async () => {
  const cancel = encode(pb.WatchRequestSchema, { requestUnion: { case: "cancelRequest", value: { watchId: 7n } } });
  const create = encode(pb.WatchRequestSchema, {
    requestUnion: { case: "createRequest", value: { key: Buffer.from("a"), watchId: 7n } },
  });
  const pairs = times(300, Buffer.concat([message(create), message(cancel)]));
  served(await besieged("watches created and cancelled", {}, onOneStream(WATCH, pairs)), { growthMiB: 100 });
});

test("leases that there are not are kept alive without end", { timeout: 120_000 }, async () => {
  const one = message(encode(pb.LeaseKeepAliveRequestSchema, { ID: 12345n }));
  served(await besieged("keep-alives", {}, onOneStream(KEEP_ALIVE, times(1000, one))), { growthMiB: 100 });
});

test("messages of a stream that are a thousand times as large unpacked", { timeout: 120_000 }, async () => {
  const bomb = message(gzipSync(Buffer.alloc(2_000_000), { level: 9 }), 1);
  const harm = onOneStream(WATCH, times(7, bomb), [["grpc-encoding", "gzip"]]);
  const found = await besieged("packed messages of a stream", {}, async (server) => {
    await harm(server).catch(() => {});
  });
  served(found, { growthMiB: 200 });
});

test("calls that are a thousand times as large unpacked", { timeout: 120_000 }, async () => {
  const bomb = message(gzipSync(Buffer.alloc(2_000_000), { level: 9 }), 1);
  const found = await besieged("packed calls", {}, async ({ address }) => {
    const clients = await Promise.all(Array.from({ length: 4 }, () => RawClient.openH2(address, takesAll)));
    await untilOver(async (n) => {
      for (const client of clients) {
        client.write(client.headers(2 * n + 1, PUT, [["grpc-encoding", "gzip"]]));
        client.write(frame(FrameType.data, Flag.endStream, 2 * n + 1, bomb));
      }
      await Promise.all(clients.map((client) => client.drained()));
    });
    for (const client of clients) client.destroy();
  });
  served(found, { growthMiB: 400 });
});

test("leases are granted without end", { timeout: 120_000 }, async () => {
  const grant = encode(pb.LeaseGrantRequestSchema, { TTL: 100_000n });
  const found = await besieged("grants", {}, async ({ address }) => {
    const client = await RawClient.openH2(address, takesAll);
    client.write(allOfConnection);
    let streamId = 1;
    await untilOver(async () => {
      const calls: Buffer[] = [];
      for (let i = 0; i < 200; i++, streamId += 2) {
        calls.push(client.headers(streamId, GRANT), client.data(streamId, grant, true));
      }
      client.write(Buffer.concat(calls));
      await client.drained();
    });
    client.destroy();
  });
  served(found, { growthMiB: 250 });
});

test("half messages hold room that others need: a large put beside is taken", { timeout: 120_000 }, async () => {
  const found = await besieged("half messages", {}, async ({ address }) => {
    const clients = await Promise.all(Array.from({ length: 30 }, () => RawClient.openH2(address)));
    const part = Buffer.alloc(16_384, 1);
    const first = Buffer.concat([Buffer.from([0]), uint32(2_000_000), part.subarray(5)]);
    for (const client of clients) {
      for (let streamId = 1; streamId < 128; streamId += 2) {
        client.write(Buffer.concat([client.headers(streamId, PUT), frame(FrameType.data, 0, streamId, first)]));
        for (let i = 0; i < 31; i++) client.write(frame(FrameType.data, 0, streamId, part));
      }
    }
    await Promise.all(clients.map((client) => client.drained()));
    await pause(SECONDS * 1000);
    const endpoint = new SocketEndpoint(address);
    await endpoint.unary(PUT, encode(pb.PutRequestSchema, { key: Buffer.from("k"), value: Buffer.alloc(500_000) }));
    await endpoint.close();
    for (const client of clients) client.destroy();
  });
  served(found, { growthMiB: 500 });
});

test("requests that are whole and never end", { timeout: 120_000 }, async () => {
  const body = encode(pb.PutRequestSchema, { key: Buffer.from("k"), value: Buffer.alloc(16_000) });
  const found = await besieged("calls that do not end", {}, async ({ address }) => {
    const clients = await Promise.all(Array.from({ length: 4 }, () => RawClient.openH2(address)));
    await untilOver(async (n) => {
      for (const client of clients) {
        client.write(Buffer.concat([client.headers(2 * n + 1, PUT), client.data(2 * n + 1, body)]));
      }
      await Promise.all(clients.map((client) => client.drained()));
    });
    for (const client of clients) client.destroy();
  });
  served(found, { growthMiB: 450 });
});

test("connections that end for a flood are made anew: resets, SETTINGS, CONTINUATION", {
  timeout: 120_000,
}, async () => {
  const cancelled = (streamId: number, client: RawClient): Buffer =>
    Buffer.concat([client.headers(streamId, RANGE), frame(FrameType.rstStream, 0, streamId, uint32(ErrorCode.cancel))]);
  const settings = frame(FrameType.settings, 0, 0, Buffer.concat([Buffer.from([0, 3]), uint32(7)]));
  const ping = frame(FrameType.ping, 0, 0, Buffer.alloc(8));
  const endless = frame(FrameType.continuation, 0, 1, block([["z", "1".repeat(1000)]]));
  const floods: ((client: RawClient, n: number) => Buffer)[] = [
    (client, n) => Buffer.concat(Array.from({ length: 100 }, (_, i) => cancelled(200 * n + 2 * i + 1, client))),
    () => Buffer.concat([times(100, settings), times(100, ping)]),
    () => Buffer.concat([frame(FrameType.headers, 0, 1, block([["x", "y"]])), times(200, endless)]),
  ];
  const found = await besieged("floods of frames", {}, async ({ address }) => {
    await Promise.all(
      floods.map(async (flood) => {
        let client = await RawClient.openH2(address);
        let connections = 1;
        let n = 0;
        await untilOver(async () => {
          if (client.closed) {
            client = await RawClient.openH2(address);
            connections++;
            n = 0;
          }
          client.write(flood(client, n++));
          await client.drained();
          await pause(1);
        });
        ok(connections > 1, "nobody ended it");
        client.destroy();
      }),
    );
  });
  served(found, { growthMiB: 150 });
});

test("streams that are opened with as many header fields as may be, and held", { timeout: 120_000 }, async () => {
  const fat = block(grpcFields(WATCH, [["x-fat", "y".repeat(16_000)]]));
  const found = await besieged("streams with large heads", {}, async ({ address }) => {
    const client = await RawClient.openH2(address);
    await untilOver(async (n) => {
      client.write(frame(FrameType.headers, Flag.endHeaders, 2 * n + 1, fat));
      await client.drained();
    });
    client.destroy();
  });
  served(found, { growthMiB: 700 });
});

test("thousands of connections that say nothing, or nothing more", { timeout: 120_000 }, async () => {
  const found = await besieged("idle connections", {}, async ({ address }) => {
    const clients: RawClient[] = [];
    for (let n = 0; n < 20; n++) {
      const more = Array.from({ length: 100 }, (_, i) => (i % 2 ? RawClient.open(address) : RawClient.openH2(address)));
      clients.push(...(await Promise.all(more)));
    }
    await pause(SECONDS * 1000);
    for (const client of clients) client.destroy();
  });
  served(found, { growthMiB: 100 });
});

test("watchers and ranges that take nothing of what they asked for", { timeout: 120_000 }, async () => {
  const value = Buffer.alloc(100_000, "v");
  const fill = async (endpoint: SocketEndpoint): Promise<void> => {
    for (let n = 0; n < 100; n++) {
      await endpoint.unary(PUT, encode(pb.PutRequestSchema, { key: Buffer.from(`a${n}`), value }));
    }
  };
  const range = encode(pb.RangeRequestSchema, { key: Buffer.from("a"), rangeEnd: Buffer.from("b") });
  const found = await besieged("slow readers", { prepare: fill }, async ({ address }) => {
    const clients = await Promise.all(Array.from({ length: 50 }, () => RawClient.openH2(address, takesNothing)));
    for (const client of clients) {
      for (let id = 1; id < 60; id += 6) {
        client.write(Buffer.concat([client.headers(id, WATCH), client.data(id, watchCreate)]));
        client.write(Buffer.concat([client.headers(id + 2, RANGE), client.data(id + 2, range, true)]));
        client.write(client.headers(id + 4, RANGE_STREAM));
        client.write(client.data(id + 4, range, true));
      }
    }
    const endpoint = new SocketEndpoint(address);
    await untilOver(() =>
      endpoint
        .unary(PUT, encode(pb.PutRequestSchema, { key: Buffer.from("a1"), value }))
        .then(() => pause(20))
        .catch(() => pause(20)),
    );
    await endpoint.close();
    for (const client of clients) client.destroy();
  });
  served(found, { growthMiB: 650 });
});

test("thousands of streams that take nothing, of changes that come many at once", { timeout: 120_000 }, async () => {
  const watchFrom = encode(pb.WatchRequestSchema, {
    requestUnion: {
      case: "createRequest",
      value: { key: Buffer.from("a"), rangeEnd: Buffer.from("b"), startRevision: 2n, prevKv: true },
    },
  });
  const value = Buffer.alloc(4_000, "v");
  const changes = async (endpoint: SocketEndpoint): Promise<void> => {
    const puts = Array.from({ length: 200 }, (_, n) =>
      endpoint.unary(PUT, encode(pb.PutRequestSchema, { key: Buffer.from(`a${n}`), value })),
    );
    await Promise.all(puts);
  };
  const range = encode(pb.RangeRequestSchema, { key: Buffer.from("a"), rangeEnd: Buffer.from("b") });
  const found = await besieged("watchers that take nothing", { prepare: changes }, async ({ address }) => {
    const endpoint = new SocketEndpoint(address);
    const clients = await Promise.all(Array.from({ length: 20 }, () => RawClient.openH2(address, takesNothing)));
    for (const client of clients) {
      for (let id = 1; id < 600; id += 2) {
        // Some are owed all the history there is, some what is changed from now on, some what there is.
        const [path, asked] = (
          [
            [WATCH, watchFrom],
            [WATCH, watchCreate],
            [RANGE_STREAM, range],
          ] as const
        )[id % 3]!;
        client.write(Buffer.concat([client.headers(id, path), client.data(id, asked, path === RANGE_STREAM)]));
      }
      await client.drained();
    }
    await untilOver(() => changes(endpoint));
    await endpoint.close();
    for (const client of clients) client.destroy();
  });
  served(found, { growthMiB: 600 });
});

test("JSON that is hard to read", { timeout: 120_000 }, async () => {
  const bodies = [
    `${"[".repeat(400)}${"]".repeat(400)}`,
    `{"key":${"9".repeat(500_000)}}`,
    `{"key":"${"A".repeat(1_000_000)}"}`,
    `{"success":[${'{"request_put":{"key":"YQ=="}},'.repeat(50_000)}{}]}`,
    `{${Array.from({ length: 100_000 }, (_, i) => `"k${i}":1`).join(",")}}`,
    `{"limit":"1${"0".repeat(500_000)}e-999999"}`,
    `{"key":"YQ==","key":"Yg=="}`,
    "\xff\xfe",
  ];
  const found = await besieged("JSON", {}, async ({ address }) => {
    await untilOver(async (n) => {
      const [body, path] = [Buffer.from(bodies[n % bodies.length]!, "latin1"), n % 3 === 0 ? "txn" : "range"];
      const response = await fetch(`http://${address}/v3/kv/${path}`, { method: "POST", body });
      await response.arrayBuffer();
    });
  });
  served(found, { growthMiB: 300 });
});
