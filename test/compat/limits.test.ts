import { deepEqual, equal, match, ok } from "node:assert/strict";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { describe, test } from "node:test";
import { bytes, EtcdClient } from "./client.ts";
import { RpcFailure } from "./endpoint.ts";
import { etcdIsMissing, type ServerProcess, startEtcd } from "./etcd-process.ts";
import { serverIsMissing, startServer } from "./server-runner.ts";
import { SocketEndpoint } from "./socket-endpoint.ts";
import { del, get, nested, put } from "./stories/txn.ts";
import { eventually, fails, sleep } from "./story.ts";
import { Transcript } from "./transcript.ts";

/** Limits that flags set: the same flag has the same effect on our server and on a real etcd. */
const servers = [
  { name: "t4", missing: serverIsMissing(), start: (flags: string[]) => startServer(flags) },
  { name: "etcd", missing: etcdIsMissing(), start: (flags: string[]) => startEtcd({ flags }) },
];

const MiB = 1 << 20;
const GRPC_OVERHEAD_BYTES = 512 * 1024;

for (const { name, missing, start } of servers) {
  describe(`limits of ${name}`, { skip: missing }, () => {
    async function using(flags: string[], body: (client: EtcdClient, server: ServerProcess) => Promise<void>) {
      const server = await start(flags);
      const endpoint = new SocketEndpoint(server.address);
      try {
        await body(new EtcdClient(endpoint, new Transcript()), server);
      } finally {
        await endpoint.close();
        await server.stop();
      }
    }

    test("B1.1 E25 --max-request-bytes: what is larger is refused, what gRPC cannot take by gRPC", () =>
      using(["--max-request-bytes", "10000"], async (client) => {
        const tooLarge = "etcdserver: request is too large";
        await client.put("a", "v".repeat(9900));
        await fails(client.put("a", "v".repeat(10_000)), 3, tooLarge);
        await fails(client.txn({ success: [put("a", "v".repeat(10_000))] }), 3, tooLarge);
        // Reads may be as long as gRPC takes them.
        await client.range("k".repeat(20_000));
        const refused = await client.put("a", "v".repeat(10_000 + GRPC_OVERHEAD_BYTES)).then(
          () => null,
          (error: unknown) => error,
        );
        ok(refused instanceof RpcFailure && refused.code === 8, String(refused));
        match(refused.text, /received message larger than max \(\d+ vs\. 534288\)/);
      }));

    test("B1.2 an answer of 6 MiB arrives whole", () =>
      using([], async (client) => {
        for (let n = 0; n < 6; n++) await client.put(`k${n}`, String(n).repeat(MiB));
        const { kvs, more } = await client.range("k", { end: "l" });
        equal(more, false);
        equal(kvs.length, 6);
        for (const { value } of kvs) equal(value.length, MiB);
      }));

    test("B1.3 E05 --max-txn-ops: of compares, of each branch, and what nested ones may add", () =>
      using(["--max-txn-ops", "3"], async (client) => {
        const tooMany = "etcdserver: too many operations in txn request";
        const gets = (count: number) => Array.from({ length: count }, (_, n) => get(`k${n}`));
        await client.txn({ success: gets(3), failure: gets(3) });
        await fails(client.txn({ success: gets(4) }), 3, tooMany);
        await fails(client.txn({ failure: gets(4) }), 3, tooMany);
        await client.txn({ success: [nested(gets(2))] });
        await fails(client.txn({ success: [nested(gets(3))] }), 3, tooMany);
        await fails(client.txn({ success: [del("a"), nested([nested(gets(1))])] }), 3, tooMany);
      }));

    test("B1.6 --max-concurrent-streams is told, and holds", () =>
      using(["--max-concurrent-streams", "3"], async (_client, { address }) => {
        const session = connectHttp2(`http://${address}`);
        await new Promise((resolve) => session.once("remoteSettings", resolve));
        equal(session.remoteSettings?.maxConcurrentStreams, 3);
        const open = Array.from({ length: 4 }, () => watchCall(session));
        await eventually(
          "three are answered",
          5000,
          async () => open.filter(({ answered }) => answered()).length === 3,
        );
        await sleep(200);
        equal(open.filter(({ answered }) => answered()).length, 3);
        session.destroy();
      }));

    test("B1.6 pings more often than --grpc-keepalive-min-time end the connection: too_many_pings", () =>
      using([], async (_client, { address }) => {
        const session = connectHttp2(`http://${address}`);
        session.on("error", () => {});
        const goaway = new Promise<[number, string]>((resolve) =>
          session.once("goaway", (code: number, _last: number, data?: Buffer) => resolve([code, String(data ?? "")])),
        );
        const pings = setInterval(() => {
          if (!session.destroyed) session.ping(() => {});
        }, 50);
        deepEqual(await goaway, [ENHANCE_YOUR_CALM, "too_many_pings"]);
        clearInterval(pings);
        session.destroy();
      }));

    test("B1.6 with a lower --grpc-keepalive-min-time they are welcome", () =>
      using(["--grpc-keepalive-min-time", "1ms"], async (_client, { address }) => {
        const session = connectHttp2(`http://${address}`);
        session.once("goaway", () => session.destroy(new Error("goaway")));
        // Without a call under way even rare pings are too many.
        const { answered } = watchCall(session);
        await eventually("the watch is there", 5000, async () => answered());
        for (let n = 0; n < 12; n++) {
          await new Promise<void>((resolve, reject) =>
            session.ping((error) => (error === null ? resolve() : reject(error))),
          );
          await sleep(20);
        }
        session.destroy();
      }));

    test("B1.6 --grpc-keepalive-interval and -timeout: who does not answer a ping is cut off", () =>
      using(["--grpc-keepalive-interval", "1s", "--grpc-keepalive-timeout", "1s"], async (_client, { address }) => {
        const [host, port] = address.split(":") as [string, string];
        const socket = connect(Number(port), host);
        const received: Buffer[] = [];
        socket.on("data", (chunk) => received.push(chunk));
        socket.on("error", () => {});
        const closed = new Promise((resolve) => socket.once("close", resolve));
        const startedMs = performance.now();
        socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
        socket.write(Buffer.from([0, 0, 0, 4, 1, 0, 0, 0, 0]));
        await closed;
        const tookMs = performance.now() - startedMs;
        ok(tookMs > 1500 && tookMs < 8000, `closed after ${tookMs} ms`);
        ok(framesOf(Buffer.concat(received)).some(({ type, flags }) => type === PING && flags === 0));
      }));
  });
}

const ENHANCE_YOUR_CALM = 11;
const PING = 6;

/** A watch on a session, which a server that takes the stream answers with `created`. */
function watchCall(session: ClientHttp2Session): { answered: () => boolean } {
  const stream = session.request({
    ":method": "POST",
    ":path": "/etcdserverpb.Watch/Watch",
    "content-type": "application/grpc",
    te: "trailers",
  });
  let answered = false;
  stream.on("error", () => {});
  stream.on("data", () => {
    answered = true;
  });
  const create = Buffer.concat([Buffer.from([0x0a, 3, 0x0a, 1]), bytes("a")]);
  stream.write(Buffer.concat([Buffer.from([0, 0, 0, 0, create.length]), create]));
  return { answered: () => answered };
}

function framesOf(data: Buffer): { type: number; flags: number }[] {
  const frames = [];
  for (let at = 0; at + 9 <= data.length; at += 9 + data.readUIntBE(at, 3)) {
    frames.push({ type: data[at + 3]!, flags: data[at + 4]! });
  }
  return frames;
}
