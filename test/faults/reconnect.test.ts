import { equal, ok } from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { WatchRequestSchema, WatchResponseSchema } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { SocketEndpoint } from "../compat/socket-endpoint.ts";
import { noS3Server } from "../contract/s3-server.ts";
import { FaultClient, show } from "./client.ts";
import type { ServerProcess } from "./server.ts";
import { eventually, World } from "./world.ts";

/** What the store takes to answer the start, below what is told of as silence. */
const SLOW_MS = 700;

const accepts = (server: ServerProcess): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port: server.port });
    socket.once("error", () => resolve(false));
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
  });

/**
 * etcd's clients go on with a watch after a lost connection, but those that require a leader (Kubernetes', etcdctl's)
 * end it for good when a server that they reach again has none. An etcd that starts is not reached until it has one.
 */
test("calls that come while the server starts wait for that, and are not told that nobody leads", {
  skip: noS3Server,
  timeout: 60_000,
}, async () => {
  await using world = await World.create("s3");
  const server = await world.server("data", ["--durability=object"]);
  await server.start();
  const before = new FaultClient(server.endpoint);
  ok((await before.put("a", "1")).ok);
  await before.close();
  await server.stop("SIGKILL");

  world.s3.pause();
  server.launch();
  await eventually("the port is bound", 10_000, () => accepts(server), Boolean);
  const endpoint = new SocketEndpoint(server.endpoint);
  const watch = endpoint.stream("/etcdserverpb.Watch/Watch", { hasleader: "true" });
  const value = { key: Buffer.from("a"), startRevision: 2n };
  watch.send(
    toBinary(WatchRequestSchema, create(WatchRequestSchema, { requestUnion: { case: "createRequest", value } })),
  );
  const client = new FaultClient(server.endpoint);
  const calls = [client.put("a", "2"), client.get("a"), client.status()];
  await sleep(SLOW_MS);
  world.s3.resume();

  for (const outcome of await Promise.all(calls)) ok(outcome.ok && outcome.ms > SLOW_MS / 2, show(outcome));
  const created = fromBinary(WatchResponseSchema, (await watch.next(10_000))!);
  ok(created.created && !created.canceled);
  let events = 0;
  while (events < 2) events += fromBinary(WatchResponseSchema, (await watch.next(10_000))!).events.length;
  watch.cancel();
  await endpoint.close();
  await client.close();
  equal(await server.stop("SIGTERM"), 0, server.errors);
});
