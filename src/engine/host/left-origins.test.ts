import { deepEqual, equal, notEqual, rejects } from "node:assert/strict";
import { test } from "node:test";
import { newBranch, openHost, runtime } from "../../../test/engine/open-host.ts";
import { put } from "../../../test/engine/requests.ts";
import { changed } from "../../../test/log/changed.ts";
import { originKey } from "../../objects/keys.ts";
import { MemoryBucket, MemoryStore } from "../../objects/memory.ts";
import type { ObjectStore } from "../../objects/objects.ts";
import { defaultHostSettings } from "./default-settings.ts";

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

test("the origin of a branch that was ended, made anew by a late request, goes", async (t) => {
  const bucket = new MemoryBucket();
  const defaults = defaultHostSettings(new MemoryStore(runtime, bucket)).branches;
  const { host, main } = await openHost(t, { bucket, branches: { ...defaults, graceMs: 0 } });
  await main.database.put(put("k"));
  for (const isLed of [false, true]) {
    const { branch } = await host.branches.create(newBranch("short"));
    if (isLed) await (await host.database("short")).put(put("k2"));
    const key = originKey(branch.id);
    const entry = bucket.entries.get(key)!;
    await host.branches.delete("short");
    await host.branches.sweep();
    equal(bucket.entries.has(key), false);
    bucket.set(key, entry);
    age(bucket, 2 * HOUR_MS);
    await host.branches.sweep();
    equal(bucket.entries.has(key), false);
  }
});

for (const had of ["none", "a branch that was deleted"]) {
  test(`who was only slow to cut a branch begins anew, with a name that has had ${had}`, async (t) => {
    const bucket = new MemoryBucket();
    const memory = new MemoryStore(runtime, bucket) as ObjectStore;
    const [stall, reached] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let stalled: "absent" | "match" | null = null;
    const store = changed(memory, {
      put: async (key, body, options) => {
        if (key === "name/slow" && options.condition.kind === stalled) {
          stalled = null;
          // The store carries it out late.
          reached.resolve();
          await stall.promise;
        }
        return memory.put(key, body, options);
      },
    });
    const defaults = defaultHostSettings(store).branches;
    const { host, main } = await openHost(t, { bucket, store, branches: { ...defaults, graceMs: 0 } });
    await main.database.put(put("k"));
    const [ofMain] = originsOf(bucket);
    if (had !== "none") {
      await host.branches.create(newBranch("slow"));
      await host.branches.delete("slow");
      await host.branches.sweep();
    }
    stalled = had === "none" ? "absent" : "match";
    const cut = host.branches.create(newBranch("slow"));
    await reached.promise;
    const [left] = originsOf(bucket).filter((key) => key !== ofMain);
    age(bucket, 2 * HOUR_MS);
    await host.branches.sweep();
    deepEqual(originsOf(bucket), [ofMain]);
    stall.resolve();
    const { branch } = await cut;
    notEqual(originKey(branch.id), left);
    deepEqual(originsOf(bucket), [ofMain, originKey(branch.id)].sort());
    await (await host.database("slow")).put(put("of-its-own"));
  });
}
