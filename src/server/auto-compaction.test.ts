import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { VirtualRuntime } from "../../test/contract/virtual-runtime.ts";
import { DbError } from "../base/errors.ts";
import type { Database } from "../engine/engine.ts";
import { AutoCompaction, type Retention, readRetention } from "./auto-compaction.ts";
import { createLog } from "./logger.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

test("C7 the retention is read as by etcd", () => {
  deepEqual(readRetention("periodic", "0"), { kind: "off" });
  deepEqual(readRetention("revision", "0"), { kind: "off" });
  deepEqual(readRetention("periodic", "0s"), { kind: "off" });
  deepEqual(readRetention("periodic", "8"), { kind: "periodic", periodMs: 8 * HOUR_MS });
  deepEqual(readRetention("periodic", "5m"), { kind: "periodic", periodMs: 5 * MINUTE_MS });
  deepEqual(readRetention("revision", "1000"), { kind: "revision", revisions: 1000 });
  throws(() => readRetention("revision", "1h"), /^Error: expected a number of revisions, not "1h"$/);
  throws(() => readRetention("periodic", "x"), /^Error: expected a duration/);
  throws(() => readRetention("periodic", "-1h"), /^Error: expected a duration/);
});

/** A branch whose revision grows by one a minute, and that notes at which minute it was compacted, and where. */
class Branch {
  readonly identity: { clusterId: bigint };
  readonly compactions: string[] = [];
  leads = true;
  fails: DbError | null = null;
  readonly #nowMs: () => number;

  constructor(nowMs: () => number, clusterId = 1n) {
    this.#nowMs = nowMs;
    this.identity = { clusterId };
  }

  get committed(): number {
    return 1 + Math.floor(this.#nowMs() / MINUTE_MS);
  }

  unprovenBecause(): DbError | null {
    return this.leads ? null : new DbError("noLeader");
  }

  async compact({ revision }: { revision: number }): Promise<void> {
    if (this.fails !== null) throw this.fails;
    this.compactions.push(`${Math.round(this.#nowMs() / MINUTE_MS)}:${revision}`);
  }
}

/** `minutes` of virtual time with these branches; `at` is called each minute. */
async function run(
  retention: Exclude<Retention, { kind: "off" }>,
  minutes: number,
  at: (minute: number, branch: Branch, open: Set<Branch>) => void = () => {},
): Promise<{ branch: Branch; told: string[] }> {
  const runtime = new VirtualRuntime(1);
  const branch = new Branch(runtime.clock.monotonicMs);
  const open = new Set([branch]);
  const told: string[] = [];
  const log = createLog({ level: "info", format: "json", write: (line) => told.push(line) });
  const { clock, timers } = runtime;
  const databases = () => [...open] as unknown as Database[];
  const compaction = new AutoCompaction(retention, { clock, timers, databases, log });
  for (let minute = 1; minute <= minutes; minute++) {
    await new Promise<void>((resolve) => runtime.timers.set(MINUTE_MS, resolve));
    at(minute, branch, open);
  }
  compaction.stop();
  return { branch, told };
}

// As etcd, it keeps one step more than a period: the step in which the oldest revision was noted.
test("C7 periodic, below an hour: each period, to where it was a period ago", async () => {
  const { branch, told } = await run({ kind: "periodic", periodMs: 10 * MINUTE_MS }, 41);
  deepEqual(branch.compactions, ["10:1", "20:10", "30:20", "40:30"]);
  equal(told.length, 4);
});

test("C7 periodic, above an hour: first after the period, then each hour", async () => {
  const { branch } = await run({ kind: "periodic", periodMs: 3 * HOUR_MS }, 5 * 60 + 1);
  deepEqual(branch.compactions, ["180:1", "240:55", "300:115"]);
});

test("C7 by revisions: every five minutes, the newest so many stay", async () => {
  const { branch } = await run({ kind: "revision", revisions: 7 }, 21);
  deepEqual(branch.compactions, ["10:4", "15:9", "20:14"]);
});

test("who does not lead does not compact; history goes on being counted, and what failed is tried again", async () => {
  const { branch, told } = await run({ kind: "periodic", periodMs: 10 * MINUTE_MS }, 35, (minute, one) => {
    one.leads = minute < 5 || minute > 13;
    one.fails = minute > 20 && minute < 28 ? new DbError("timeout") : null;
  });
  deepEqual(branch.compactions, ["15:5", "29:19"]);
  equal(told.filter((line) => line.includes("failed")).length, 4);
});

test("what was compacted by others counts as done; a branch opened again starts anew", async () => {
  const { branch } = await run({ kind: "periodic", periodMs: 10 * MINUTE_MS }, 45, (minute, one, open) => {
    one.fails = minute < 15 ? new DbError("compacted") : null;
    if (minute === 22) open.clear();
    if (minute === 25) open.add(one);
  });
  deepEqual(branch.compactions, ["20:10", "36:27"]);
});
