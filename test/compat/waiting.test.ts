import { equal, match } from "node:assert/strict";
import { test } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { Client, credentials } from "@grpc/grpc-js";
import { CampaignRequestSchema } from "../../src/gen/v3electionpb/v3election_pb.ts";
import { Lock, LockRequestSchema } from "../../src/gen/v3lockpb/v3lock_pb.ts";
import { bytes, EtcdClient } from "./client.ts";
import { startServer } from "./server-runner.ts";
import { SocketEndpoint } from "./socket-endpoint.ts";
import { eventually } from "./story.ts";
import { Transcript } from "./transcript.ts";

/** Calls that wait: they end with who waits, and leave nothing behind. */

const waitingCalls = {
  "/v3lockpb.Lock/Lock": toBinary(LockRequestSchema, create(LockRequestSchema, { name: bytes("a"), lease: 2n })),
  "/v3electionpb.Election/Campaign": toBinary(
    CampaignRequestSchema,
    create(CampaignRequestSchema, { name: bytes("a"), lease: 2n, value: bytes("v") }),
  ),
} as const;

for (const [path, message] of Object.entries(waitingCalls)) {
  for (const how of ["cancel", "deadline"] as const) {
    test(`K1, K3 ${path} that ends by ${how} takes its key away`, { timeout: 60_000 }, async () => {
      const t4 = await startServer();
      const grpc = new Client(t4.address, credentials.createInsecure());
      try {
        const client = new EtcdClient(new SocketEndpoint(t4.address), new Transcript());
        for (const id of [1, 2]) await client.grant(1000, id);
        await client.call(Lock.method.lock, { name: bytes("a"), lease: 1n });
        const count = async () => Number((await client.range("a/", { end: "a0", countOnly: true })).count);
        const options = how === "deadline" ? { deadline: Date.now() + 3000 } : {};
        const { promise, resolve } = Promise.withResolvers<{ code: number } | null>();
        const asIs = (buffer: Buffer) => buffer;
        const call = grpc.makeUnaryRequest(path, asIs, asIs, Buffer.from(message), options, (error) => resolve(error));
        await eventually("the waiter queues", 5000, async () => (await count()) === 2);
        if (how === "cancel") call.cancel();
        equal((await promise)?.code, how === "cancel" ? 1 : 4);
        await eventually("its key is gone", 5000, async () => (await count()) === 1);
      } finally {
        grpc.close();
        await t4.stop();
      }
    });
  }
}

test("K1 a waiter whose lease ends is told at once, while the lock is still held", { timeout: 60_000 }, async () => {
  const t4 = await startServer();
  try {
    const client = new EtcdClient(new SocketEndpoint(t4.address), new Transcript());
    for (const id of [1, 2]) await client.grant(1000, id);
    await client.call(Lock.method.lock, { name: bytes("a"), lease: 1n });
    const waiting = client.call(Lock.method.lock, { name: bytes("a"), lease: 2n }).then(
      () => "locked",
      (error: Error) => error.message,
    );
    const queued = async () => (await client.range("a/", { end: "a0", countOnly: true })).count === 2n;
    await eventually("the waiter queues", 5000, queued);
    await client.revoke(2n);
    match(await waiting, /^\[2\] mutex: session is expired$/);
  } finally {
    await t4.stop();
  }
});
