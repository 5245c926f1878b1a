import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { VirtualRuntime } from "../../test/contract/virtual-runtime.ts";
import { branchId, slot } from "../base/ids.ts";
import { createOnce } from "./conditional.ts";
import { FaultyStore, type ScriptedFault, scriptedFaults, seededFaults } from "./faulty.ts";
import { segmentKey } from "./keys.ts";
import { MemoryBucket, MemoryStore } from "./memory.ts";

const key = segmentKey(branchId("a".repeat(32)), slot(1));
const mine = Buffer.from("mine");
const other = Buffer.from("other");

function scene(script: ScriptedFault[], options: { there?: Buffer; timeoutMs?: number } = {}) {
  const runtime = new VirtualRuntime(1);
  const bucket = new MemoryBucket();
  const memory = new MemoryStore(runtime, bucket);
  const faulty = new FaultyStore(memory, runtime, scriptedFaults(script));
  const create = async (signal?: AbortSignal) => {
    const bounded = { runtime, timeoutMs: options.timeoutMs ?? 5000 };
    if (options.there) await memory.put(key, options.there, { timeoutMs: 1, condition: { kind: "none" } });
    return createOnce(faulty, key, mine, signal ? { ...bounded, signal } : bounded);
  };
  return { create, faulty, stored: () => bucket.entries.get(key)?.body.toString() };
}

test("created: at the first try, and through each way of losing an answer", async () => {
  const lost: ScriptedFault[][] = [
    [],
    [{ operation: "put", fault: { kind: "errorBefore" } }],
    [{ operation: "put", fault: { kind: "errorAfter" } }],
    [{ operation: "put", fault: { kind: "hang" } }],
    [{ operation: "put", fault: { kind: "delay", delayMs: 4000 } }],
    [{ operation: "put", fault: { kind: "delay", delayMs: 2520 } }],
    [{ operation: "put", fault: { kind: "refused", retryable: true } }],
    [
      { operation: "put", fault: { kind: "errorAfter" } },
      { operation: "get", fault: { kind: "errorBefore" } },
    ],
    [
      { operation: "put", fault: { kind: "errorBefore" } },
      { operation: "put", fault: { kind: "errorAfter" } },
      { operation: "get", fault: { kind: "hang" } },
    ],
  ];
  for (const script of lost) {
    const { create, stored, faulty } = scene(script);
    deepEqual(await create(), { kind: "created" });
    await faulty.settled();
    equal(stored(), "mine");
    equal(script.length, 0, "every scripted fault has struck");
  }
});

test("the same bytes by another are ours; other bytes are not, and stay", async () => {
  deepEqual(await scene([], { there: mine }).create(), { kind: "created" });
  for (const kind of ["errorBefore", "errorAfter"] as const) {
    const { create, stored } = scene([{ operation: "put", fault: { kind } }], { there: other });
    const outcome = await create();
    ok(outcome.kind === "exists" && outcome.object.body.equals(other));
    equal(stored(), "other");
  }
});

test("unknown to the end is storeUnavailable; refused is storeRefused, but not after an unknown try", async () => {
  const always = (kind: "errorBefore" | "hang"): ScriptedFault[] =>
    Array.from({ length: 100 }, () => ({ operation: "put", fault: { kind } }));
  await rejects(scene(always("errorBefore")).create(), { kind: "storeUnavailable" });
  await rejects(scene(always("hang")).create(), { kind: "storeUnavailable" });
  const forbidden: ScriptedFault = { operation: "put", fault: { kind: "refused", retryable: false } };
  await rejects(scene([forbidden]).create(), { kind: "storeRefused" });
  const late: ScriptedFault = { operation: "put", fault: { kind: "delay", delayMs: 8000 } };
  await rejects(scene([late, forbidden]).create(), { kind: "storeUnavailable" });
  const unreadable: ScriptedFault = { operation: "get", fault: { kind: "refused", retryable: false } };
  await rejects(scene([late, unreadable]).create(), { kind: "storeUnavailable" });
  await rejects(scene([]).create(AbortSignal.abort()), { kind: "canceled" });
});

test("of racing creators one's bytes stay, whatever is lost or late, and each is told the truth", async () => {
  let created = 0;
  let lostRaces = 0;
  for (let seed = 0; seed < 300; seed++) {
    const runtime = new VirtualRuntime(seed);
    const bucket = new MemoryBucket();
    const rates = { errorBefore: 0.1, errorAfter: 0.15, refused: 0.1, delay: 0.2, hang: 0.1, delayMsMax: 3000 };
    const faulty = new FaultyStore(new MemoryStore(runtime, bucket), runtime, seededFaults(runtime.random, rates));
    const create = (n: number) => createOnce(faulty, key, Buffer.from(`writer ${n}`), { runtime, timeoutMs: 2000 });
    const outcomes = await Promise.allSettled([0, 1, 2].map(create));
    const before = bucket.entries.get(key)?.body.toString();
    await faulty.settled();
    const after = bucket.entries.get(key)?.body.toString();
    if (before !== undefined) equal(after, before, `seed ${seed}: a late write changed a slot that was taken`);
    for (const [n, outcome] of outcomes.entries()) {
      const here = after === `writer ${n}`;
      if (outcome.status === "rejected") equal(outcome.reason.kind, "storeUnavailable");
      else if (outcome.value.kind === "created")
        ok(here, `seed ${seed}: writer ${n} was told of a write that is not there`);
      else ok(!here, `seed ${seed}: writer ${n} was told that it lost, and won`);
      if (outcome.status === "fulfilled") outcome.value.kind === "created" ? created++ : lostRaces++;
    }
  }
  ok(created > 250 && lostRaces > 300, `too few decided outcomes to mean anything: ${created}, ${lostRaces}`);
});
