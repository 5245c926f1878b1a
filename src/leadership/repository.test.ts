import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { VirtualRuntime } from "../../test/contract/virtual-runtime.ts";
import { type DbError, isDbError } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import { type FaultPlan, FaultyStore, seededFaults } from "../objects/faulty.ts";
import { nameKey, originKey, probeKey, probePassedKey, repositoryKey } from "../objects/keys.ts";
import { MemoryBucket, MemoryStore } from "../objects/memory.ts";
import { branchNameRegister, resolveBranch } from "./branch-name.ts";
import { mainBranchId } from "./identity.ts";
import { encodeOrigin, readOrigin, rootOrigin } from "./origin.ts";
import { openRepository, type Repository, readRepository } from "./repository.ts";

const request = { timeoutMs: 5000 };

function world(seed = 1): { runtime: VirtualRuntime; bucket: MemoryBucket; store: MemoryStore } {
  const runtime = new VirtualRuntime(seed);
  const bucket = new MemoryBucket();
  return { runtime, bucket, store: new MemoryStore(runtime, bucket) };
}

const open = (store: MemoryStore | FaultyStore, runtime: VirtualRuntime, window = 8): Promise<Repository> =>
  openRepository({ store, runtime, window, requestTimeoutMs: 5000 });

test("an empty prefix is founded with main in it; who opens later finds the same", async () => {
  const { runtime, bucket, store } = world();
  equal(await readRepository(store, request), null);
  const repository = await open(store, runtime);
  const main = mainBranchId(repository.id);
  deepEqual([...bucket.sorted], [originKey(main), nameKey("main"), repositoryKey].sort());
  deepEqual(await open(store, runtime, 16), repository, "the window stays as it was founded");
  deepEqual(await readRepository(store, request), repository);
  equal((await resolveBranch(store, "main", runtime, request)).branch, main);
  deepEqual(await readOrigin(store, main, request), rootOrigin(main));
});

test("many who open at once found one repository", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { runtime, bucket, store } = world(seed);
    const faults = seededFaults(runtime.random, { errorBefore: 0.1, errorAfter: 0.2, delay: 0.3, delayMsMax: 8000 });
    const founders = Array.from({ length: 5 }, () => new FaultyStore(store, runtime, faults));
    const opened = await Promise.allSettled(founders.map((founder) => open(founder, runtime)));
    await Promise.all(founders.map((founder) => founder.settled()));
    const final = await open(store, runtime);
    for (const one of opened) {
      if (one.status === "fulfilled") deepEqual(one.value, final);
      else ok(isDbError(one.reason, "storeUnavailable"), String(one.reason));
    }
    equal(bucket.sorted.length, 3, "nothing but what was to be made");
  }
});

test("a founder that dies after any request is repaired by the next one", async () => {
  for (const kind of ["errorBefore", "errorAfter"] as const) {
    for (let last = 0; last < 12; last++) {
      const { runtime, bucket, store } = world();
      const dead: FaultPlan = ({ number }) =>
        number < last ? null : number === last ? { kind } : { kind: "errorBefore" };
      await open(new FaultyStore(store, runtime, dead), runtime).catch((error: unknown) => ok(isDbError(error)));
      const repository = await open(store, runtime);
      equal((await resolveBranch(store, "main", runtime, request)).branch, mainBranchId(repository.id));
      equal(bucket.sorted.length, 3);
    }
  }
});

test("a prefix that holds anything but the start-up test's objects is not founded", async () => {
  for (const key of ["a.txt", "name/main", "branch/x", "zzz", "probe/mine"]) {
    const { runtime, bucket, store } = world();
    await store.put(key as ObjectKey, Buffer.from("x"), { ...request, condition: { kind: "none" } });
    await rejects(open(store, runtime), (error: DbError) => {
      ok(error.kind === "storeRefused" && error.message.includes(`holds "${key}"`), error.message);
      return error.message.includes("repository.json");
    });
    deepEqual([...bucket.sorted], [key]);
  }
  const { runtime, store } = world();
  for (const key of [probePassedKey, ...Array.from({ length: 1200 }, (_, n) => probeKey("0".repeat(16), n))]) {
    await store.put(key, Buffer.from("x"), { ...request, condition: { kind: "none" } });
  }
  ok((await open(store, runtime)).id);
});

test("main may have been changed since: what its name says stands, and a tombstone is not made alive", async () => {
  const { runtime, store } = world();
  await open(store, runtime);
  const register = branchNameRegister(store, "main", runtime);
  const state = (await register.read(request))!;
  await register.swap(state, { ...state.body, tombstone: true }, request);
  await open(store, runtime);
  await rejects(resolveBranch(store, "main", runtime, request), /no branch named main/);
  await rejects(resolveBranch(store, "Main", runtime, request), /DNS label/);
});

test("an origin of main with other bytes is damage, named", async () => {
  const { runtime, bucket, store } = world();
  const { id } = await open(store, runtime);
  const main = mainBranchId(id);
  bucket.delete(nameKey("main"));
  bucket.delete(originKey(main));
  const origin = { ...rootOrigin(main), parent: main };
  await store.put(originKey(main), encodeOrigin(origin), { ...request, condition: { kind: "absent" } });
  await rejects(
    open(store, runtime),
    (error: DbError) => error.kind === "corrupt" && error.message.includes(originKey(main)),
  );
  await rejects(readOrigin(store, mainBranchId("0".repeat(32)), request), /has no origin/);
});

test("a window out of its bounds is refused before anything is written", async () => {
  const { runtime, bucket, store } = world();
  for (const window of [0, 257, 1.5]) await rejects(open(store, runtime, window), /window of slots is 1 to 256/);
  equal(bucket.sorted.length, 0);
});
