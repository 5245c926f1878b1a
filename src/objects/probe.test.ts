import { equal, ok, rejects } from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { heedlessS3, startScriptedS3 } from "../../test/contract/scripted-s3.ts";
import { VirtualRuntime } from "../../test/contract/virtual-runtime.ts";
import type { ObjectKey } from "../base/ids.ts";
import { createNodeRuntime } from "../runtime/node.ts";
import { FaultyStore, scriptedFaults, seededFaults } from "./faulty.ts";
import { FileStore } from "./fs.ts";
import { prefixes, probeKey } from "./keys.ts";
import { MemoryBucket, MemoryStore } from "./memory.ts";
import { MeteredStore } from "./metered.ts";
import type {
  GetOptions,
  ListOptions,
  ListPage,
  PutCondition,
  PutOptions,
  PutOutcome,
  StoredObject,
} from "./objects.ts";
import { openStore } from "./open-store.ts";
import { ensureStoreHolds, probeStore } from "./probe.ts";
import { parseStoreUrl } from "./store-url.ts";

const soon = { timeoutMs: 5000 };

test("a sound store passes, is left clean, and is not tested again for a week or under another name", async () => {
  const runtime = new VirtualRuntime(1);
  const bucket = new MemoryBucket();
  const store = new MeteredStore(new MemoryStore(runtime, bucket), runtime.clock);
  const requests = () => [...store.series()].reduce((sum, { count }) => sum + count, 0);
  equal(await ensureStoreHolds(store, runtime, soon), "tested");
  ok(requests() < 80, `${requests()} requests`);
  const before = requests();
  equal(await ensureStoreHolds(store, runtime, soon), "known");
  equal(requests(), before + 1);
  const left = await store.list("", { ...soon, limit: 10 });
  equal(left.objects.map(({ key }) => key).join(), "probe/passed");
  const copied = new MeteredStore(
    Object.assign(new MemoryStore(runtime, bucket), { name: "memory:copied" }),
    runtime.clock,
  );
  equal(await ensureStoreHolds(copied, runtime, soon), "tested");
  equal(await ensureStoreHolds(store, runtime, soon), "tested");
  await new Promise<void>((resolve) => void runtime.timers.set(8 * 24 * 3_600_000, resolve));
  equal(await ensureStoreHolds(store, runtime, soon), "tested");
  equal(await ensureStoreHolds(store, runtime, soon), "known");
});

test("a pass is believed by a node whose clock is behind the one of who has tested", async () => {
  const runtime = new VirtualRuntime(1);
  const store = new MemoryStore(runtime);
  const ahead = { ...runtime.clock, wallMs: () => runtime.clock.wallMs() + 60_000 };
  const { timers, random } = runtime;
  equal(await ensureStoreHolds(store, { clock: ahead, timers, random }, soon), "tested");
  equal(await ensureStoreHolds(store, runtime, soon), "known");
});

test("a directory passes", async () => {
  const directory = await mkdtemp(join(tmpdir(), "t4-probe-"));
  const runtime = createNodeRuntime();
  equal(await ensureStoreHolds(new FileStore(runtime, directory), runtime, { timeoutMs: 10_000 }), "tested");
  await rm(directory, { recursive: true });
});

/** Stores that break one promise each. */
const breakages: Record<string, [RegExp, (store: MemoryStore) => Partial<MemoryStore>]> = {
  "ignores If-None-Match": [
    /does not honour If-None-Match/,
    (store) => ({
      put: (key, body, options) =>
        store.put(
          key,
          body,
          options.condition.kind === "absent" ? { ...options, condition: { kind: "none" } } : options,
        ),
    }),
  ],
  "ignores If-Match": [
    /does not honour If-Match/,
    (store) => ({
      put: (key, body, options) =>
        store.put(
          key,
          body,
          options.condition.kind === "match" ? { ...options, condition: { kind: "none" } } : options,
        ),
    }),
  ],
  "checks, then writes": [/racing writers were told/, (store) => ({ put: checkThenWrite(store) })],
  "honours conditions only in a race": [
    /carried out a create of an object that exists; it ignores If-None-Match/,
    (store) => {
      const inFlight = new Map<string, number>();
      const add = (key: string, change: number) => inFlight.set(key, (inFlight.get(key) ?? 0) + change);
      return {
        put: async (key, body, options) => {
          add(key, 1);
          await Promise.resolve();
          const condition: PutCondition = inFlight.get(key)! > 1 ? options.condition : { kind: "none" };
          const outcome = await store.put(key, body, { ...options, condition });
          add(key, -1);
          return outcome;
        },
      };
    },
  ],
  "checks a stale version": [
    /none of 4 racing writers/,
    (store) => ({
      put: (key, body, options) =>
        options.condition.kind === "match"
          ? Promise.resolve({ kind: "preconditionFailed" })
          : store.put(key, body, options),
    }),
  ],
  "lets the loser write": [
    /lost the race|was deleted|different ETags|does not honour/,
    (store) => ({
      put: async (key, body, options) => {
        const outcome = await store.put(key, body, options);
        if (outcome.kind === "preconditionFailed") await store.put(key, body, { ...soon, condition: { kind: "none" } });
        return outcome;
      },
    }),
  ],
  "reads what is old": [/cannot be read after it was written/, () => ({ get: () => Promise.resolve(null) })],
  "lists what is old": [/list does not show/, () => ({ list: () => Promise.resolve({ objects: [], more: false }) })],
  "does not delete": [/read after it was deleted/, () => ({ delete: () => Promise.resolve() })],
  "has no conditional writes": [
    /refused: not implemented/,
    () => ({ put: () => Promise.resolve({ kind: "refused", cause: new Error("not implemented"), retryable: false }) }),
  ],
};

function checkThenWrite(store: MemoryStore) {
  return async (key: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome> => {
    const found = await store.get(key, soon);
    await new Promise((resolve) => setImmediate(resolve));
    const { condition } = options;
    if (condition.kind === "absent" && found) return { kind: "preconditionFailed" };
    if (condition.kind === "match" && found?.etag !== condition.etag) return { kind: "preconditionFailed" };
    return store.put(key, body, { ...soon, condition: { kind: "none" } });
  };
}

class BrokenStore extends MemoryStore {
  readonly #broken: Partial<MemoryStore>;

  constructor(runtime: VirtualRuntime, breakage: (store: MemoryStore) => Partial<MemoryStore>) {
    super(runtime);
    this.#broken = breakage(new MemoryStore(runtime, this.bucket));
  }

  override get(key: ObjectKey, options: GetOptions): Promise<StoredObject | null> {
    return (this.#broken.get ?? super.get.bind(this))(key, options);
  }

  override put(key: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    return (this.#broken.put ?? super.put.bind(this))(key, body, options);
  }

  override list(prefix: string, options: ListOptions): Promise<ListPage> {
    return (this.#broken.list ?? super.list.bind(this))(prefix, options);
  }

  override delete(key: ObjectKey, options: { timeoutMs: number }): Promise<void> {
    return (this.#broken.delete ?? super.delete.bind(this))(key, options);
  }
}

for (const [name, [message, breakage]] of Object.entries(breakages)) {
  test(`a store that ${name} is refused, every time`, async () => {
    for (let seed = 0; seed < 5; seed++) {
      const runtime = new VirtualRuntime(seed);
      const store = new BrokenStore(runtime, breakage);
      await rejects(ensureStoreHolds(store, runtime, soon), { kind: "storeRefused", message });
      await rejects(
        ensureStoreHolds(store, runtime, soon),
        { kind: "storeRefused" },
        "a refusal is not recorded as a pass",
      );
    }
  });
}

test("an S3 server that ignores the headers of conditional writes is refused", async (t) => {
  const server = await startScriptedS3(heedlessS3());
  t.after(() => server.close());
  const runtime = createNodeRuntime();
  const credentials = async () => ({ accessKeyId: "a", secretAccessKey: "b" });
  const store = await openStore(parseStoreUrl(`s3://bucket?endpoint=${server.endpoint}`), runtime, { credentials });
  await rejects(ensureStoreHolds(store, runtime, { timeoutMs: 10_000 }), {
    kind: "storeRefused",
    message: /s3:\/\/bucket.*cannot hold a database: 4 of 4 racing writers.*If-None-Match/,
  });
  await store.close();
});

test("an answer that is lost is no refusal: the store is unavailable; throttling is waited out", async () => {
  const runtime = new VirtualRuntime(1);
  const lost = new FaultyStore(
    new MemoryStore(runtime),
    runtime,
    scriptedFaults([{ operation: "put", fault: { kind: "hang" } }]),
  );
  await rejects(probeStore(lost, runtime, soon), { kind: "storeUnavailable" });
  const throttling = seededFaults(runtime.random, { refused: 0.2 });
  const throttled = new FaultyStore(new MemoryStore(runtime), runtime, (call) =>
    call.operation === "put" ? throttling(call) : null,
  );
  await probeStore(throttled, runtime, soon);
});

test("what an interrupted probe left an hour ago is removed by the next one", async () => {
  const runtime = new VirtualRuntime(1);
  const store = new MemoryStore(runtime);
  const left = probeKey("0".repeat(16), 0);
  await store.put(left, Buffer.from("x"), { ...soon, condition: { kind: "absent" } });
  await probeStore(store, runtime, soon);
  equal((await store.list(prefixes.probes, { ...soon, limit: 10 })).objects.length, 1, "a young one may be in use");
  await new Promise<void>((resolve) => void runtime.timers.set(2 * 3_600_000, resolve));
  await probeStore(store, runtime, soon);
  equal(await store.get(left, soon), null);
});

test("one lost answer is no reason to fail: the store is tested again", async () => {
  for (const kind of ["errorBefore", "errorAfter", "hang"] as const) {
    for (let lost = 0; lost < 90; lost++) {
      const runtime = new VirtualRuntime(lost + 1);
      const inner = new MemoryStore(runtime);
      const store = new FaultyStore(inner, runtime, ({ number, key }) =>
        number === lost && key !== "probe/passed" ? { kind } : null,
      );
      equal(await ensureStoreHolds(store, runtime, soon), "tested", `${kind} of request ${lost}`);
    }
  }
});

test("a damaged record of a pass is made anew, and the store tested for it", async () => {
  const runtime = new VirtualRuntime(1);
  const bucket = new MemoryBucket();
  const store = new MemoryStore(runtime, bucket);
  equal(await ensureStoreHolds(store, runtime, soon), "tested");
  const { body, etag, modifiedMs } = bucket.entries.get("probe/passed")!;
  for (let at = 0; at < body.length; at++) {
    const damaged = Buffer.from(body);
    damaged[at]! ^= 0x20;
    bucket.set("probe/passed", { body: damaged, etag: `${etag}${at}`, modifiedMs });
    if (at === 4) continue;
    equal(await ensureStoreHolds(store, runtime, soon), "repaired", `byte ${at}`);
    equal(await ensureStoreHolds(store, runtime, soon), "known");
  }
});
