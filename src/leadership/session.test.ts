import { equal, match, notEqual, rejects } from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { branchId } from "../base/ids.ts";
import { sessionKey } from "../objects/keys.ts";
import { MemoryBucket, MemoryStore } from "../objects/memory.ts";
import { createNodeRuntime } from "../runtime/node.ts";
import { NodeSession } from "./session.ts";
import { defaultSessionSettings } from "./settings.ts";

const runtime = createNodeRuntime();
const branch = branchId("c".repeat(32));
const pace = { termMs: 100, renewalMs: 20 };

const session = (bucket: MemoryBucket) =>
  new NodeSession({
    store: new MemoryStore(runtime, bucket),
    repositoryId: "ab".repeat(16),
    runtime,
    node: "one",
    directory: null,
    settings: { ...defaultSessionSettings, alone: pace, challenged: pace, marginMs: 10 },
  });

function damage(bucket: MemoryBucket, id: string): void {
  const entry = bucket.entries.get(sessionKey(id))!;
  const body = Buffer.from(entry.body);
  body[40]! ^= 1;
  bucket.set(sessionKey(id), { ...entry, body, etag: `${entry.etag} damaged` });
}

test("a session that is damaged is lost to its own node, which makes another one", async () => {
  const bucket = new MemoryBucket();
  const node = session(bucket);
  const hold = await node.hold(branch, { onWaiting: () => {} });
  const lost = new Promise<Error>((resolve) => (hold.onLost = resolve));
  const id = hold.session;
  damage(bucket, id);
  match((await lost).message, /session .* cannot be read any more: object session\/.*: wrong checksum/);
  await hold.release("abandon");
  const next = await node.hold(branch, { onWaiting: () => {} });
  notEqual(next.session, id);
  await sleep(60);
  equal(next.lost, null);
  await next.release("end");
});

test("a damaged session of an earlier run is named, with what to do; once deleted it counts as over", async () => {
  const bucket = new MemoryBucket();
  const hold = await session(bucket).hold(branch, { onWaiting: () => {} });
  await hold.release("abandon");
  damage(bucket, hold.session);
  const node = session(bucket);
  await rejects(node.hold(branch, { onWaiting: () => {} }), {
    kind: "corrupt",
    message:
      /^object session\/.*wrong checksum.*; once the node that made it is stopped for certain, delete it: a missing/,
  });
  bucket.delete(sessionKey(hold.session));
  const next = await node.hold(branch, { onWaiting: () => {} });
  await next.release("end");
});
