import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Registry } from "prom-client";
import { DbError } from "../base/errors.ts";
import type { BranchUsage, Usage } from "../engine/branches/history.ts";
import { createNodeRuntime } from "../runtime/node.ts";
import { UsageLook } from "./usage-look.ts";
import { addUsage } from "./usage-metrics.ts";

const branch = (n: number, growthBytes: number | null = null): BranchUsage => ({
  name: `b${n}`,
  id: `${n}`,
  ownBytes: n,
  sharedBytes: 2 * n,
  historyBytes: 3,
  logBytes: 4,
  objects: 5,
  growthBytes,
  prefixes: [],
});

const usageOf = (branches: BranchUsage[]): Usage => ({
  branches,
  bytes: 1000,
  objects: 10,
  garbageBytes: 7,
  garbageObjects: 1,
});

test("what branches take is told by name, of very many the largest, the others as one", async () => {
  const registry = new Registry();
  let seen: Parameters<typeof addUsage>[0] extends (() => infer S) | undefined ? S : never = null;
  const refresh = addUsage(() => seen, { registers: [registry] });
  const values = async (name: string): Promise<Record<string, number>> => {
    refresh();
    const found = (await registry.getMetricsAsJSON()).find((each) => each.name === name)!;
    const { values } = found as { values: { labels: Record<string, string>; value: number }[] };
    return Object.fromEntries(values.map(({ labels, value }) => [Object.values(labels).join(" "), value]));
  };
  deepEqual(await values("t4_branch_usage_bytes"), {}, "nothing is known yet");
  ok(Number.isNaN((await values("t4_usage_bytes"))[""]));

  seen = { usage: usageOf([branch(1, -8), branch(2)]), atMs: 5000, failed: true };
  deepEqual(await values("t4_branch_usage_bytes"), {
    ...{ "b1 own": 1, "b1 shared": 2, "b1 history": 3, "b1 log": 4 },
    ...{ "b2 own": 2, "b2 shared": 4, "b2 history": 3, "b2 log": 4 },
  });
  deepEqual(await values("t4_branch_growth_bytes_per_day"), { b1: -8 });
  deepEqual(
    [await values("t4_usage_garbage_bytes"), await values("t4_usage_last_timestamp_seconds")],
    [{ "": 7 }, { "": 5 }],
  );
  deepEqual([await values("t4_usage_failed"), await values("t4_usage_branches")], [{ "": 1 }, { "": 2 }]);

  seen = { usage: usageOf(Array.from({ length: 1000 }, (_, n) => branch(n))), atMs: 1, failed: false };
  const objects = await values("t4_branch_usage_objects");
  equal(Object.keys(objects).length, 201);
  deepEqual([objects["b999"], objects["b800"], objects["b799"], objects["(others)"]], [5, 5, undefined, 800 * 5]);
  equal((await values("t4_branch_usage_bytes"))["(others) own"], (799 * 800) / 2);

  seen = { usage: usageOf([branch(1)]), atMs: 2, failed: false };
  deepEqual(await values("t4_branch_usage_objects"), { b1: 5 }, "what is gone is not told any more");
});

test("it is looked again and again, also after a failure, only by who leads, until it is closed", async () => {
  let looks = 0;
  let leads = false;
  const warned: string[] = [];
  const usage = async (): Promise<Usage> => {
    looks++;
    if (looks === 2) throw new DbError("storeUnavailable", "the store is away");
    return usageOf([branch(looks)]);
  };
  const options = { history: { usage }, runtime: createNodeRuntime(), intervalMs: 5, leads: () => leads };
  const look = new UsageLook({ ...options, warn: (_sentence, { why }) => warned.push(String(why)) });
  const until = async (count: number): Promise<void> => {
    for (let n = 0; n < 500 && looks < count; n++) await sleep(5);
  };
  await sleep(40);
  deepEqual([looks, look.seen()], [0, { usage: null, atMs: null, failed: false }]);
  leads = true;
  await until(2);
  await until(3);
  deepEqual(warned, ["the store is away"]);
  await look.close();
  const last = looks;
  ok(last >= 3);
  const seen = look.seen();
  deepEqual([seen.failed, seen.usage?.branches[0]?.name], [false, `b${last}`]);
  await sleep(40);
  equal(looks, last);
});
