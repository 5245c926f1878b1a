import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { put } from "../../../test/engine/requests.ts";
import { DbError } from "../../base/errors.ts";
import { leaseId, type ObjectKey } from "../../base/ids.ts";
import { decodeSegment } from "../../log/segment-codec.ts";
import { type FaultPlan, FaultyStore } from "../../objects/faulty.ts";
import { MemoryBucket, MemoryStore } from "../../objects/memory.ts";
import { createNodeRuntime } from "../../runtime/node.ts";
import { decodeRecord, recordKinds } from "../record.ts";
import { defaultHostSettings } from "./default-settings.ts";
import { Host } from "./host.ts";
import { noNotices } from "./notices.ts";
import type { BranchSettings } from "./open-branch.ts";

const runtime = createNodeRuntime();
const noFaults: FaultPlan = () => null;
const soon = () => AbortSignal.timeout(5000);

/** A node on a bucket; with a directory of its own where it is told a durability of `local`. */
async function openNode(
  bucket: MemoryBucket,
  options: {
    name: string;
    leadership?: Partial<BranchSettings["leadership"]>;
    directory?: string;
    bounds?: { uploadBytesMax?: number; callsMax?: number };
  },
) {
  const faults = { plan: noFaults };
  const store = new FaultyStore(new MemoryStore(runtime, bucket), runtime, (call) => faults.plan(call));
  const settings = defaultHostSettings(store);
  const { branch, session } = settings;
  const term = { termMs: 1000, renewalMs: 300 };
  const host = await Host.open({
    ...settings,
    runtime,
    store,
    name: options.name,
    dataDirectory: options.directory ?? null,
    session: { ...session, alone: term, challenged: term, marginMs: 100 },
    branch: {
      ...branch,
      leadership: { ...branch.leadership, durability: "object", ...options.leadership },
      log: { ...branch.log, ...options.bounds },
      engine: { ...branch.engine, ...options.bounds },
    },
    notices: noNotices,
  });
  return { host, faults, branch: await host.serve("main") };
}

test("a branch is held once by a process, and every close waits for its end", async () => {
  const bucket = new MemoryBucket();
  const { host, branch } = await openNode(bucket, { name: "one" });
  equal(await host.serve("main"), branch);
  await branch.opened();
  await branch.database.put(put("k"));
  const closes = [branch.close(soon()), branch.close(soon()), host.close(soon())];
  await closes[1];
  // Released: nobody waits for the term.
  const next = await openNode(bucket, { name: "two" });
  await next.branch.opened();
  equal(next.branch.database.committed, 2);
  await Promise.all(closes);
  await rejects(host.serve("other"), { kind: "stopped" });
  await next.host.close(soon());
});

test("the end of a branch gives up a checkpoint that the store does not take", async () => {
  const { host, faults, branch } = await openNode(new MemoryBucket(), { name: "one" });
  await branch.opened();
  await branch.database.put(put("k"));
  faults.plan = ({ operation, key }) => (operation === "put" && key.startsWith("sst/") ? { kind: "hang" } : null);
  const checkpoint = branch.checkpoint();
  await new Promise((resolve) => setTimeout(resolve, 50));
  await host.close(soon());
  await checkpoint;
});

test("a checkpoint asked for while one is being written holds what was written before it was asked for", async () => {
  const { host, faults, branch } = await openNode(new MemoryBucket(), { name: "one" });
  await branch.opened();
  await branch.database.put(put("k"));
  faults.plan = ({ operation, key }) =>
    operation === "put" && key.startsWith("sst/") ? { kind: "delay", delayMs: 50 } : null;
  const earlier = branch.checkpoint();
  await branch.database.put(put("l"));
  await branch.checkpoint();
  equal(branch.database.status().memtableBytes, 0);
  await earlier;
  await host.close(soon());
});

test("a store that refuses a checkpoint ends no branch", async () => {
  const bucket = new MemoryBucket();
  const { host, faults, branch } = await openNode(bucket, { name: "one" });
  await branch.opened();
  await branch.database.put(put("k"));
  const { epoch } = branch.database;
  faults.plan = ({ operation, key }) =>
    operation === "put" && key.startsWith("sst/") ? { kind: "refused", retryable: false } : null;
  await branch.checkpoint();
  equal(branch.failure, null);
  match(branch.database.status().errors.join(), /^no checkpoint can be written: .*sst\//);
  faults.plan = noFaults;
  await branch.checkpoint();
  deepEqual(branch.database.status().errors, []);
  equal(branch.database.epoch, epoch);
  ok(branch.database.status().checkpointSlot !== null);
  await host.close(soon());
});

test("a stop with a full log, and one at the bound of calls, log the release once there is room", async () => {
  for (const bounds of [{ uploadBytesMax: 4000 }, { callsMax: 5 }]) {
    const bucket = new MemoryBucket();
    const { host, faults, branch } = await openNode(bucket, { name: "one", bounds });
    await branch.opened();
    await branch.database.leaseGrant({ id: leaseId(7n), ttlSeconds: 1000n });
    faults.plan = ({ operation, key }) =>
      operation === "put" && key.includes("/log/") ? { kind: "errorBefore" } : null;
    const answers: Promise<unknown>[] = [];
    for (let n = 0; n < 20; n++) {
      const refused = (error: unknown) => ok(error instanceof DbError);
      answers.push(Promise.resolve(attempt(() => branch.database.put(put(`k${n}`, "x".repeat(1000))))).catch(refused));
    }
    const closed = host.close(soon());
    await new Promise((resolve) => setTimeout(resolve, 100));
    faults.plan = noFaults;
    await closed;
    await Promise.all(answers);
    const entries = [...bucket.entries].sort(([a], [b]) => (a < b ? -1 : 1));
    const [, leader] = entries.find(([key]) => key.endsWith("/leader"))!;
    match(leader.body.toString("latin1"), /"released":true/);
    const [key, last] = entries.findLast(([name]) => name.includes("/log/"))!;
    const record = decodeSegment(key as ObjectKey, last.body).records.at(-1)!;
    equal(decodeRecord(record).kind, recordKinds.leaseRelease);
  }
});

test("a stop is bounded by its signal, also while the release cannot be logged", async () => {
  const { host, faults, branch } = await openNode(new MemoryBucket(), { name: "one" });
  await branch.opened();
  faults.plan = ({ operation }) => (operation === "put" ? { kind: "errorBefore" } : null);
  const begunMs = performance.now();
  await rejects(host.close(AbortSignal.timeout(300)), { kind: "storeUnavailable" });
  const tookMs = performance.now() - begunMs;
  ok(tookMs < 3000, `${tookMs} ms`);
});

test("a takeover by force is ordered once: what is lost later is not taken back by itself", async (t) => {
  const bucket = new MemoryBucket();
  const local = { durability: "local" } as const;
  const first = await openNode(bucket, { name: "one", leadership: local, directory: directory(t) });
  await first.branch.opened();
  first.faults.plan = () => ({ kind: "errorBefore" });
  const forced = { ...local, forceTakeover: true };
  const second = await openNode(bucket, { name: "two", leadership: forced, directory: directory(t) });
  await second.branch.opened();
  second.faults.plan = () => ({ kind: "errorBefore" });
  const third = await openNode(bucket, { name: "three", leadership: forced, directory: directory(t) });
  await third.branch.opened();
  second.faults.plan = noFaults;
  for (let n = 0; n < 100 && second.branch.failure?.kind !== "storeRefused"; n++)
    await new Promise((resolve) => setTimeout(resolve, 50));
  match(second.branch.failure?.message ?? "", /may lead it\. .*--force-takeover/);
  for (const { host } of [third, second, first])
    await host.close(soon()).catch((error) => ok(error instanceof DbError));
});

/** What is thrown as a rejection. */
async function attempt<T>(run: () => T): Promise<Awaited<T>> {
  return await run();
}

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "t4-served-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
