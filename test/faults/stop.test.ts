import { equal, match, ok } from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { noS3Server } from "../contract/s3-server.ts";
import { FaultClient, show, texts, UNAVAILABLE } from "./client.ts";
import { Ledger } from "./ledger.ts";
import { httpGet, metric, World } from "./world.ts";

const WRITERS = 8;
/** On a busy machine; who waits for the store does so for --stop-timeout, 20 s. */
const AT_ONCE_MS_MAX = 5000;

/** Writers that go on until they are told otherwise; each waits for its answer, so none may hang. */
async function writeUntil(ledger: Ledger, endpoint: string, stopped: () => boolean): Promise<void> {
  const client = new FaultClient(endpoint);
  for (let n = 0; !stopped(); n++) {
    const put = await ledger.put(client, `w${n % 10}`);
    ok(put.ok || put.code === UNAVAILABLE, show(put));
    if (!put.ok) await sleep(20);
  }
  await client.close();
}

/** SIGTERM under load: exit 0, and the bucket alone has everything that was acknowledged. */
async function stopUnderLoad(t: TestContext, store: "s3" | "directory", durability: "object" | "local"): Promise<void> {
  await using world = await World.create(store);
  const server = await world.server("data", [`--durability=${durability}`]);
  await server.start();
  const ledger = new Ledger();
  let stopped = false;
  const writers = Array.from({ length: WRITERS }, () => writeUntil(ledger, server.endpoint, () => stopped));
  const watcher = new FaultClient(server.endpoint);
  const watch = await watcher.watch(1);
  await sleep(1000);
  const acknowledged = ledger.acknowledged;
  server.signal("SIGTERM");
  const ended = await server.untilEnded(20_000);
  equal(ended.code, 0, server.errors);
  stopped = true;
  const hangingMs = performance.now();
  await Promise.all(writers);
  ok(performance.now() - hangingMs < 5000, "no call hangs");
  const failure = await watch.ended;
  ok(failure !== null && failure.code === UNAVAILABLE, `the watch ended with ${failure?.message}`);
  await watcher.close();
  match(server.errors, /info .*stopping +signal=SIGTERM\n.*info .*checkpoint written .*\n.*info .*stopped\n$/);
  t.diagnostic(
    `${durability} on ${store}: stopped after ${ended.ms.toFixed(0)} ms; ${ledger.acknowledged} acknowledged, ` +
      `${ledger.acknowledged - acknowledged} of them after the signal, ${ledger.unknown} unknown`,
  );
  // Another disk needs neither force nor a wait after a clean stop.
  const other = await world.server("other");
  const startMs = await other.start();
  t.diagnostic(`another disk serves after ${startMs.toFixed(0)} ms`);
  await ledger.verify(other.endpoint);
  ok(watch.events.length <= ledger.acknowledged + ledger.unknown);
}

/** The bucket is away: a stop is bounded and says what is left; nothing acknowledged is lost. */
async function stopInOutage(t: TestContext): Promise<void> {
  await using world = await World.create("s3");
  const server = await world.server("data", ["--durability=local", "--stop-timeout=2s"]);
  await server.start();
  const client = new FaultClient(server.endpoint);
  const ledger = new Ledger();
  ok((await ledger.put(client, "a")).ok);
  world.s3.pause();
  for (let n = 0; n < 10; n++) ok((await ledger.put(client, "b")).ok);
  await client.close();
  server.signal("SIGTERM");
  const ended = await server.untilEnded(20_000);
  equal(ended.code, 1, server.errors);
  ok(ended.ms < 2000 + 3000 + 3000, `${ended.ms} ms`);
  match(server.errors, /error stopped, but not cleanly: the next start does what was left +why="\d+ records/);
  match(server.errors, /\(\d+ bytes\) are not in the store: those acknowledged are on this disk, and the next start/);
  t.diagnostic(`stopped in an outage after ${ended.ms.toFixed(0)} ms`);
  world.s3.resume();
  const startMs = await server.start();
  t.diagnostic(`started again after ${startMs.toFixed(0)} ms`);
  await ledger.verify(server.endpoint);
  equal(await server.stop("SIGTERM"), 0, server.errors);
}

async function stopObjectInOutage(t: TestContext): Promise<void> {
  await using world = await World.create("s3");
  const args = ["--durability=object", "--stop-timeout=2s", "--request-timeout=1s"];
  const server = await world.server("data", args);
  await server.start();
  const client = new FaultClient(server.endpoint);
  const ledger = new Ledger();
  ok((await ledger.put(client, "a")).ok);
  await world.s3.kill();
  const pending = ledger.put(client, "b");
  await sleep(200);
  server.signal("SIGTERM");
  const put = await pending;
  ok(!put.ok && put.code === UNAVAILABLE, show(put));
  const ended = await server.untilEnded(20_000);
  equal(ended.code, 1, server.errors);
  ok(ended.ms < 2000 + 3000 + 3000, `${ended.ms} ms`);
  match(
    server.errors,
    /error stopped, but not cleanly: .*records \(\d+ bytes\) are not in the store: they were not ack/,
  );
  t.diagnostic(`object: stopped in an outage after ${ended.ms.toFixed(0)} ms; the pending put: ${show(put)}`);
  await client.close();
  await world.s3.start();
  await server.start();
  await ledger.verify(server.endpoint);
}

/** A second signal ends it at once, whatever the first one waits for. */
async function secondSignal(t: TestContext): Promise<void> {
  await using world = await World.create("s3");
  const server = await world.server("data", ["--durability=local"]);
  await server.start();
  const client = new FaultClient(server.endpoint);
  const ledger = new Ledger();
  ok((await ledger.put(client, "a")).ok);
  world.s3.pause();
  ok((await ledger.put(client, "b")).ok);
  server.signal("SIGTERM");
  await server.untilLogged(/stopping/);
  const late = await ledger.put(client, "c");
  ok(!late.ok && late.code === UNAVAILABLE && late.text !== texts.timeout, show(late));
  await sleep(500);
  ok(server.isRunning, "it waits for the store");
  server.signal("SIGTERM");
  const ended = await server.untilEnded(20_000);
  equal(ended.code, 1, server.errors);
  ok(ended.ms < AT_ONCE_MS_MAX, `${ended.ms} ms`);
  match(server.errors, /warn .*stopped at once, by a second signal/);
  t.diagnostic(`a second signal: ${ended.ms.toFixed(0)} ms; a put after the first: ${show(late)}`);
  await client.close();
  world.s3.resume();
  await server.start();
  await ledger.verify(server.endpoint);
}

/** SIGTERM before the start has come to its end. */
async function stopWhileStarting(t: TestContext): Promise<void> {
  await using world = await World.create("s3");
  await world.s3.kill();
  const server = await world.server("data");
  server.launch();
  await server.untilLogged(/the start waits for the store's answer/);
  equal((await httpGet(server, "/readyz")).status, 503);
  equal(await metric(server, "etcd_server_has_leader"), 0);
  server.signal("SIGTERM");
  const ended = await server.untilEnded(20_000);
  equal(ended.code, 0, server.errors);
  ok(ended.ms < AT_ONCE_MS_MAX, `${ended.ms} ms`);
  t.diagnostic(`stopped while it waited for the store: ${ended.ms.toFixed(0)} ms`);
}

const limit = { timeout: 60_000 };

describe("stopping", { concurrency: 2 }, () => {
  test("under load, local in a directory", limit, (t) => stopUnderLoad(t, "directory", "local"));
  test("under load, object on S3", { ...limit, skip: noS3Server }, (t) => stopUnderLoad(t, "s3", "object"));
  test("with the store away, local", { ...limit, skip: noS3Server }, stopInOutage);
  test("with the store away, object", { ...limit, skip: noS3Server }, stopObjectInOutage);
  test("by a second signal", { ...limit, skip: noS3Server }, secondSignal);
  test("while starting", { ...limit, skip: noS3Server }, stopWhileStarting);
});
