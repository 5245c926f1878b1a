import { equal, ok } from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { newBranch, type OpenHostOptions, openHost, requestsOf } from "../../../test/engine/open-host.ts";
import { put, range } from "../../../test/engine/requests.ts";
import { leaseId } from "../../base/ids.ts";
import { type FaultPlan, FaultyStore } from "../../objects/faulty.ts";
import { MemoryBucket, MemoryStore } from "../../objects/memory.ts";
import { createNodeRuntime } from "../../runtime/node.ts";
import { defaultHostSettings } from "./default-settings.ts";

const runtime = createNodeRuntime();

const checkpointsOf = (bucket: MemoryBucket): number =>
  [...bucket.entries.keys()].filter((key) => key.includes("/checkpoint/")).length;

/** Requests for segments so far. */
function segmentsRead(store: Awaited<ReturnType<typeof openHost>>["store"]): number {
  let sum = 0;
  for (const { operation, object, count } of store.series())
    if (operation === "get" && object === "segment") sum += count;
  return sum;
}

const durable = (t: TestContext, durability: "object" | "local"): OpenHostOptions => {
  const { branch } = defaultHostSettings(new MemoryStore(runtime, new MemoryBucket()));
  const path = mkdtempSync(join(tmpdir(), "t4-clean-end-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return { dataDirectory: path, branch: { ...branch, leadership: { ...branch.leadership, durability } } };
};

for (const durability of ["object", "local"] as const) {
  test(`after a clean end the next start asks for no segment but the one to come, ${durability}`, async (t) => {
    const bucket = new MemoryBucket();
    const options = { ...durable(t, durability), bucket };
    const first = await openHost(t, options);
    for (let i = 0; i < 300; i++) await first.main.database.put(put(`k${i}`, "v".repeat(100)));
    await first.main.database.leaseGrant({ id: leaseId(7n), ttlSeconds: 1000n });
    await first.close();
    equal(checkpointsOf(bucket), 1);
    const second = await openHost(t, options);
    equal((await second.main.database.range(range("k", "l", { countOnly: true }))).count, 300);
    equal((await second.main.database.leaseTimeToLive({ id: leaseId(7n), keys: false })).grantedTtlSeconds, 1000);
    ok(segmentsRead(second.store) <= 1, `${segmentsRead(second.store)} segments asked for`);
    ok(requestsOf(second.store) <= 20, `${requestsOf(second.store)} requests`);
    await second.close();
  });
}

test("opening and closing a branch that nobody writes makes no checkpoint, and leaves little to read", async (t) => {
  const bucket = new MemoryBucket();
  const first = await openHost(t, { bucket });
  await first.main.database.put(put("k"));
  await first.close();
  let most = 0;
  for (let i = 0; i < 20; i++) {
    const { close, store } = await openHost(t, { bucket });
    most = Math.max(most, segmentsRead(store));
    await close();
  }
  ok(checkpointsOf(bucket) <= 4, `${checkpointsOf(bucket)} checkpoints`);
  ok(most <= 9, `${most} segments read at a start`);
});

test("a branch that is closed when idle leaves a checkpoint", async (t) => {
  const { host, bucket } = await openHost(t);
  await host.branches.create(newBranch("other"));
  await (await host.database("other")).put(put("k"));
  const before = checkpointsOf(bucket);
  await host.leave("other");
  equal(checkpointsOf(bucket), before + 1);
});

test("a store that takes no tables keeps a clean end from its checkpoint, not from its release", async (t) => {
  for (const fault of [{ kind: "hang" }, { kind: "refused", retryable: false }] as const) {
    const bucket = new MemoryBucket();
    let plan: FaultPlan = () => null;
    const store = new FaultyStore(new MemoryStore(runtime, bucket), runtime, (call) => plan(call));
    const first = await openHost(t, { store, bucket });
    await first.main.database.put(put("k", fault.kind));
    plan = ({ operation, key }) => (operation === "put" && key.startsWith("sst/") ? fault : null);
    await first.host.close(AbortSignal.timeout(300));
    equal(checkpointsOf(bucket), 0);
    const leader = [...bucket.entries].find(([key]) => key.endsWith("/leader"))![1].body.toString("latin1");
    ok(leader.includes('"released":true'), leader);
    const second = await openHost(t, { bucket, name: "two" });
    equal((await second.main.database.range(range("k"))).count, 1);
    equal(segmentsRead(second.store) > 0, true);
    await second.close();
  }
});
