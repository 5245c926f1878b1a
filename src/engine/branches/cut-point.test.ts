import { deepEqual, equal, rejects } from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { put, range } from "../../../test/engine/requests.ts";
import { branchNameRegister } from "../../leadership/branch-name.ts";
import { MemoryBucket, MemoryStore } from "../../objects/memory.ts";
import { createNodeRuntime } from "../../runtime/node.ts";
import type { Database } from "../engine.ts";
import { defaultHostSettings } from "../host/default-settings.ts";
import { Host } from "../host/host.ts";
import { noNotices } from "../host/notices.ts";
import { cutBranch } from "./cut-branch.ts";
import { cutPointAt } from "./cut-point.ts";
import type { Moment } from "./moment.ts";

const runtime = createNodeRuntime();
const request = { timeoutMs: 2000 };

async function openHost(t: TestContext) {
  const store = new MemoryStore(runtime, new MemoryBucket());
  const defaults = defaultHostSettings(store);
  const { branch } = defaults;
  const host = await Host.open({
    ...defaults,
    runtime,
    store,
    name: "one",
    dataDirectory: null,
    branch: { ...branch, leadership: { ...branch.leadership, durability: "object" } },
    notices: noNotices,
  });
  t.after(() => host.close(AbortSignal.timeout(5000)));
  const main = await host.serve("main");
  await main.opened();
  const cut = async (name: string, moment: Moment, from = "main") => {
    const { branch: parent } = (await branchNameRegister(store, from, runtime).read(request))!.body;
    const { window } = host.repository;
    const point = (references: Parameters<typeof cutPointAt>[1]) =>
      cutPointAt({ store, window, request, moment }, references);
    await cutBranch({ store, runtime, parent, name, point, request });
    return host.database(name);
  };
  return { host, main, cut };
}

/** Every live pair with its versions, and the revision. */
const stateOf = async (database: Database, revision = 0): Promise<unknown> => {
  const { rows, count } = await database.range(range("\0", "\0", { revision }));
  return { count, rows: rows.map(({ bytes, start, end }) => Buffer.from(bytes.subarray(start, end)).toString("hex")) };
};

test("a branch cut at any revision is its parent at that revision, over checkpoints and log", async (t) => {
  const { main, cut } = await openHost(t);
  const { database } = main;
  for (let i = 0; i < 12; i++) {
    await database.put(put(`k${i % 5}`, `v${i}`));
    if (i % 5 === 3) await main.checkpoint();
  }
  for (let revision = 1; revision <= database.committed; revision++) {
    const child = await cut(`at-${revision}`, { kind: "revision", revision });
    equal(child.committed, revision);
    deepEqual(await stateOf(child), await stateOf(database, revision), `revision ${revision}`);
  }
});

test("a branch of a branch, cut before and behind the parent's own beginning", async (t) => {
  const { host, main, cut } = await openHost(t);
  await main.database.put(put("a", "1"));
  const child = await cut("child", { kind: "newest" });
  await child.put(put("b", "2"));
  const grandchild = await cut("grandchild", { kind: "newest" }, "child");
  deepEqual(await stateOf(grandchild), await stateOf(child));
  await grandchild.put(put("c", "3"));
  await (await host.serve("grandchild")).checkpoint();
  const last = await cut("last", { kind: "revision", revision: 4 }, "grandchild");
  deepEqual(await stateOf(last), await stateOf(grandchild));
  equal(main.database.committed, 2);
  equal(child.committed, 3);
});

test("a moment that is not there yet, or no more, is refused, and nothing is left behind", async (t) => {
  const { main, cut } = await openHost(t);
  await main.database.put(put("a", "1"));
  await rejects(cut("later", { kind: "revision", revision: 9 }), {
    kind: "notRetained",
    message: /revision 9 is not there yet: the newest in the store is 2/,
  });
  await rejects(cut("before", { kind: "time", wallMs: -1 }), { kind: "notRetained" });
  await rejects(cut("before", { kind: "time", wallMs: 1000 }), {
    kind: "notRetained",
    message: /^1970-01-01T00:00:01.000Z is before anything was written; the nearest: revision 1 \(the beginning\)$/,
  });
  await cut("taken", { kind: "newest" });
  await rejects(cut("taken", { kind: "newest" }), {
    kind: "invalidArgument",
    message: /there is a branch named taken/,
  });
});
