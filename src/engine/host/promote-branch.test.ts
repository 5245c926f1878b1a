import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { hostOn, newBranch, type OpenHostOptions, openHost, runtime } from "../../../test/engine/open-host.ts";
import { put, range } from "../../../test/engine/requests.ts";
import { changed } from "../../../test/log/changed.ts";
import { branchNameRegister } from "../../leadership/branch-name.ts";
import { parseKey } from "../../objects/keys.ts";
import { MemoryBucket, MemoryStore } from "../../objects/memory.ts";
import type { Database, WatchMessage, WatchSink } from "../engine.ts";
import { defaultBranchSetSettings } from "./branch-set.ts";
import { Promotion } from "./promote-branch.ts";

const request = { timeoutMs: 2000 };
const keysOf = async (database: Database): Promise<number> =>
  (await database.range(range("\0", "\0", { countOnly: true }))).count;

class Sink implements WatchSink {
  readonly messages: WatchMessage[] = [];
  error: Error | null = null;
  send(message: WatchMessage): boolean {
    this.messages.push(message);
    return true;
  }
  fail(error: Error): void {
    this.error = error;
  }
}

const watch = (startRevision: number) => ({
  key: "a",
  rangeEnd: "",
  startRevision,
  progressNotify: false,
  noPut: false,
  noDelete: false,
  prevKv: false,
  watchId: 0n,
  fragment: false,
});

/** `main` at revision 6 with four keys of its own, `green` cut before them, with one. */
async function blueAndGreen(t: TestContext, options: OpenHostOptions = {}) {
  const opened = await openHost(t, options);
  const { host } = opened;
  await (await host.database("main")).put(put("common"));
  await host.branches.create(newBranch("green"));
  for (let i = 0; i < 4; i++) await (await host.database("main")).put(put(`blue-${i}`));
  await (await host.database("green")).put(put("green"));
  return opened;
}

const promotion = { name: "green", over: "main", keepAs: null, revoke: false };

test("the new branch has the name, compacted past the old one, which is kept and takes no writes", async (t) => {
  const { host } = await blueAndGreen(t);
  const old = await host.database("main");
  const sink = new Sink();
  old.watch(sink).create(watch(0));
  equal(old.committed, 6);
  const { promoted, replaced, revision } = await host.branches.promote(promotion);
  equal(promoted.name, "main");
  equal(replaced?.name, "main-old-1");
  deepEqual([replaced?.frozen, replaced?.revision], [true, 6]);
  ok(revision >= old.committed + 2, `${revision}`);
  ok(sink.error !== null && /being replaced by green: connect again/.test(sink.error.message), `${sink.error}`);
  await rejects(async () => old.put(put("late")), { kind: "frozen" });

  const main = await host.database("main");
  equal(await keysOf(main), 2);
  const again = new Sink();
  main.watch(again).create(watch(7));
  const canceled = await opened(() => again.messages.find(({ kind }) => kind === "canceled") ?? Promise.reject());
  equal((canceled as { compactRevision: number }).compactRevision, revision);
  await main.put(put("on"));
  equal(main.committed, revision + 1);

  const kept = await host.database("main-old-1");
  equal(await keysOf(kept), 5);
  await rejects(async () => kept.put(put("k")), { kind: "branchRefuses", message: /promote main-old-1/ });
  await rejects(async () => kept.leaseGrant({ id: 5n as never, ttlSeconds: 60n }), { kind: "branchRefuses" });
  equal((await kept.auth.status()).enabled, false);
  deepEqual((await kept.leaseLeases()).ids, []);
  await rejects(async () => host.database("green"), { kind: "notFound" });
  deepEqual(
    (await host.branches.list({ deleted: false })).map(({ name, frozen }) => [name, frozen]),
    [
      ["main", false],
      ["main-old-1", true],
    ],
  );
});

test("a revision that a promotion has passed over was never there", async (t) => {
  const { host } = await blueAndGreen(t);
  await host.branches.promote(promotion);
  const never = { kind: "notRetained", message: /revision 5 was never there: .* went on from 3 \(2\d{3}-/ };
  const moment = { kind: "revision", revision: 5 } as const;
  await rejects(host.branches.create(newBranch("between", { moment })), never);
  await rejects(host.history.rangeAt({ branch: "main", moment }, range("common")), never);
  const beyond = { kind: "revision", revision: 99 } as const;
  await rejects(host.branches.create(newBranch("between", { moment: beyond })), /99 is not there yet: .* store is 8 /);
});

test("and back again, but not over one that is protected", async (t) => {
  const { host } = await blueAndGreen(t);
  await host.branches.update({ name: "main", protected: true });
  await rejects(host.branches.promote(promotion), { kind: "branchRefuses", message: /unprotect main/ });
  await (await host.database("main")).put(put("blue-0"));
  await host.branches.update({ name: "main", protected: false });
  await host.branches.promote(promotion);
  await (await host.database("main")).put(put("mistake"));
  await host.branches.promote({ ...promotion, name: "main-old-1", keepAs: "mistaken" });
  const main = await host.database("main");
  equal(await keysOf(main), 5);
  await main.put(put("goes-on"));
  equal(await keysOf(await host.database("mistaken")), 3);
});

test("a promotion that has not swapped the names is taken back; one that has is not", async (t) => {
  const { host } = await blueAndGreen(t);
  await halfway(t, host, "swap");
  await rejects(async () => host.database("main"), { kind: "frozen" });
  await rejects(host.branches.promote({ ...promotion, name: "main-old-1" }), { message: /is the same as main/ });
  await host.branches.promote({ ...promotion, revoke: true });
  const main = await opened(() => host.database("main"));
  await main.put(put("goes-on"));
  equal(await keysOf(main), 6);
  equal(await keysOf(await host.database("green")), 2);
  await rejects(async () => host.database("main-old-1"), { kind: "notFound" });
  await host.branches.promote(promotion);
  await rejects(host.branches.promote({ ...promotion, revoke: true }), /has taken its place already/);
});

for (const step of ["keep", "raise", "swap", "finish"] as const) {
  test(`a process that dies before the step ${step}: the same command goes on, in another one`, async (t) => {
    const { host, bucket, close } = await blueAndGreen(t);
    await halfway(t, host, step);
    // Open again: what is closed cleanly is not waited for.
    await new Promise((resolve) => setTimeout(resolve, 400));
    await close();
    const { host: next } = await openHost(t, { bucket, name: "two" });
    const { revision } = await next.branches.promote(promotion);
    const main = await next.database("main");
    equal(await keysOf(main), 2);
    ok(revision >= 8);
    equal(await keysOf(await next.database("main-old-1")), 5);
    await rejects(async () => next.database("green"), { kind: "notFound" });
  });
}

test("main does not give up its name to another one's", async (t) => {
  const { host } = await blueAndGreen(t);
  await rejects(host.branches.promote({ ...promotion, name: "main", over: "green" }), { kind: "branchRefuses" });
  equal(await keysOf(await host.database("main")), 5);
});

test("one that stalls before the swap swaps nothing once its promotion was taken back", async (t) => {
  const { host } = await blueAndGreen(t);
  const { swap } = Promotion.prototype;
  t.after(() => Object.assign(Promotion.prototype, { swap }));
  let wake: () => Promise<unknown> = () => Promise.reject(new Error("it was not called"));
  Promotion.prototype.swap = async function (...args) {
    wake = () => swap.apply(this, args);
    throw new Error("stalled");
  };
  await rejects(host.branches.promote(promotion), /stalled/);
  await host.branches.promote({ ...promotion, revoke: true });
  const main = await opened(() => host.database("main"));
  await main.put(put("goes-on"));
  await rejects(wake(), { kind: "branchRefuses", message: /changed meanwhile/ });
  equal(await keysOf(await host.database("main")), 6);
});

test("one that stalls before the second name gives none once its promotion was taken back", async (t) => {
  const { host } = await blueAndGreen(t);
  const { keep } = Promotion.prototype;
  t.after(() => Object.assign(Promotion.prototype, { keep }));
  let wake: () => Promise<unknown> = () => Promise.reject(new Error("it was not called"));
  Promotion.prototype.keep = async function (...args) {
    wake = () => keep.apply(this, args);
    throw new Error("stalled");
  };
  await rejects(host.branches.promote(promotion), /stalled/);
  await host.branches.promote({ ...promotion, revoke: true });
  await rejects(wake(), { kind: "branchRefuses", message: /was taken back meanwhile/ });
  await rejects(async () => host.database("main-old-1"), { kind: "notFound" });
});

for (const before of ["the second name", "the second name once more"] as const) {
  test(`a request for ${before} that arrives while its promotion is taken back leaves none`, async (t) => {
    const bucket = new MemoryBucket();
    const plain = new MemoryStore(runtime, bucket);
    let late: (() => Promise<unknown>) | null = null;
    const store = changed(plain, {
      put: async (key, body, options) => {
        const name = parseKey(key);
        const arrives = name?.kind === "name" && name.name === "main" ? late : null;
        if (arrives !== null) {
          late = null;
          await arrives();
        }
        return plain.put(key, body, options);
      },
    });
    const { host } = await blueAndGreen(t, { bucket, store });
    if (before === "the second name once more") await halfway(t, host, "raise");
    const { keep } = Promotion.prototype;
    t.after(() => Object.assign(Promotion.prototype, { keep }));
    Promotion.prototype.keep = async function (...args) {
      late = () => keep.apply(this, args);
      throw new Error("stalled");
    };
    await opened(() => rejects(host.branches.promote(promotion), /stalled/));
    await host.branches.promote({ ...promotion, revoke: true });
    equal(late, null);
    await rejects(async () => host.database("main-old-1"), { kind: "notFound" });
    const main = await opened(() => host.database("main"));
    await main.put(put("goes-on"));
  });
}

test("a branch that is being replaced gives its place to no other one by its second name", async (t) => {
  const { host } = await blueAndGreen(t);
  await host.branches.create(newBranch("blue"));
  await host.leave("main");
  await halfway(t, host, "raise");
  await host.leave("main");
  const other = { ...promotion, name: "blue", over: "main-old-1" };
  await rejects(host.branches.promote(other), { kind: "branchRefuses", message: /main is being replaced itself/ });
  await host.branches.promote({ ...promotion, revoke: true });
  const main = await opened(() => host.database("main"));
  await main.put(put("goes-on"));
});

test("the old branch by its second name, amid a promotion that is then taken back, or gone on with", async (t) => {
  const { host } = await blueAndGreen(t);
  await host.leave("main");
  await halfway(t, host, "raise");
  await host.leave("main");
  const kept = await host.database("main-old-1");
  equal(await keysOf(kept), 5);
  await rejects(async () => host.database("main"), { kind: "noLeader", message: /open as main-old-1/ });
  await rejects(host.branches.delete("main-old-1"), { kind: "branchRefuses", message: /being replaced/ });
  await host.branches.promote({ ...promotion, revoke: true });
  const main = await opened(() => host.database("main"));
  await main.put(put("goes-on"));
  await rejects(host.branches.promote({ ...promotion, revoke: true }), /nothing replaces it/);
});

test("what is deleted amid its promotion is not ended before that is taken back", async (t) => {
  const { host } = await blueAndGreen(t, { branches: { ...defaultBranchSetSettings, graceMs: 0 } });
  await halfway(t, host, "raise");
  await host.branches.delete("green");
  const first = await host.branches.sweep();
  deepEqual([first.purged, first.failed.map(({ error }) => error.kind)], [[], ["branchRefuses"]]);
  await rejects(host.branches.promote(promotion), { kind: "notFound" });
  await host.branches.promote({ ...promotion, revoke: true });
  deepEqual((await host.branches.sweep()).purged, ["green"]);
  equal(await keysOf(await opened(() => host.database("main"))), 5);
});

test("a promotion that is over is not taken back by the old branch's new name", async (t) => {
  const { host } = await blueAndGreen(t);
  await host.branches.promote(promotion);
  const revoked = host.branches.promote({ ...promotion, over: "main-old-1", revoke: true });
  await rejects(revoked, { kind: "invalidArgument", message: /nothing replaces it/ });
  equal(await keysOf(await host.database("main-old-1")), 5);
});

test("who stood by for the old branch serves the new one once it leads", async (t) => {
  const { host, bucket, close } = await blueAndGreen(t);
  const second = await hostOn(bucket, { name: "two" });
  t.after(() => second.close(AbortSignal.timeout(5000)));
  const main = await second.serve("main");
  await main.answers;
  await host.branches.promote(promotion);
  await close();
  const database = await opened(() => second.database("main"));
  equal(await keysOf(database), 2);
  await database.put(put("on"));
});

/** Dies before a step. */
async function halfway(
  t: TestContext,
  host: Awaited<ReturnType<typeof openHost>>["host"],
  step: string,
): Promise<void> {
  const prototype = Promotion.prototype as unknown as Record<string, (...args: unknown[]) => unknown>;
  const died = async () => Promise.reject(new Error("died"));
  if (step === "finish") {
    const swap = prototype["swap"]!;
    prototype["swap"] = async function (...args) {
      await swap.apply(this, args);
      await died();
    };
    t.after(() => Object.assign(prototype, { swap }));
    await rejects(host.branches.promote(promotion), /died/);
    Object.assign(prototype, { swap });
    return;
  }
  const before = prototype[step]!;
  prototype[step] = died;
  await rejects(host.branches.promote(promotion), /died/);
  prototype[step] = before;
}

async function opened<T>(open: () => T | Promise<T>): Promise<T> {
  for (let attempt = 0; attempt < 100; attempt++) {
    try {
      return await open();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  return open();
}

test("a deleted branch comes back within its time of grace; then nothing does, and its name is free", async (t) => {
  const { host, store } = await blueAndGreen(t);
  await host.branches.update({ name: "green", protected: true });
  await rejects(host.branches.delete("green"), { kind: "branchRefuses", message: /protected/ });
  await rejects(host.branches.delete("main"), { kind: "branchRefuses" });
  await host.branches.update({ name: "green", protected: false });
  const green = await host.database("green");
  const { deleted, purgeMs } = await host.branches.delete("green");
  ok(deleted && purgeMs !== null && purgeMs > Date.now());
  await rejects(async () => green.put(put("k")));
  await rejects(async () => host.database("green"), {
    kind: "notFound",
    message: /deleted: t4 branch undelete green$/,
  });
  deepEqual(
    (await host.branches.list({ deleted: true })).map(({ name }) => name),
    ["green", "main"],
  );
  await host.branches.undelete("green");
  equal(await keysOf(await host.database("green")), 2);

  await host.branches.delete("green");
  await host.branches.create(newBranch("green"));
  equal(await keysOf(await host.database("green")), 5);
  await rejects(host.branches.undelete("green"), { kind: "invalidArgument" });
  const state = await branchNameRegister(store, "green", runtime).read(request);
  equal(state?.body.purgeMs, undefined);
});

test("a name that a stalled promoter gives to a branch that was ended for ever is free after a sweep", async (t) => {
  const { host, store } = await blueAndGreen(t, { branches: { ...defaultBranchSetSettings, graceMs: 0 } });
  const green = branchNameRegister(store, "green", runtime);
  const { branch } = (await green.read(request))!.body;
  await host.branches.promote(promotion);
  // One that lives keeps its second name.
  await host.branches.sweep();
  equal(await keysOf(await host.database("main-old-1")), 5);
  await host.branches.delete("main-old-1");
  await host.branches.sweep();
  const second = branchNameRegister(store, "main-old-1", runtime);
  const gone = (await second.read(request))!;
  deepEqual([gone.body.tombstone, gone.body.purgeMs], [true, undefined]);
  await second.swap(gone, { ...gone.body, tombstone: false, replacedBy: branch }, request);
  await host.branches.sweep();
  await rejects(async () => host.database("main-old-1"), { kind: "notFound", message: /no branch named main-old-1/ });
  await host.branches.create(newBranch("main-old-1"));
});

test("what has expired is deleted by a sweep, and ends for ever when its time of grace is over", async (t) => {
  const { host, store } = await openHost(t, { branches: { ...defaultBranchSetSettings, graceMs: 0 } });
  await host.branches.create(newBranch("short", { expiresInMs: 1 }));
  await host.branches.create(newBranch("kept", { expiresInMs: 1 }));
  await host.branches.update({ name: "kept", protected: true });
  await (await host.database("short")).put(put("k"));
  await new Promise((resolve) => setTimeout(resolve, 5));
  const swept = await host.branches.sweep();
  deepEqual([swept.expired, swept.purged, swept.failed], [["short"], [], []]);
  deepEqual((await host.branches.sweep()).purged, ["short"]);
  deepEqual((await host.branches.sweep()).purged, []);
  await rejects(host.branches.undelete("short"), { kind: "notFound", message: /its data is gone/ });
  await rejects(async () => host.database("short"), { kind: "notFound" });
  equal((await branchNameRegister(store, "short", runtime).read(request))?.body.purgeMs, undefined);
  deepEqual(
    (await host.branches.list({ deleted: true })).map(({ name }) => name),
    ["kept", "main"],
  );
});
