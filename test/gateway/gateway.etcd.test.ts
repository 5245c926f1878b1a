import { deepEqual, equal, ok } from "node:assert/strict";
import { after, before, test } from "node:test";
import { gatewayMethods } from "../../src/api/gateway/methods.ts";
import { etcdIsMissing, type ServerProcess, startEtcd } from "../compat/etcd-process.ts";
import { startServer } from "../compat/server-runner.ts";

// The JSON gateway beside a real etcd's: the same requests in the same order, the answers compared.

const skip = etcdIsMissing();
let etcd: ServerProcess;
let t4: ServerProcess;

before(async () => {
  if (skip === false) [etcd, t4] = await Promise.all([startEtcd({ defaultTimings: true }), startServer()]);
});

after(() => Promise.all([etcd?.stop(), t4?.stop()]));

interface Asked {
  path: string;
  body?: string | object;
  method?: string;
  headers?: Record<string, string>;
  /** Read a stream for as many lines, then leave it. */
  lines?: number;
}

interface Answer {
  status: number;
  type: string | null;
  body: unknown;
}

const LINES_TIMEOUT_MS = 5_000;

async function ask(
  server: ServerProcess,
  { path, body, method = "POST", headers = {}, lines }: Asked,
): Promise<Answer> {
  const stop = new AbortController();
  const text = typeof body === "object" ? JSON.stringify(body) : body;
  const response = await fetch(`http://${server.address}${path}`, {
    method,
    headers,
    redirect: "manual",
    ...(text === undefined || method === "GET" ? {} : { body: text }),
    signal: AbortSignal.any([stop.signal, AbortSignal.timeout(LINES_TIMEOUT_MS)]),
  });
  const heard = lines === undefined ? await response.text() : await firstLines(response, lines);
  stop.abort();
  return { status: response.status, type: response.headers.get("content-type"), body: parsed(heard) };
}

async function firstLines(response: Response, count: number): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of response.body!) {
    text += decoder.decode(chunk, { stream: true });
    if (text.split("\n").length > count) return text.split("\n").slice(0, count).join("\n");
  }
  return text;
}

/** JSON, or JSON by lines, or the text itself. What each server makes up for itself is replaced. */
function parsed(text: string): unknown {
  const own = text
    .replace(
      /"(cluster_id|member_id|memberID|raft_term|raftTerm|raftIndex|raftAppliedIndex|leader)":"\d+"/g,
      '"$1":"*"',
    )
    .replace(/"(dbSize|dbSizeInUse|dbSizeQuota|remaining_bytes)":"\d+"/g, '"$1":"*"')
    // etcd's gateway tells a deadline by whichever of its two ends comes first.
    .replace("stream terminated by RST_STREAM with error code: CANCEL", "context deadline exceeded");
  try {
    return JSON.parse(own);
  } catch {
    const lines = own.trim().split("\n");
    try {
      return lines.map((line) => JSON.parse(line) as unknown);
    } catch {
      return own;
    }
  }
}

async function same(asked: Asked, change: (answer: Answer) => Answer = (answer) => answer): Promise<Answer> {
  const [theirs, ours] = [change(await ask(etcd, asked)), change(await ask(t4, asked))];
  deepEqual(ours, theirs, `${asked.method ?? "POST"} ${asked.path} ${JSON.stringify(asked.body)}`);
  return ours;
}

/** The parser's own words differ; that it refuses, and how, does not. */
const refusalOnly = ({ status, type, body }: Answer): Answer => {
  const { code } = body as { code: number; message: string };
  return { status, type, body: { code } };
};

const b64 = (text: string): string => Buffer.from(text).toString("base64");
const foo = b64("foo");

test("B1.15 keys and transactions, in the protocol's names and in JSON's", { skip }, async () => {
  await same({ path: "/v3/kv/put", body: { key: foo, value: b64("bar") } });
  await same({ path: "/v3/kv/put", body: { key: foo, value: b64("baz"), prev_kv: true } });
  await same({ path: "/v3/kv/put", body: { key: foo, value: b64("\0ÿ<>&"), prevKv: true } });
  await same({ path: "/v3/kv/put", body: { key: foo, ignore_value: true, lease: "7" } });
  await same({ path: "/v3/kv/range", body: { key: foo } });
  await same({ path: "/v3/kv/range", body: { key: foo, range_end: "AA==", sort_order: "DESCEND", sortTarget: 3 } });
  await same({ path: "/v3/kv/range", body: { key: "AA==", rangeEnd: "AA==", limit: "1", keys_only: true } });
  await same({ path: "/v3/kv/range", body: { key: foo, revision: 2 } });
  await same({ path: "/v3/kv/range", body: { key: foo, revision: "100" } });
  await same({ path: "/v3/kv/range", body: { key: b64("none") } });
  const compare = [
    { target: "VALUE", result: "NOT_EQUAL", key: foo, value: b64("x") },
    { target: "MOD", result: "GREATER", key: foo, mod_revision: "1" },
    { target: 0, key: b64("none"), version: "0" },
  ];
  const success = [
    { request_put: { key: b64("a"), value: "" } },
    { requestRange: { key: "AA==", range_end: "AA==" } },
    { requestTxn: { success: [{ request_delete_range: { key: b64("a"), prev_kv: true } }] } },
  ];
  await same({ path: "/v3/kv/txn", body: { compare, success } });
  await same({
    path: "/v3/kv/txn",
    body: { compare: [{ key: foo }], success, failure: [{ requestRange: { key: foo } }] },
  });
  await same({ path: "/v3/kv/txn", body: { success: [{}] } });
  await same({ path: "/v3/kv/deleterange", body: { key: b64("nothing") } });
  await same({ path: "/v3/kv/compaction", body: { revision: "3" } });
  await same({ path: "/v3/kv/compaction", body: { revision: "3", physical: true } });
  await same({ path: "/v3beta/kv/range", body: { key: foo } });
});

test("leases on both of their paths", { skip }, async () => {
  const id = "77777777";
  await same({ path: "/v3/lease/grant", body: { ID: id, TTL: "600" } });
  await same({ path: "/v3/lease/grant", body: { ID: id, TTL: 600 } });
  await same({ path: "/v3/kv/put", body: { key: b64("leased"), lease: id } });
  for (const path of ["/v3/lease/leases", "/v3/kv/lease/leases"]) await same({ path, body: {} });
  for (const path of ["/v3/lease/timetolive", "/v3/kv/lease/timetolive"]) {
    await same({ path, body: { ID: id, keys: true } }, ({ status, type, body }) => ({
      status,
      type,
      body: { ...(body as object), TTL: "*" },
    }));
  }
  await same({ path: "/v3/lease/keepalive", body: { ID: id } });
  await same({ path: "/v3/lease/keepalive", body: `{"ID":"${id}"} {"ID":5}\n{"ID":"${id}"}` });
  await same({ path: "/v3/lease/revoke", body: { ID: id } });
  await same({ path: "/v3/kv/lease/revoke", body: { ID: id } });
});

test("watches: lines as they come, history, what cannot be watched, deadlines", { skip }, async () => {
  await same({ path: "/v3/watch", body: { create_request: { key: foo, start_revision: "4" } }, lines: 2 });
  const first = `{"create_request":{"key":"${foo}","watch_id":"5","start_revision":4}}`;
  const two = `${first}{"createRequest":{"key":"${foo}","watchId":5}}`;
  await same({ path: "/v3/watch", body: two, lines: 1 });
  await same({ path: "/v3/watch", body: { create_request: { key: foo, start_revision: "1" } }, lines: 2 });
  await same({ path: "/v3/watch", body: { create_request: { key: b64("b"), range_end: b64("a") } }, lines: 1 });
  const soon = { "grpc-timeout": "300m" };
  await same({ path: "/v3/watch", body: "", headers: soon });
  await same({ path: "/v3/watch", body: "{}", headers: soon });
  await same({ path: "/v3/kv/range", body: { key: foo }, headers: { "grpc-timeout": "1n" } });
  await same({ path: "/v3/kv/range", body: { key: foo }, headers: { "grpc-timeout": "x" } });
});

test("what is no request: malformed JSON, wrong types, other methods, other paths", { skip }, async () => {
  const path = "/v3/kv/range";
  for (const body of ["", "{}", `{"key":"${foo}","nope":{"a":[1]}} what follows is not read`, `{"key":null}`]) {
    await same({ path, body });
  }
  await same({ path, body: `{"key":"${foo}"` });
  await same({ path, body: "hello" });
  for (const body of [
    ...["[]", "null", "5", '"x"', "true", "{]", `{"key":5}`, `{"key":"!!"}`, `{"key":["${foo}"]}`, '{"key":"\ud800"}'],
    ...[`{"key":"${foo}","limit":"x"}`, `{"key":"${foo}","limit":1.5}`, `{"key":"${foo}","limit":9223372036854775808}`],
    ...[`{"key":"${foo}","limit":""}`, `{"key":"${foo}","limit":" 1"}`, `{"key":"${foo}","serializable":"true"}`],
    ...[`{"key":"${foo}","sort_order":{}}`, `{"key":"${foo}","limit":true}`, "[".repeat(100_000)],
  ]) {
    await same({ path, body }, refusalOnly);
  }
  for (const body of [
    ...[`{"key":"${foo}","limit":1e2}`, `{"key":"${foo}","limit":1.0}`, `{"key":"${foo}","sort_order":"NOPE"}`],
    ...[`{"key":"${foo}","sort_order":7}`, `{"key":"Zm-_"}`, `{"key":"Zm9"}`],
    ...[`{"key":"${foo}","limit":null}`, `{"key":"${foo}","revision":-1}`, `\n\t {"key":"${foo}"}`],
    `{"key":"${foo}","max_mod_revision":9223372036854775807}`,
  ]) {
    await same({ path, body });
  }
  for (const method of ["GET", "PUT", "DELETE", "PATCH"]) await same({ path, method, body: "{}" });
  const origin = ({ status, type }: Answer): Answer => ({ status, type, body: "" });
  await same({ path, method: "OPTIONS" }, origin);
  for (const other of [
    "/v3/",
    "/v3/nope",
    "/v3/kv/range/",
    "/v3/kv",
    "/v3beta/nope",
    "/v3alpha/kv/range",
    "/v2/keys",
  ]) {
    await same({ path: other, body: "{}" });
  }
  await same({ path: "/v3", body: "{}" }, origin);
  await same({ path: "/v3/kv/range?x=y", body: { key: foo } });
});

test("B1.1 large requests", { skip }, async () => {
  const value = (bytes: number) => ({ key: foo, value: Buffer.alloc(bytes, "x").toString("base64") });
  await same({ path: "/v3/kv/put", body: value(1_572_800) });
  await same({ path: "/v3/kv/put", body: value(1_600_000) });
  await same({ path: "/v3/kv/put", body: value(2_200_000) });
  await same({ path: "/v3/kv/put", body: value(10) });
});

test("authentication off, members, maintenance", { skip }, async () => {
  await same({ path: "/v3/auth/authenticate", body: { name: "a", password: "b" }, headers: { authorization: "x" } });
  await same({ path: "/v3/auth/status", body: {} });
  await same({ path: "/v3/maintenance/alarm", body: {} });
  await same({ path: "/v3/election/leader", body: { name: b64("nobody") } });
  await same({ path: "/v3/election/proclaim", body: {} });
  await same({ path: "/v3/lock/lock", body: { name: b64("l"), lease: "4" } });
  const shape = ({ status, type, body }: Answer): Answer => ({
    status,
    type,
    body: Object.keys(body as object).sort(),
  });
  // A quota that is not set is none here, and left out: etcd has one of 2 GiB then.
  await same({ path: "/v3/maintenance/status", body: {} }, ({ body, ...rest }) =>
    shape({ ...rest, body: { ...(body as object), dbSizeQuota: "*" } }),
  );
  await same({ path: "/v3/cluster/member/list", body: {} }, shape);
});

test("every path of the gateway answers where etcd answers, with the same status", { skip }, async () => {
  const answered = new Map<string, number>();
  for (const { httpPaths, kind } of gatewayMethods) {
    for (const path of httpPaths) {
      // Branches are not etcd's.
      if (path.startsWith("/t4/")) continue;
      // What changes the whole server, or never ends by itself, is asked for by other tests.
      if (/enable$|snapshot|observe|campaign|lock\/lock|member\/(add|remove)|transfer|watch|defragment/.test(path))
        continue;
      const headers = kind === "unary" ? {} : { "grpc-timeout": "500m" };
      const answer = await same({ path, body: "{}", headers }, ({ status, type }) => ({ status, type, body: "" }));
      answered.set(path, answer.status);
      await same({ path, body: "{]" }, ({ status }) => ({
        status: path.endsWith("keepalive") ? 0 : status,
        type: "",
        body: "",
      }));
      await same({ path, method: "GET" });
    }
  }
  ok(answered.size > 35, `${answered.size} paths`);
  equal(answered.get("/v3/kv/range"), 400);
});
