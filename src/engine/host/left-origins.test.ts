import { deepEqual, equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { newBranch, openHost, runtime } from "../../../test/engine/open-host.ts";
import { put } from "../../../test/engine/requests.ts";
import { changed } from "../../../test/log/changed.ts";
import { MemoryBucket, MemoryStore } from "../../objects/memory.ts";
import type { ObjectStore } from "../../objects/objects.ts";

const HOUR_MS = 3_600_000;

const originsOf = (bucket: MemoryBucket): string[] =>
  [...bucket.entries.keys()].filter((key) => key.endsWith("/origin")).sort();

/** As if all origins had been made so long ago. */
function age(bucket: MemoryBucket, ms: number): void {
  for (const key of originsOf(bucket)) {
    const entry = bucket.entries.get(key)!;
    bucket.set(key, { ...entry, modifiedMs: entry.modifiedMs - ms });
  }
}

test("the origin of a cut that crashed goes after an hour; named ones, and main's, stay", async (t) => {
  const bucket = new MemoryBucket();
  const memory = new MemoryStore(runtime, bucket) as ObjectStore;
  let crashing = false;
  const store = changed(memory, {
    put: async (key, body, options) => {
      if (crashing && key.startsWith("name/")) return { kind: "refused", cause: new Error("crash"), retryable: false };
      return memory.put(key, body, options);
    },
    delete: async (key, options) => {
      if (!crashing) await memory.delete(key, options);
    },
  });
  const { host, main } = await openHost(t, { bucket, store });
  await main.database.put(put("k"));
  await main.checkpoint();
  await host.branches.create(newBranch("never-led"));
  const before = originsOf(bucket);
  crashing = true;
  await rejects(host.branches.create(newBranch("crashed")));
  crashing = false;
  const [left] = originsOf(bucket).filter((key) => !before.includes(key));
  equal(left !== undefined, true);
  await host.branches.sweep();
  equal(bucket.entries.has(left!), true, "it may be being cut");
  age(bucket, 2 * HOUR_MS);
  await host.branches.sweep();
  deepEqual(originsOf(bucket), before);
});

test("who was only slow to cut a branch meets that its origin is gone, and takes the name back", async (t) => {
  const bucket = new MemoryBucket();
  const memory = new MemoryStore(runtime, bucket) as ObjectStore;
  const stall = Promise.withResolvers<void>();
  let stalled = () => {};
  const reached = new Promise<void>((resolve) => (stalled = resolve));
  const store = changed(memory, {
    put: async (key, body, options) => {
      if (key === "name/slow") {
        stalled();
        await stall.promise;
      }
      return memory.put(key, body, options);
    },
  });
  const { host, main } = await openHost(t, { bucket, store });
  await main.database.put(put("k"));
  const cut = host.branches.create(newBranch("slow"));
  await reached;
  age(bucket, 2 * HOUR_MS);
  await host.branches.sweep();
  equal(originsOf(bucket).length, 1, "main's alone");
  stall.resolve();
  await rejects(cut, { kind: "notFound" });
  await rejects(async () => host.database("slow"), { kind: "notFound" });
});
