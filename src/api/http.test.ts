import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { DbError } from "../base/errors.ts";
import type { Database, RangeRequest } from "../engine/engine.ts";
import { etcdHttp } from "./http.ts";

let met: DbError | null = null;
let failure: { serializable?: DbError; linearizable?: DbError } = {};
let alarms: { memberId: bigint; type: number }[] = [];
const database = {
  maintenance: {
    get alarms() {
      return alarms;
    },
  },
  range(request: RangeRequest) {
    const error = request.serializable ? failure.serializable : failure.linearizable;
    if (error !== undefined) throw error;
    return { kind: "range", rows: [] };
  },
} as unknown as Database;

const handler = etcdHttp({
  database: () => database,
  metrics: async () => "up 1\n",
  contentTypeOfMetrics: "text/plain; version=0.0.4; charset=utf-8",
  version: "0.1.0",
  corruption: () => met,
});

async function ask(target: string, method = "GET"): Promise<[status: number, body: string]> {
  const request = { method, target, headers: new Map(), body: Buffer.alloc(0), remoteAddress: "" };
  const { status, body } = await handler(request);
  return [status, String(body)];
}

const proof = new DbError("noLeader", "the term has ended");

test("B2.1 /health", async () => {
  failure = {};
  deepEqual(await ask("/health"), [200, '{"health":"true","reason":""}']);
  failure = { linearizable: proof };
  deepEqual(await ask("/health"), [503, '{"health":"false","reason":"RAFT NO LEADER"}']);
  deepEqual(await ask("/health?serializable=true"), [200, '{"health":"true","reason":""}']);
  failure = { linearizable: new DbError("timeout") };
  deepEqual(await ask("/health"), [503, '{"health":"false","reason":"RANGE ERROR:etcdserver: request timed out"}']);
  deepEqual(await ask("/health", "POST"), [405, "Method Not Allowed\n"]);
});

test("B2.1 B2.2 alarms", async () => {
  failure = {};
  alarms = [{ memberId: 1n, type: 1 }];
  deepEqual(await ask("/health"), [503, '{"health":"false","reason":"ALARM NOSPACE"}']);
  deepEqual(await ask("/health?exclude=NOSPACE"), [200, '{"health":"true","reason":""}']);
  equal((await ask("/readyz"))[0], 200);
  alarms = [...alarms, { memberId: 1n, type: 2 }];
  deepEqual(await ask("/health?exclude=NOSPACE"), [503, '{"health":"false","reason":"ALARM CORRUPT"}']);
  deepEqual(await ask("/health?exclude=NOSPACE&exclude=CORRUPT"), [200, '{"health":"true","reason":""}']);
  deepEqual(await ask("/readyz/data_corruption"), [503, "[-]data_corruption failed: alarm activated: CORRUPT\n"]);
  equal((await ask("/livez"))[0], 200);
  alarms = [];
});

test("B2.2 /livez and /readyz", async () => {
  failure = {};
  deepEqual(await ask("/livez"), [200, "ok\n"]);
  deepEqual(await ask("/livez?verbose"), [200, "[+]serializable_read ok\nok\n"]);
  const all = ["data_corruption", "serializable_read", "linearizable_read", "non_learner"];
  deepEqual(await ask("/readyz?verbose"), [200, `${all.map((name) => `[+]${name} ok\n`).join("")}ok\n`]);
  deepEqual(await ask("/readyz/linearizable_read?verbose"), [200, "[+]linearizable_read ok\nok\n"]);
  equal((await ask("/livez/linearizable_read"))[0], 404);
  failure = { linearizable: proof };
  equal((await ask("/livez"))[0], 200);
  const [status, body] = await ask("/readyz");
  equal(status, 503);
  equal(body.includes("[-]linearizable_read failed: etcdserver: no leader\n"), true);
  equal((await ask("/readyz?exclude=linearizable_read"))[0], 200);
  failure = { serializable: new DbError("corrupt", "sst/x") };
  equal((await ask("/readyz/data_corruption"))[0], 503);
});

test("alive while nobody leads, as a restart would mend nothing; not ready", async () => {
  failure = { linearizable: proof, serializable: proof };
  deepEqual(await ask("/livez"), [200, "ok\n"]);
  equal((await ask("/readyz"))[0], 503);
  failure = { serializable: new DbError("diskFailed") };
  equal((await ask("/livez"))[0], 503);
});

test("a corrupt object that a call has met is told of, also when the check's own read does not meet it", async () => {
  failure = {};
  met = new DbError("corrupt", "object sst/1: wrong checksum");
  const told = "[-]data_corruption failed: etcdserver: corrupt cluster: object sst/1: wrong checksum\n";
  deepEqual(await ask("/readyz/data_corruption"), [503, told]);
  met = null;
});

test("B2.3 B2.4 B2.6 /version, /metrics, and what is not there", async () => {
  const [status, body] = await ask("/version");
  equal(status, 200);
  deepEqual(JSON.parse(body), { etcdserver: "3.6.16", etcdcluster: "3.6.0", storage: "3.6.0", t4: "0.1.0" });
  deepEqual(await ask("/metrics"), [200, "up 1\n"]);
  for (const target of ["/", "/v2/keys", "//", "/healthz", "*", ""]) {
    deepEqual(await ask(target), [404, "404 page not found\n"], target);
  }
});
