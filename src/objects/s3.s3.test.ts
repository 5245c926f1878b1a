import { equal, ok, rejects } from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { objectStoreContract } from "../../test/contract/objects.ts";
import { noS3Server, type S3Server, startS3Server } from "../../test/contract/s3-server.ts";
import { createNodeRuntime } from "../runtime/node.ts";
import { nameKey, repositoryKey } from "./keys.ts";
import { openStore } from "./open-store.ts";
import { ensureStoreHolds } from "./probe.ts";
import { parseStoreUrl } from "./store-url.ts";

const runtime = createNodeRuntime();
const soon = { timeoutMs: 10_000 };
const absent = { ...soon, condition: { kind: "absent" } } as const;

describe("a real S3 server", { skip: noS3Server }, () => {
  let server: S3Server;
  before(async () => {
    server = await startS3Server();
  });
  after(() => server?.stop());

  const open = (prefix: string, bucket = server.bucket) =>
    openStore(parseStoreUrl(`s3://${bucket}/${prefix}?endpoint=${server.endpoint}`), runtime, server);

  if (!noS3Server) {
    objectStoreContract("s3", async () => ({ store: await open("a/prefix"), runtime }));
    objectStoreContract("s3, without a prefix", async () => ({ store: await open(""), runtime }));
  }

  test("repositories beside each other in a bucket do not see each other", async () => {
    const one = await open("one");
    const two = await open("one-two");
    equal((await one.put(repositoryKey, Buffer.from("1"), absent)).kind, "written");
    equal(await two.get(repositoryKey, soon), null);
    equal((await two.put(repositoryKey, Buffer.from("2"), absent)).kind, "written");
    equal((await one.list("", { ...soon, limit: 10 })).objects.length, 1);
    await Promise.all([one.close(), two.close()]);
  });

  test("a bucket that does not exist, and wrong credentials, are refused and say so", async () => {
    const nowhere = await open("", "no-such-bucket");
    await rejects(nowhere.get(repositoryKey, soon), { kind: "storeRefused", message: /NoSuchBucket/ });
    await rejects(nowhere.list("", { ...soon, limit: 1 }), { kind: "storeRefused", message: /NoSuchBucket/ });
    const put = await nowhere.put(repositoryKey, Buffer.from("x"), absent);
    ok(put.kind === "refused" && !put.retryable && /NoSuchBucket/.test(put.cause.message));
    const stranger = await openStore(parseStoreUrl(`s3://${server.bucket}?endpoint=${server.endpoint}`), runtime, {
      credentials: async () => ({ accessKeyId: "testaccess", secretAccessKey: "wrong" }),
    });
    await rejects(stranger.get(repositoryKey, soon), { kind: "storeRefused", message: /SignatureDoesNotMatch/ });
    await Promise.all([nowhere.close(), stranger.close()]);
  });

  test("it passes the start-up test of stores", async () => {
    const store = await open("probed");
    equal(await ensureStoreHolds(store, runtime, soon), "tested");
    equal(await ensureStoreHolds(store, runtime, soon), "known");
    await store.close();
  });

  test("the server's clock is noticed", async () => {
    const store = await open("clock");
    await store.get(nameKey("main"), soon);
    const skewMs = store.clockSkewMs?.();
    ok(typeof skewMs === "number" && Math.abs(skewMs) < 5000, String(skewMs));
    await store.close();
  });
});
