import { deepEqual, equal, match, notEqual, ok } from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Lease } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { noS3Server, type S3Server } from "../contract/s3-server.ts";
import { FaultClient, type Outcome, show, texts, UNAVAILABLE } from "./client.ts";
import { Ledger, promised } from "./ledger.ts";
import { root, type ServerProcess } from "./server.ts";
import { eventually, httpGet, metric, World } from "./world.ts";

const TERM_MS = 3000;
const OUTAGE_MS = 8000;
const REQUEST_TIMEOUT_MS = 1000;
/** What a busy machine adds to what takes no time. */
const SLACK_MS = 4000;

type Outage = {
  name: string;
  begin: (s3: S3Server) => Promise<void> | void;
  end: (s3: S3Server) => Promise<void> | void;
};

const outages: Outage[] = [
  { name: "the store accepts and does not answer", begin: (s3) => s3.pause(), end: (s3) => s3.resume() },
  { name: "the store refuses connections", begin: (s3) => s3.kill(), end: (s3) => s3.start() },
];

/** What `t4 status` prints, with its exit code. */
async function statusOf(server: ServerProcess): Promise<{ code: number; text: string }> {
  const run = promisify(execFile)(join(root, "bin/t4"), ["status", "--endpoints", server.endpoint]);
  return run.then(
    ({ stdout, stderr }) => ({ code: 0, text: stdout + stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({
      code: error.code,
      text: error.stdout + error.stderr,
    }),
  );
}

const isNoLeader = (outcome: Outcome<unknown>): boolean => !outcome.ok && outcome.text === texts.noLeader;

async function mustPut(ledger: Ledger, client: FaultClient, key: string): Promise<void> {
  const outcome = await ledger.put(client, key);
  ok(outcome.ok, `a put of ${key}: ${show(outcome)}`);
}

async function objectOutage(t: TestContext, outage: Outage, proof: "term" | "bucket"): Promise<void> {
  await using world = await World.create("s3");
  const args = ["--durability=object", `--read-proof=${proof}`, "--session-term=3s", "--request-timeout=1s"];
  const server = await world.server("data", args);
  await server.start();
  const client = new FaultClient(server.endpoint);
  const ledger = new Ledger();
  for (const key of ["a", "b", "c"]) await mustPut(ledger, client, key);
  const granted = await client.call(Lease.method.leaseGrant, { TTL: 4n });
  ok(granted.ok);
  const leased = { key: Buffer.from("leased"), value: Buffer.from("1"), lease: granted.answer.ID };
  ok((await client.putWith(leased)).ok);
  const watch = await client.watch(1);

  const begunMs = performance.now();
  await outage.begin(world.s3);
  // A write is told in time that its outcome is not known.
  const put = await ledger.put(client, "d");
  deepEqual([put.ok, !put.ok && put.code, !put.ok && put.text], [false, UNAVAILABLE, texts.timeout]);
  ok(put.ms >= REQUEST_TIMEOUT_MS * 0.9 && put.ms < REQUEST_TIMEOUT_MS + SLACK_MS, `answered after ${put.ms} ms`);
  // The term was counted from before its last renewal was sent.
  await sleep(Math.max(0, begunMs + TERM_MS + 100 - performance.now()));
  deepEqual(await refusals(client), [texts.noLeader, texts.noLeader, texts.noLeader]);
  await duringOutage(server, client);
  while (performance.now() < begunMs + OUTAGE_MS) {
    const late = await ledger.put(client, "e");
    equal(promised(late), "unknown", show(late));
    ok(isNoLeader(await client.get("a")));
    ok((await client.get("a", "serializable")).ok);
  }

  await outage.end(world.s3);
  const endedMs = performance.now();
  const writes = await eventually(
    "a put after the outage",
    10_000,
    () => ledger.put(client, "f"),
    (put) => put.ok,
  );
  const reads = await eventually(
    "a read after the outage",
    10_000,
    () => client.get("f"),
    (get) => get.ok,
  );
  const ready = await eventually(
    "readiness",
    10_000,
    () => httpGet(server, "/readyz"),
    ({ status }) => status === 200,
  );
  equal(ready.answer.body, "ok\n");
  t.diagnostic(
    `outage of ${(endedMs - begunMs).toFixed(0)} ms: writes back after ${writes.ms.toFixed(0)} ms, reads after ` +
      `${(writes.ms + reads.ms).toFixed(0)} ms; ${ledger.acknowledged} acknowledged, ${ledger.unknown} unknown`,
  );
  equal(await metric(server, "t4_epoch"), 1, "an outage longer than the term deposes nobody");
  equal(await metric(server, "t4_log_upload_delay_seconds"), 0);
  // The lease, of 4 s, outlived the outage and has its full time again.
  const left = await client.call(Lease.method.leaseTimeToLive, { ID: granted.answer.ID });
  ok(left.ok && left.answer.TTL >= 1n, show(left));
  await ledger.verify(server.endpoint);
  const seen = await eventually(
    "what the watch saw",
    5000,
    () => watch.events.length,
    (count) => count > ledger.acknowledged,
  );
  ok(seen.answer <= ledger.acknowledged + ledger.unknown + 2);
  await server.untilLogged(/warn .*the store does not take the log: writes wait/);
  await server.untilLogged(/warn .*leadership is not proven: linearizable reads are answered Unavailable/);
  await server.untilLogged(/info .*the store takes the log again/);
  await server.untilLogged(/info .*leadership is proven again/);
  await client.close();
  equal(await server.stop("SIGTERM"), 0, server.errors);
}

/** The texts of all that needs the proof of leading. */
async function refusals(client: FaultClient): Promise<(string | null)[]> {
  const outcomes = await Promise.all([
    client.get("a"),
    client.call(Lease.method.leaseLeases, {}),
    client.call(Lease.method.leaseTimeToLive, { ID: 1n }),
  ]);
  return outcomes.map((outcome) => (outcome.ok ? null : outcome.text));
}

/** Serializable reads and watches go on, and whoever asks is told the truth. */
async function duringOutage(server: ServerProcess, client: FaultClient): Promise<void> {
  const read = await client.get("a", "serializable");
  equal(read.ok && read.answer.kvs.length, 1);
  const watch = await client.watch(2);
  await eventually(
    "the history, by a watch begun in the outage",
    5000,
    () => watch.events.length,
    (n) => n >= 4,
  );
  watch.cancel();
  deepEqual(await httpGet(server, "/health"), { status: 503, body: '{"health":"false","reason":"RAFT NO LEADER"}' });
  const ready = await httpGet(server, "/readyz");
  equal(ready.status, 503);
  match(ready.body, /\[\+\]serializable_read ok\n\[-\]linearizable_read failed: etcdserver: no leader/);
  equal((await httpGet(server, "/livez")).status, 200);
  equal(await metric(server, "etcd_server_has_leader"), 0);
  equal(await metric(server, "etcd_server_is_leader"), 0);
  notEqual(await metric(server, "etcd_server_proposals_pending"), 0);
  ok((await metric(server, "t4_log_upload_delay_seconds"))! > 1);
  const status = await statusOf(server);
  equal(status.code, 0, "a server in trouble answers");
  match(status.text, /error +etcdserver: no leader/);
  match(status.text, /error +(session .* could not be renewed in time|the leader record could not be read)/);
  match(status.text, /error +.*log\/0{10}/);
}

const UPLOAD_BYTES_MAX = 2 << 20;
const FILLER = 200_000;
const local = ["--durability=local", "--session-term=3s", "--upload-bytes=256KiB", "--upload-bytes-max=2MiB"];

async function localOutage(t: TestContext): Promise<void> {
  await using world = await World.create("s3");
  const server = await world.server("data", local);
  await server.start();
  const client = new FaultClient(server.endpoint);
  const ledger = new Ledger();
  await mustPut(ledger, client, "a");

  const begunMs = performance.now();
  world.s3.pause();
  while (performance.now() < begunMs + TERM_MS + 2000) {
    await mustPut(ledger, client, "a");
    ok((await client.get("a")).ok, "linearizable reads go on");
    await sleep(100);
  }
  equal((await httpGet(server, "/health")).status, 200);
  equal((await httpGet(server, "/readyz")).status, 200);
  ok((await metric(server, "t4_log_upload_delay_seconds"))! > 3);
  ok((await metric(server, "t4_log_upload_pending_bytes"))! > 100);
  const status = await statusOf(server);
  match(status.text, /upload +.* pending, ([3-9]|\d\d)\.\d s behind/);
  match(status.text, /error +.*log\/0{19}\d in s3:.*: no answer for \d/);
  const puts = () => ledger.put(client, "b", FILLER);
  const refusal = await eventually("a refusal at the bound", 20_000, puts, (put) => !put.ok);
  const { answer } = refusal;
  ok(!answer.ok && answer.code === UNAVAILABLE);
  match(answer.text, /^t4: the object store does not answer: \d+ bytes wait to be uploaded, limit 2097152: branch/);
  const pending = (await metric(server, "t4_log_upload_pending_bytes"))!;
  ok(pending >= UPLOAD_BYTES_MAX && pending < UPLOAD_BYTES_MAX + 2 * FILLER, `${pending} bytes pending`);
  ok((await client.get("b")).ok, "reads go on");
  await sleep(Math.max(0, begunMs + OUTAGE_MS - performance.now()));

  world.s3.resume();
  const writes = await eventually(
    "a put after the outage",
    10_000,
    () => ledger.put(client, "c"),
    (put) => put.ok,
  );
  const pendingBytes = () => metric(server, "t4_log_upload_pending_bytes");
  const uploaded = await eventually("everything is uploaded", 15_000, pendingBytes, (bytes) => bytes === 0);
  t.diagnostic(`writes back after ${writes.ms.toFixed(0)} ms, all uploaded ${uploaded.ms.toFixed(0)} ms later`);
  equal(await metric(server, "t4_epoch"), 1);
  await ledger.verify(server.endpoint);
  await server.untilLogged(/warn .*the store does not take the log: writes go on, kept on this disk/);
  await server.untilLogged(/info .*the store takes the log again/);
  await client.close();
  equal(await server.stop("SIGTERM"), 0, server.errors);
}

/** What only the disk has survives a crash in the outage, and a start that comes before the store is back. */
async function crashInOutage(t: TestContext): Promise<void> {
  await using world = await World.create("s3");
  const server = await world.server("data", local);
  await server.start();
  const before = new FaultClient(server.endpoint);
  const ledger = new Ledger();
  for (let n = 0; n < 5; n++) await mustPut(ledger, before, "a");
  await world.s3.kill();
  for (let n = 0; n < 20; n++) await mustPut(ledger, before, "b");
  await before.close();
  await server.stop("SIGKILL");

  server.launch();
  await server.untilLogged(/warn .*the start waits for the store's answer +store="s3:/);
  const client = new FaultClient(server.endpoint);
  equal((await httpGet(server, "/livez")).status, 200, "a restart would mend nothing");
  equal((await httpGet(server, "/readyz")).status, 503);
  equal((await httpGet(server, "/health")).status, 503);
  equal((await httpGet(server, "/metrics")).status, 200);
  ok(isNoLeader(await ledger.put(client, "c")));
  ok(isNoLeader(await client.get("a")));
  ok(isNoLeader(await client.get("a", "serializable")), "nothing can be read before the bucket was");
  const status = await statusOf(server);
  equal(status.code, 1);
  match(status.text, /etcdserver: no leader \(.*the store has not answered yet|no leader \(.*ECONNREFUSED/);

  // Longer than any request is tried.
  await server.untilLogged(/warn .*the store does not answer, the start waits for it +why=.*ECONNREFUSED/, 20_000);

  await world.s3.start();
  const backMs = performance.now();
  await server.untilHealthy(20_000);
  t.diagnostic(`serves ${(performance.now() - backMs).toFixed(0)} ms after the store came back`);
  await server.untilLogged(/uploading what only the local log has/);
  await mustPut(ledger, client, "d");
  await ledger.verify(server.endpoint);
  await client.close();
  equal(await server.stop("SIGTERM"), 0, server.errors);
}

describe("an outage of the store", { concurrency: 3, skip: noS3Server }, () => {
  for (const outage of outages) {
    test(`object: ${outage.name}`, { timeout: 90_000 }, (t) => objectOutage(t, outage, "term"));
  }
  const [stall] = outages;
  test(`object, reads proven by the bucket: ${stall!.name}`, { timeout: 90_000 }, (t) =>
    objectOutage(t, stall!, "bucket"),
  );
  test("local: writes go on up to the bound", { timeout: 90_000 }, localOutage);
  test("local: kill -9 in an outage, restart before its end", { timeout: 90_000 }, crashInOutage);
});
