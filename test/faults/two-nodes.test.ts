import { equal, match, ok } from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Lease } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { noS3Server } from "../contract/s3-server.ts";
import { FaultClient, show, texts, UNAVAILABLE } from "./client.ts";
import { Ledger } from "./ledger.ts";
import type { ServerProcess } from "./server.ts";
import { eventually, httpGet, metric, World } from "./world.ts";

/** The term, the margin, a challenger's look each second, the log taken over; and a busy machine. */
const TAKEOVER_MS_MAX = 3000 + 500 + 1000 + 5000;
/** A challenger's look each second, one round trip, and a busy machine; the term of who stops is longer. */
const HANDOVER_MS_MAX = 1000 + 7000;

const object = ["--durability=object", "--request-timeout=2s"];
const terms = { first: 3, second: 10 };

/** A leader, and a node that stands by and says so. */
async function pair(world: World): Promise<{ first: ServerProcess; second: ServerProcess }> {
  const first = await world.server("first", [...object, "--name=first", `--session-term=${terms.first}s`]);
  await first.start();
  const second = await world.server("second", [...object, "--name=second", `--session-term=${terms.second}s`]);
  second.launch();
  await standsBy(second, "first");
  return { first, second };
}

async function standsBy(server: ServerProcess, leader: keyof typeof terms): Promise<void> {
  const line = await server.untilLogged(
    new RegExp(`another node leads, standing by .*node=${leader} +session=[0-9a-f]{16}-`),
  );
  match(line, /info .*standing by until it stops, or its session is not renewed for \d+\.5 s/);
  ok(line.includes(` not renewed for ${terms[leader]}.5 s`), line);
  equal((await httpGet(server, "/readyz")).status, 503);
  equal((await httpGet(server, "/livez")).status, 200);
  equal(await metric(server, "etcd_server_has_leader"), 0);
  const status = await httpGet(server, "/t4/status");
  equal(status.status, 503);
  match(status.body, new RegExp(`branch main: node ${leader} leads, standing by until`));
}

async function write(ledger: Ledger, server: ServerProcess, count: number): Promise<void> {
  const client = new FaultClient(server.endpoint);
  for (let n = 0; n < count; n++) {
    const put = await ledger.put(client, `k${n % 3}`);
    ok(put.ok, show(put));
  }
  await client.close();
}

async function crash(t: TestContext): Promise<void> {
  await using world = await World.create("s3");
  const { first, second } = await pair(world);
  const ledger = new Ledger();
  await write(ledger, first, 10);
  const killedMs = performance.now();
  await first.stop("SIGKILL");
  await second.untilHealthy(TAKEOVER_MS_MAX);
  t.diagnostic(`the second serves ${(performance.now() - killedMs).toFixed(0)} ms after kill -9 of the first`);
  await write(ledger, second, 5);
  await ledger.verify(second.endpoint);
  ok((await metric(second, "t4_epoch"))! > 1);
  // Back again, the first stands by; a clean stop of the leader lets it take over at once.
  first.launch();
  await standsBy(first, "second");
  const stoppedMs = performance.now();
  equal(await second.stop("SIGTERM"), 0, second.errors);
  const gone = performance.now();
  await first.untilHealthy(HANDOVER_MS_MAX);
  const total = (performance.now() - stoppedMs).toFixed(0);
  t.diagnostic(`${total} ms after SIGTERM of the leader, ${(performance.now() - gone).toFixed(0)} ms after its end`);
  await write(ledger, first, 5);
  await ledger.verify(first.endpoint);
}

async function stall(t: TestContext): Promise<void> {
  await using world = await World.create("s3");
  const { first, second } = await pair(world);
  const ledger = new Ledger();
  await write(ledger, first, 5);
  const client = new FaultClient(first.endpoint);
  ok((await client.get("k0")).ok);
  const watch = await client.watch(1);
  const stalledMs = performance.now();
  first.signal("SIGSTOP");
  await second.untilHealthy(TAKEOVER_MS_MAX);
  t.diagnostic(`the second serves ${(performance.now() - stalledMs).toFixed(0)} ms after the first was stalled`);
  await write(ledger, second, 5);
  // These lie in the first one's socket when it wakes: it must not answer them as if it still led.
  const put = ledger.put(client, "k0");
  const read = client.get("k0");
  const lease = client.call(Lease.method.leaseLeases, {});
  await sleep(300);
  first.signal("SIGCONT");
  for (const outcome of await Promise.all([put, read, lease])) {
    ok(!outcome.ok && outcome.code === UNAVAILABLE, show(outcome));
    match(outcome.text, /^etcdserver: (no leader|request timed out)/, show(outcome));
  }
  // From now on.
  for (let n = 0; n < 20; n++) {
    const [late, put] = await Promise.all([client.get("k0"), ledger.put(client, "k1")]);
    ok(!late.ok && late.text === texts.noLeader, show(late));
    ok(!put.ok && put.code === UNAVAILABLE, show(put));
    await sleep(50);
  }
  await standsBy(first, "second");
  match(first.errors, /error .*the branch's leadership has ended, it is opened anew/);
  const ended = await watch.ended;
  t.diagnostic(`the watch on the deposed leader ended with ${ended?.message}`);
  await write(ledger, second, 5);
  await ledger.verify(second.endpoint);
  await client.close();
  // One that stands by stops at once.
  first.signal("SIGTERM");
  const stopped = await first.untilEnded(3000);
  equal(stopped.code, 0, first.errors);
  equal(await second.stop("SIGTERM"), 0, second.errors);
}

/** Who is proven when the store is back, nobody knows before; but never both, and nothing acknowledged is lost. */
async function outage(t: TestContext): Promise<void> {
  await using world = await World.create("s3");
  const { first, second } = await pair(world);
  const ledger = new Ledger();
  await write(ledger, first, 5);
  const clients = [first, second].map((server) => new FaultClient(server.endpoint));
  await world.s3.kill();
  const begunMs = performance.now();
  while (performance.now() < begunMs + 6000) {
    const put = await ledger.put(clients[0]!, "k0");
    ok(!put.ok && put.code === UNAVAILABLE, show(put));
  }
  equal((await httpGet(first, "/readyz")).status, 503);
  await world.s3.start();
  const leader = await eventually(
    "a leader after the outage",
    20_000,
    () => proven(clients),
    (n) => n !== null,
  );
  const [serving, other] = leader.answer === 0 ? [first, second] : [second, first];
  t.diagnostic(`the ${leader.answer === 0 ? "first" : "second"} serves ${leader.ms.toFixed(0)} ms after the outage`);
  await write(ledger, serving, 5);
  equal((await httpGet(other, "/readyz")).status, 503);
  await ledger.verify(serving.endpoint);
  for (const client of clients) await client.close();
}

/** The one that answers linearizable reads; null if none does. */
async function proven(clients: readonly FaultClient[]): Promise<number | null> {
  const answered = await Promise.all(clients.map(async (client) => (await client.get("k0")).ok));
  ok(answered.filter(Boolean).length < 2, "two nodes are proven to lead at once");
  return answered.includes(true) ? answered.indexOf(true) : null;
}

describe("two nodes on one store", { concurrency: 3, skip: noS3Server }, () => {
  test("kill -9 of the leader, and a clean stop: the other takes over", { timeout: 90_000 }, crash);
  test("a leader that stalls beyond its term is deposed", { timeout: 90_000 }, stall);
  test("an outage of the store with another node standing by", { timeout: 90_000 }, outage);
});
