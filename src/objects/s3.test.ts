import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Answer, type ScriptedS3, startScriptedS3 } from "../../test/contract/scripted-s3.ts";
import { createNodeRuntime } from "../runtime/node.ts";
import { nameKey, repositoryKey } from "./keys.ts";
import type { ObjectStore, PutCondition } from "./objects.ts";
import { openStore, type StoreSurroundings } from "./open-store.ts";
import { parseStoreUrl } from "./store-url.ts";

const runtime = createNodeRuntime();
const credentials = async () => ({ accessKeyId: "AKID", secretAccessKey: "secret", sessionToken: "token" });
const open: (() => Promise<void>)[] = [];
after(() => Promise.all(open.map((close) => close())));

const fine: Answer = { status: 200, headers: { etag: '"e"' }, body: "body" };

/** A store whose server gives the answers in turn, then `fine` ones. */
async function scene(answers: Answer[], options: { url?: string; surroundings?: StoreSurroundings } = {}) {
  const server: ScriptedS3 = await startScriptedS3((_, number) => answers[number] ?? fine);
  const url = `s3://bucket/root?endpoint=${server.endpoint}${options.url ?? ""}`;
  const store: ObjectStore = await openStore(parseStoreUrl(url), runtime, { credentials, ...options.surroundings });
  open.push(async () => {
    await store.close();
    await server.close();
  });
  const put = (kind: PutCondition["kind"] = "absent", timeoutMs = 3000) => {
    const condition: PutCondition = kind === "match" ? { kind, etag: '"old"' } : { kind };
    return store.put(repositoryKey, Buffer.from("body"), { timeoutMs, condition });
  };
  return { store, server, put };
}

const timeoutMs = 3000;

test("a put is judged by its answer, and sent once", async () => {
  const cases: [Answer, string, PutCondition["kind"]?][] = [
    [fine, "written"],
    [{ status: 204, headers: { etag: '"e"' } }, "written"],
    [{ status: 200 }, "unknown"],
    [{ status: 412, code: "PreconditionFailed" }, "preconditionFailed"],
    [{ status: 404, code: "NoSuchKey" }, "preconditionFailed", "match"],
    [{ status: 404, code: "NoSuchKey" }, "refused"],
    [{ status: 404, code: "NoSuchBucket" }, "refused", "match"],
    [{ status: 404, code: "NoSuchUser" }, "refused", "match"],
    [{ status: 403, code: "AccessDenied" }, "refused"],
    [{ status: 400, code: "InvalidArgument" }, "refused"],
    [{ status: 301, code: "PermanentRedirect", headers: { "x-amz-bucket-region": "eu-west-1" } }, "refused"],
    [{ status: 501, code: "NotImplemented" }, "refused"],
    [{ status: 409, code: "InvalidBucketState" }, "refused"],
    [{ status: 503, code: "SlowDown" }, "refused, retryable"],
    [{ status: 429, code: "TooManyRequests" }, "refused, retryable"],
    [{ status: 500, code: "InternalError" }, "unknown"],
    [{ status: 502, body: "<html>bad gateway" }, "unknown"],
    [{ status: 503, code: "ServiceUnavailable" }, "unknown"],
    [{ status: 503 }, "unknown"],
    [{ status: 400, code: "RequestTimeout" }, "unknown"],
    ["reset", "unknown"],
    ["halfway", "unknown"],
    [{ status: 200, headers: { etag: '"e"', "content-length": "99999999" } }, "unknown"],
  ];
  for (const [answer, expected, kind] of cases) {
    const { server, put } = await scene([answer]);
    const outcome = await put(kind);
    const got = outcome.kind === "refused" && outcome.retryable ? "refused, retryable" : outcome.kind;
    equal(got, expected, JSON.stringify(answer));
    equal(server.seen.length, 1, `${JSON.stringify(answer)} was sent ${server.seen.length} times`);
    if (outcome.kind === "refused" && typeof answer !== "string" && answer.code) {
      ok(outcome.cause.message.includes(answer.code), outcome.cause.message);
    }
  }
});

test("a put is sent again only after an answer that says that nothing was written", async () => {
  const again: Answer[][] = [
    [{ status: 409, code: "ConditionalRequestConflict" }],
    [
      { status: 409, code: "ConditionalRequestConflict" },
      { status: 409, code: "OperationAborted" },
    ],
    [{ status: 403, code: "RequestTimeTooSkewed", headers: { date: new Date(Date.now() + 3_600_000).toUTCString() } }],
    [{ status: 400, code: "ExpiredToken" }],
  ];
  for (const answers of again) {
    const { server, put } = await scene(answers);
    equal((await put("match")).kind, "written", JSON.stringify(answers));
    equal(server.seen.length, answers.length + 1);
    ok(server.seen.every(({ body, headers }) => body.toString() === "body" && headers["if-match"] === '"old"'));
  }
  const { server, put } = await scene(
    Array.from({ length: 99 }, () => ({ status: 409, code: "ConditionalRequestConflict" })),
  );
  const outcome = await put("absent", 700);
  ok(outcome.kind === "refused" && outcome.retryable);
  ok(server.seen.length >= 3 && server.seen.length <= 12);
});

test("a refused clock is corrected from the server's own", async () => {
  const skewMs = 3 * 3_600_000;
  const date = new Date(Date.now() + skewMs).toUTCString();
  const { store, server } = await scene([{ status: 403, code: "RequestTimeTooSkewed", headers: { date } }]);
  await store.get(repositoryKey, { timeoutMs });
  const [before, afterwards] = server.seen.map(({ headers }) => String(headers["x-amz-date"]));
  const hours = (text: string | undefined) => Number(text?.slice(9, 11));
  equal((hours(afterwards) - hours(before) + 24) % 24, 3, `${before} → ${afterwards}`);
});

test("the skew of the server's clock is told", async () => {
  const date = new Date(Date.now() - 120_000).toUTCString();
  const { store } = await scene([{ ...fine, headers: { etag: '"e"', date } }]);
  equal(store.clockSkewMs?.(), null);
  await store.get(repositoryKey, { timeoutMs });
  const skewMs = store.clockSkewMs?.() ?? 0;
  ok(Math.abs(skewMs + 120_000) < 3000, String(skewMs));
});

test("no answer in time: a put is unknown and not sent again; the deadline is kept", async () => {
  const { server, put } = await scene(["silent"]);
  const startMs = performance.now();
  const outcome = await put("absent", 300);
  const tookMs = performance.now() - startMs;
  ok(outcome.kind === "unknown" && /no answer in \d+ ms/.test(outcome.cause.message), JSON.stringify(outcome));
  ok(tookMs >= 295 && tookMs < timeoutMs, `took ${tookMs} ms`);
  equal(server.seen.length, 1);
});

test("a read that is not answered as fast as others is tried again long before its time is up", async () => {
  const { store, server } = await scene([fine, "silent", fine]);
  await store.get(repositoryKey, { timeoutMs });
  const startMs = performance.now();
  await store.get(repositoryKey, { timeoutMs: 60_000 });
  equal(server.seen.length, 3);
  ok(performance.now() - startMs < 20_000, "a third of its time");
});

test("a server that cannot be reached: a put is refused for now, as nothing was sent; reads fail", async () => {
  const server = await startScriptedS3(() => fine);
  await server.close();
  const store = await openStore(parseStoreUrl(`s3://bucket?endpoint=${server.endpoint}`), runtime, { credentials });
  const outcome = await store.put(repositoryKey, Buffer.from("x"), { timeoutMs: 500, condition: { kind: "absent" } });
  ok(
    outcome.kind === "refused" && outcome.retryable && /ECONNREFUSED/.test(outcome.cause.message),
    JSON.stringify(outcome),
  );
  await rejects(store.get(repositoryKey, { timeoutMs: 200 }), { kind: "storeUnavailable", message: /ECONNREFUSED/ });
  await store.close();
});

test("without credentials nothing is sent, and it is said", async () => {
  const none = async () => Promise.reject(new Error("nothing configured"));
  const { server, put, store } = await scene([], { surroundings: { credentials: none } });
  const outcome = await put("absent", 500);
  ok(outcome.kind === "refused" && /no credentials: nothing configured/.test(outcome.cause.message));
  await rejects(store.get(repositoryKey, { timeoutMs: 200 }), { kind: "storeUnavailable", message: /no credentials/ });
  const hanging = await scene([], { surroundings: { credentials: () => new Promise(() => {}) } });
  equal((await hanging.put("absent", 200)).kind, "refused");
  equal(server.seen.length + hanging.server.seen.length, 0);
});

test("reads, lists and deletes are tried again where that may help", async () => {
  const passing: Answer[] = [
    { status: 500, code: "InternalError" },
    { status: 503, code: "SlowDown" },
    "reset",
    { status: 400, code: "ExpiredToken" },
  ];
  const one = await scene([...passing, "halfway"]);
  equal((await one.store.get(repositoryKey, { timeoutMs: 10_000 }))?.body.toString(), "body");
  equal(one.server.seen.length, 6);
  const two = await scene([...passing, { status: 204 }]);
  await two.store.delete(repositoryKey, { timeoutMs: 10_000 });
  equal(two.server.seen.length, 5);
  const three = await scene([...passing, { status: 200, body: "<ListBucketResult/>" }]);
  deepEqual(await three.store.list("name/", { timeoutMs: 10_000, limit: 1 }), { objects: [], more: false });
  equal(three.server.seen.length, 5);
});

test("reads that nothing can mend fail at once, by kind; a missing object is none", async () => {
  const forbidden = await scene([{ status: 403, code: "AccessDenied" }]);
  await rejects(forbidden.store.get(repositoryKey, { timeoutMs }), { kind: "storeRefused", message: /AccessDenied/ });
  equal(forbidden.server.seen.length, 1);
  const unknown = await scene([{ status: 404, code: "NoSuchUser" }]);
  await rejects(unknown.store.get(repositoryKey, { timeoutMs }), { kind: "storeRefused", message: /NoSuchUser/ });
  const moved = await scene([
    { status: 301, code: "PermanentRedirect", headers: { "x-amz-bucket-region": "eu-west-1" } },
  ]);
  await rejects(moved.store.get(repositoryKey, { timeoutMs }), { kind: "storeRefused", message: /eu-west-1/ });
  const missing = await scene([
    { status: 404, code: "NoSuchKey" },
    { status: 404 },
    { status: 404, code: "NoSuchKey" },
  ]);
  equal(await missing.store.get(repositoryKey, { timeoutMs }), null);
  equal(await missing.store.get(repositoryKey, { timeoutMs }), null);
  await missing.store.delete(repositoryKey, { timeoutMs });
  const down = await scene(Array.from({ length: 99 }, () => ({ status: 500, code: "InternalError" })));
  await rejects(down.store.get(repositoryKey, { timeoutMs: 500 }), {
    kind: "storeUnavailable",
    message: /InternalError/,
  });
  ok(down.server.seen.length <= 12);
});

test("a caller that gives up in the middle gets canceled, or unknown of a put, at once", async () => {
  const { store, put: _, server } = await scene(["silent", "silent"]);
  /** Fires once so many requests have arrived. */
  const signal = (requests: number): AbortSignal => {
    const controller = new AbortController();
    const look = (): void => void (server.seen.length < requests ? setTimeout(look, 10) : controller.abort());
    look();
    return controller.signal;
  };
  const startMs = performance.now();
  await rejects(store.get(repositoryKey, { timeoutMs, signal: signal(1) }), { kind: "canceled" });
  const condition = { kind: "absent" } as const;
  const outcome = await store.put(repositoryKey, Buffer.from("x"), { timeoutMs, condition, signal: signal(2) });
  equal(outcome.kind, "unknown");
  ok(performance.now() - startMs < timeoutMs);
  equal(server.seen.length, 2);
});

test("an answer that is longer than it may be is given up, not gathered", async () => {
  const long = Buffer.alloc(1 << 20);
  const { store } = await scene([
    { status: 200, headers: { etag: '"e"' }, body: long },
    { status: 403, body: long },
  ]);
  const range = { start: 0, end: 10 };
  const longGet = /get repository.json: answer to GET is over \d+ bytes long/;
  await rejects(store.get(repositoryKey, { timeoutMs, range }), { kind: "storeRefused", message: longGet });
  await rejects(store.delete(repositoryKey, { timeoutMs }), { kind: "storeRefused", message: /bytes long/ });
  // One that says so in its head is given up before the rest of it comes.
  const boastful = await scene([{ status: 200, headers: { etag: '"e"', "content-length": "99999999" } }]);
  await rejects(boastful.store.get(repositoryKey, { timeoutMs, range }), { message: longGet });
});

test("a server that ignores ranges, or lies about them, is seen through", async () => {
  const { store } = await scene([
    { status: 200, headers: { etag: '"e"' }, body: "0123456789" },
    { status: 206, headers: { etag: '"e"', "content-range": "bytes 2-4/10" }, body: "234" },
    { status: 206, headers: { etag: '"e"', "content-range": "bytes 2-4/10" }, body: "23" },
    { status: 206, headers: { etag: '"e"', "content-range": "bytes 2-4/nonsense" }, body: "234" },
    { status: 200, headers: {}, body: "x" },
  ]);
  const range = { start: 2, end: 5 };
  for (let n = 0; n < 2; n++) {
    const got = await store.get(repositoryKey, { timeoutMs, range });
    deepEqual([got?.body.toString(), got?.bytes], ["234", 10]);
  }
  for (const message of [/2 bytes, expected 3/, /Content-Range/, /ETag/]) {
    await rejects(store.get(repositoryKey, { timeoutMs, range }), { kind: "storeRefused", message });
  }
});

test("requests carry what the URL asks for, and sign all of it", async () => {
  const url = "&region=eu-north-1&sse=aws:kms:arn:aws:kms:eu-north-1:1:key/2&storage-class=STANDARD_IA";
  const { server, put, store } = await scene([], { url });
  await put("absent");
  await store.get(nameKey("main"), { timeoutMs, range: { suffix: 7 } });
  const [first, second] = server.seen;
  equal(first?.path, "/bucket/root/repository.json");
  equal(first.headers["if-none-match"], "*");
  equal(first.headers["x-amz-server-side-encryption"], "aws:kms");
  equal(first.headers["x-amz-server-side-encryption-aws-kms-key-id"], "arn:aws:kms:eu-north-1:1:key/2");
  equal(first.headers["x-amz-storage-class"], "STANDARD_IA");
  equal(first.headers["x-amz-security-token"], "token");
  const authorization = String(first.headers.authorization);
  ok(authorization.includes("/eu-north-1/s3/aws4_request"));
  const amazonHeaders = Object.keys(first.headers).filter((name) => name.startsWith("x-amz-"));
  for (const name of [...amazonHeaders, "if-none-match", "host"]) ok(authorization.includes(name), `${name} is signed`);
  equal(second?.path, "/bucket/root/name/main");
  equal(second.headers["range"], "bytes=-7");
});

test("with a proxy, requests go to it and name the server they are for", async () => {
  const proxy = await startScriptedS3(() => fine);
  const url = parseStoreUrl("s3://bucket?endpoint=http://store.invalid:9000");
  const store = await openStore(url, runtime, { credentials, proxy: proxy.endpoint });
  equal((await store.get(repositoryKey, { timeoutMs }))?.body.toString(), "body");
  equal(proxy.seen[0]?.path, "http://store.invalid:9000/bucket/repository.json");
  equal(proxy.seen[0].headers.host, "store.invalid:9000");
  await store.close();
  await proxy.close();
});

test("a file of certificates that is none is refused before anything is sent", async () => {
  const url = (file: string) => parseStoreUrl(`s3://bucket?ca=${file}`);
  await rejects(openStore(url("/nowhere.pem"), runtime), {
    kind: "invalidArgument",
    message: /nowhere.pem does not exist/,
  });
  const here = fileURLToPath(new URL("objects.ts", import.meta.url));
  await rejects(openStore(url(here), runtime), { kind: "invalidArgument", message: /no certificate/ });
});

test("what is sent is told for the metrics", async () => {
  const reports: string[] = [];
  const onRequest = ({ operation, status }: { operation: string; status: number }) =>
    reports.push(`${operation} ${status}`);
  const { store, put } = await scene([{ status: 500 }, fine, "reset"], { surroundings: { onRequest } });
  await store.get(repositoryKey, { timeoutMs });
  await put();
  deepEqual(reports, ["get 500", "get 200", "put 0"]);
});
