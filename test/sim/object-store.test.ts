import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { assert } from "../../src/base/assert.ts";
import { isDbError } from "../../src/base/errors.ts";
import type { ObjectKey } from "../../src/base/ids.ts";
import type { PutOutcome } from "../../src/objects/objects.ts";
import { noStoreFaults, SimStorage, STORE_HOST, type StoreFaults } from "./object-store.ts";
import { createSimulation } from "./simulation.ts";

const key = (text: string) => text as ObjectKey;
const timeoutMs = 5000;
const absent = { timeoutMs, condition: { kind: "absent" } } as const;

function world(seed: number, faults: Partial<StoreFaults> = {}) {
  const simulation = createSimulation(seed);
  const storage = new SimStorage(simulation, { ...noStoreFaults, ...faults });
  const node = simulation.machine("a").start();
  return { simulation, storage, node, store: storage.storeOf(node) };
}

test("conditions, ranges, pages, deletes", async () => {
  const { simulation, store } = world(1);
  await simulation.run(async () => {
    const first = await store.put(key("a"), Buffer.from("0123456789"), absent);
    assert(first.kind === "written", "nothing was there");
    equal((await store.put(key("a"), Buffer.from("x"), absent)).kind, "preconditionFailed");
    equal(
      (await store.put(key("a"), Buffer.from("x"), { timeoutMs, condition: { kind: "match", etag: "no" } })).kind,
      "preconditionFailed",
    );
    deepEqual(await store.get(key("a"), { timeoutMs, range: { start: 8, end: 20 } }), {
      body: Buffer.from("89"),
      etag: first.etag,
      bytes: 10,
    });
    equal(String((await store.get(key("a"), { timeoutMs, range: { suffix: 3 } }))?.body), "789");
    const second = await store.put(key("a"), Buffer.from("y"), {
      timeoutMs,
      condition: { kind: "match", etag: first.etag },
    });
    assert(second.kind === "written", "the etag was right");
    equal(await store.get(key("missing"), { timeoutMs }), null);
    for (const name of ["p/1", "p/2", "p/3", "q"]) await store.put(key(name), Buffer.alloc(1), absent);
    const page = await store.list("p/", { timeoutMs, limit: 2 });
    deepEqual([page.objects.map((object) => object.key), page.more], [["p/1", "p/2"], true]);
    const rest = await store.list("p/", { timeoutMs, limit: 2, startAfter: key("p/2") });
    deepEqual([rest.objects.map((object) => object.key), rest.more], [["p/3"], false]);
    await store.delete(key("a"), { timeoutMs });
    await store.delete(key("a"), { timeoutMs });
    equal(await store.get(key("a"), { timeoutMs }), null);
  });
});

test("of racing conditional writes one wins, by the seed", async () => {
  const winners = new Set<string>();
  for (let seed = 0; seed < 20; seed++) {
    const { simulation, storage } = world(seed);
    await simulation.run(async () => {
      const stores = ["x", "y", "z"].map((name) => storage.storeOf(simulation.machine(name).start()));
      const all = await Promise.all(stores.map((store, n) => store.put(key("slot"), Buffer.from(`${n}`), absent)));
      equal(all.filter(({ kind }) => kind === "written").length, 1);
      winners.add(`${all.findIndex(({ kind }) => kind === "written")}`);
    });
  }
  equal(winners.size, 3);
});

test("a late write takes effect after its caller was told that its outcome is unknown", async () => {
  const { simulation, store, storage } = world(1, { late: 1 });
  await simulation.run(async () => {
    const outcome = await store.put(key("late"), Buffer.from("x"), absent);
    equal(outcome.kind, "unknown");
    ok(Math.abs(simulation.nowMs - timeoutMs) < 1);
    equal(storage.bucket.objects.has("late"), false);
    await simulation.sleep(2 * 3_600_000);
    equal(storage.bucket.objects.has("late"), true);
    ok(storage.bucket.history[0]!.atMs > timeoutMs);
  });
});

test("each fault does what it says", async () => {
  const put = async (faults: Partial<StoreFaults>, seed = 1): Promise<[PutOutcome["kind"], boolean, boolean]> => {
    const { simulation, store, storage } = world(seed, faults);
    return simulation.run(async () => {
      const { kind } = await store.put(key("k"), Buffer.from("x"), absent);
      return [kind, storage.bucket.objects.has("k"), simulation.nowMs >= timeoutMs];
    });
  };
  deepEqual(await put({ errorBefore: 1 }), ["unknown", false, false]);
  deepEqual(await put({ errorAfter: 1 }), ["unknown", true, false]);
  deepEqual(await put({ throttled: 1 }), ["refused", false, false]);
  const silent = new Set<string>();
  for (let seed = 0; seed < 10; seed++) silent.add(String(await put({ silence: 1 }, seed)));
  deepEqual([...silent].sort(), ["unknown,false,true", "unknown,true,true"]);
});

test("reads are tried again until they succeed, or their time is up", async () => {
  const { simulation, store, storage } = world(1);
  await simulation.run(async () => {
    await store.put(key("k"), Buffer.from("x"), absent);
    storage.faults.errorBefore = 0.7;
    for (let n = 0; n < 10; n++) equal(String((await store.get(key("k"), { timeoutMs }))?.body), "x");
    storage.faults.errorBefore = 1;
    const started = simulation.nowMs;
    await rejects(store.get(key("k"), { timeoutMs }), (error) => isDbError(error, "storeUnavailable"));
    ok(Math.abs(simulation.nowMs - started - timeoutMs) < 1);
  });
});

test("an outage reaches everybody, a cut one machine; both end", async () => {
  const { simulation, store, storage } = world(1);
  const other = storage.storeOf(simulation.machine("b").start());
  await simulation.run(async () => {
    storage.outage(60_000);
    await rejects(store.get(key("k"), { timeoutMs }), (error) => isDbError(error, "storeUnavailable"));
    equal((await other.put(key("k"), Buffer.from("x"), absent)).kind, "unknown");
    await simulation.sleep(60_000);
    await store.get(key("k"), { timeoutMs });
    simulation.network.cut("a", STORE_HOST);
    await rejects(store.list("", { timeoutMs, limit: 1 }), (error) => isDbError(error, "storeUnavailable"));
    await other.list("", { timeoutMs, limit: 1 });
    simulation.network.heal("a", STORE_HOST);
    await store.list("", { timeoutMs, limit: 1 });
  });
});

test("what a killed process sent may take effect; what a stalled one sent, also when it wakes", async () => {
  const effects = { killed: new Set<boolean>(), stalled: new Set<string>() };
  for (let seed = 0; seed < 40; seed++) {
    const { simulation, store, storage, node } = world(seed);
    await simulation.run(async () => {
      void store.put(key("k"), Buffer.from("x"), absent);
      node.kill();
      await simulation.sleep(timeoutMs);
      effects.killed.add(storage.bucket.objects.has("k"));
      const stalled = simulation.machine("b").start();
      void storage.storeOf(stalled).put(key("s"), Buffer.from("x"), absent);
      const yearMs = 365 * 24 * 3600 * 1000;
      stalled.stallFor(yearMs);
      await simulation.sleep(timeoutMs);
      const early = storage.bucket.objects.has("s");
      await simulation.sleep(yearMs);
      equal(storage.bucket.objects.has("s"), true);
      effects.stalled.add(early ? "while it slept" : "when it woke");
    });
  }
  deepEqual([effects.killed.size, effects.stalled.size], [2, 2]);
});

test("a caller's signal ends a request: nothing, unknown or canceled", async () => {
  const { simulation, store } = world(1);
  await simulation.run(async () => {
    const controller = new AbortController();
    const [put, get] = [
      store.put(key("k"), Buffer.from("x"), { ...absent, signal: controller.signal }),
      rejects(store.get(key("k"), { timeoutMs, signal: controller.signal }), (error) => isDbError(error, "canceled")),
    ];
    controller.abort();
    equal((await put).kind, "unknown");
    await get;
    equal((await store.put(key("k"), Buffer.from("x"), { ...absent, signal: controller.signal })).kind, "refused");
  });
});
