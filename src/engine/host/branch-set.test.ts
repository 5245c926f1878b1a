import { equal, match, ok, rejects } from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { put, range } from "../../../test/engine/requests.ts";
import { branchId } from "../../base/ids.ts";
import { branchNameRegister } from "../../leadership/branch-name.ts";
import { encodeOrigin, rootOrigin } from "../../leadership/origin.ts";
import { createOnce } from "../../objects/conditional.ts";
import { originKey } from "../../objects/keys.ts";
import { MemoryBucket, MemoryStore } from "../../objects/memory.ts";
import { createNodeRuntime } from "../../runtime/node.ts";
import type { Database } from "../engine.ts";
import type { BranchSetSettings } from "./branch-set.ts";
import { defaultHostSettings } from "./default-settings.ts";
import { Host } from "./host.ts";
import { noNotices } from "./notices.ts";

const runtime = createNodeRuntime();
const soon = () => AbortSignal.timeout(5000);
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** An idle branch closes when the machine gets to it. Each look is a use: the next one waits for longer than that. */
async function closes(database: Database): Promise<void> {
  for (let looks = 0; looks < 25; looks++) {
    await sleep(400);
    try {
      await database.range(range("k"));
    } catch {
      return;
    }
  }
  throw new Error("the branch stays open");
}

async function openHost(t: TestContext, branches: Partial<BranchSetSettings> = {}, requestTimeoutMs = 2000) {
  const store = new MemoryStore(runtime, new MemoryBucket());
  const defaults = defaultHostSettings(store);
  const engine = { ...defaults.branch.engine, requestTimeoutMs };
  const host = await Host.open({
    ...defaults,
    runtime,
    store,
    name: "one",
    dataDirectory: null,
    branch: { ...defaults.branch, engine, leadership: { ...defaults.branch.leadership, durability: "object" } },
    branches: { ...defaults.branches, ...branches },
    notices: noNotices,
  });
  t.after(() => host.close(soon()));
  return { host, store };
}

/** A branch that begins with nothing. */
async function found(store: MemoryStore, name: string): Promise<void> {
  const id = branchId(Buffer.from(name.padEnd(16, "-")).toString("hex"));
  const request = { timeoutMs: 1000 };
  await createOnce(store, originKey(id), encodeOrigin(rootOrigin(id)), { ...request, runtime });
  const body = { branch: id, protected: false, expiresMs: null, tombstone: false };
  await branchNameRegister(store, name, runtime).swap(null, body, request);
}

test("a branch is opened by the first call for it, calls in one go share the opening", async (t) => {
  const { host, store } = await openHost(t);
  await found(store, "other");
  const [a, b] = await Promise.all([host.database("other"), host.database("other")]);
  equal(a, b);
  await a.put(put("k"));
  equal((await host.database("other")).committed, 2);
  equal((await host.database("main")).committed, 1);
});

test("an unknown branch is told with the names that are near, from the store once a second at most", async (t) => {
  const { host, store } = await openHost(t);
  await found(store, "staging");
  await rejects(async () => host.database("stagin"), { kind: "notFound", message: /did you mean staging\?$/ });
  // Made meanwhile, it is found a second later.
  await found(store, "stagin");
  await rejects(async () => host.database("stagin"), { kind: "notFound" });
  await sleep(1050);
  await host.database("stagin");
  await rejects(async () => host.database("No Name"), { kind: "invalidArgument" });
});

test("an idle branch is closed cleanly and opened by the next call; one with a lease or a watch stays", async (t) => {
  const { host, store } = await openHost(t, { idleMs: 60 });
  for (const name of ["idle", "leased"]) await found(store, name);
  const idle = await host.database("idle");
  await idle.put(put("k"));
  const leased = await host.database("leased");
  await leased.leaseGrant({ id: 7n as never, ttlSeconds: 60n });
  await closes(idle);
  await rejects(async () => idle.put(put("k")));
  const again = await host.database("idle");
  ok(again !== idle);
  equal(again.committed, 2);
  equal(await host.database("leased"), leased);
});

test("at the bound the branch longest unused makes room; where all are in use, the call is refused", async (t) => {
  const { host, store } = await openHost(t, { openMax: 2 }, 800);
  for (const name of ["a", "b", "c"]) await found(store, name);
  await host.serve("main");
  const a = await host.database("a");
  await rejects(async () => host.database("b"), { kind: "tooManyRequests" });
  await sleep(900);
  await host.database("b");
  await rejects(async () => a.put(put("k")));
  await sleep(900);
  const b = await host.database("b");
  await b.leaseGrant({ id: 7n as never, ttlSeconds: 60n });
  await sleep(900);
  await rejects(
    async () => host.database("c"),
    (error: Error) => {
      match(error.message, /2 branches are open and in use/);
      return true;
    },
  );
});

test("a branch of which a snapshot is being read is not idle", async (t) => {
  const { host, store } = await openHost(t, { idleMs: 60 });
  await found(store, "read");
  const read = await host.database("read");
  await read.put(put("k"));
  const given = new AbortController();
  const snapshot = await read.maintenance.snapshot(given.signal);
  await sleep(400);
  for await (const piece of snapshot.pieces()) ok(piece.length > 0);
  await read.put(put("l"));
  await closes(read);
  await rejects(async () => read.put(put("m")));
});

test("a branch is not idle while a client's stream goes on, however slowly", async (t) => {
  const { host, store } = await openHost(t, { idleMs: 60 });
  await found(store, "read");
  const read = await host.database("read");
  await read.put(put("k"));
  const [first, second] = [read.holdOpen(), read.holdOpen()];
  await sleep(400);
  first();
  first();
  await sleep(400);
  await read.put(put("l"));
  second();
  await closes(read);
  await rejects(async () => read.put(put("m")));
});

test("calls for many branches at once open no more than there may be", async (t) => {
  const { host, store } = await openHost(t, { openMax: 2 });
  const names = ["a", "b", "c", "d", "e"];
  for (const name of names) await found(store, name);
  const opened = await Promise.allSettled(names.map(async (name) => host.database(name)));
  equal(opened.filter(({ status }) => status === "fulfilled").length, 2);
  for (const one of opened) if (one.status === "rejected") match(one.reason.message, /2 branches are open and in use/);
});
