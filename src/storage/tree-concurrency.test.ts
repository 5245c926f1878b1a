import { deepEqual, equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { historyOf } from "../../test/storage/history.ts";
import { NaiveTree, shown } from "../../test/storage/naive-tree.ts";
import { BRANCH, StorageBench } from "../../test/storage/storage-bench.ts";
import { DbError, isDbError } from "../base/errors.ts";
import { newestCheckpoint } from "./checkpoint-store.ts";
import { Levels } from "./levels.ts";
import { AT_HEAD, KEYS, spaces } from "./storage.ts";

const all = { from: "", to: null };
const small = { tableBytes: 300, blockBytes: 40, runsMax: 1, mergeInputsMax: 3 };

function put(bench: StorageBench, naive: NaiveTree, key: string, value: string | null): void {
  const { revision, record } = bench.begin(true);
  for (const [space, main] of [
    [KEYS, revision],
    [spaces.leases, record],
  ] as const) {
    const entry = naive.write(space, key, main, 0, value);
    if (entry !== null) bench.tree.apply(entry);
  }
}

/** Answers later than what the test does meanwhile, for a while; and fails now and then if told to. */
function slow(bench: StorageBench, fails: () => boolean = () => false): void {
  const get = bench.store.get.bind(bench.store);
  bench.store.get = async (key, options) => {
    for (let turn = 0; turn < 3; turn++) await new Promise<void>((resolve) => bench.runtime.timers.defer(resolve));
    if (fails()) throw new DbError("storeUnavailable", "no answer");
    return get(key, options);
  };
}

test("a read that waits for blocks answers as of its call, whatever is written or merged meanwhile", async () => {
  const key = fc.constantFrom("a", "b", "c", "d", "e", "f");
  const write = fc.tuple(key, fc.option(fc.string({ maxLength: 20 }), { freq: 3 }));
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(write, { minLength: 1, maxLength: 8 }), { minLength: 2, maxLength: 8 }),
      fc.boolean(),
      async (rounds, reverse) => {
        const bench = new StorageBench({ cacheBytes: 900, settings: small });
        const naive = new NaiveTree();
        slow(bench);
        const checks: Promise<void>[] = [];
        for (const writes of rounds) {
          for (const [name, value] of writes) {
            put(bench, naive, name, value);
            checks.push(checkNow(bench, naive, name, reverse));
          }
          const persisted = bench.persist(-1);
          checks.push(checkNow(bench, naive, "c", reverse));
          put(bench, naive, "c", "while it is written");
          await persisted;
        }
        await Promise.all(checks);
        await bench.tree.settled();
        await checkNow(bench, naive, "c", reverse);
        await bench.close();
      },
    ),
    { numRuns: 40 },
  );
});

/** Asks now, and compares the answers when they come with what was so now. */
async function checkNow(bench: StorageBench, naive: NaiveTree, key: string, reverse: boolean): Promise<void> {
  const { tree } = bench;
  const head = bench.revision;
  const asked = [
    tree.get(KEYS, key, AT_HEAD),
    tree.get(spaces.leases, key, AT_HEAD),
    tree.scan(KEYS, all, AT_HEAD, { limit: 0, reverse }),
    tree.scan(spaces.leases, all, AT_HEAD, { limit: 0, reverse }),
    tree.count(KEYS, all, AT_HEAD),
    tree.count(spaces.leases, all, AT_HEAD),
    historyOf(tree, { range: all, after: 1, upTo: head, limit: 1000 }),
  ] as const;
  const want = {
    key: shown(naive.get(KEYS, key, AT_HEAD)),
    lease: shown(naive.get(spaces.leases, key, AT_HEAD)),
    keys: naive.scan(KEYS, all, AT_HEAD, 0, reverse).map(shown),
    leases: naive.scan(spaces.leases, all, AT_HEAD, 0, reverse).map(shown),
    history: naive.history(all, 1, head).map(shown),
  };
  equal(shown(await asked[0]), want.key);
  equal(shown(await asked[1]), want.lease);
  deepEqual((await asked[2]).map(shown), want.keys);
  deepEqual((await asked[3]).map(shown), want.leases);
  equal(await asked[4], want.keys.length);
  equal(await asked[5], want.leases.length);
  deepEqual((await asked[6]).map(shown), want.history);
}

test("a store that fails now and then: reads and persists fail by name, and succeed when tried again", async () => {
  const bench = new StorageBench({ cacheBytes: 900, settings: small });
  const naive = new NaiveTree();
  let requests = 0;
  let failing = true;
  slow(bench, () => failing && ++requests % 3 === 0);
  const storePut = bench.store.put.bind(bench.store);
  bench.store.put = async (key, body, options) => {
    if (failing && ++requests % 2 === 0) return { kind: "refused", cause: new Error("throttled"), retryable: false };
    return storePut(key, body, options);
  };
  let failed = 0;
  for (let i = 0; i < 60; i++) {
    put(bench, naive, `key${i % 17}`, i % 5 === 0 ? null : `value ${i}`);
    try {
      await bench.persist(-1);
    } catch (error) {
      equal(isDbError(error), true, String(error));
      failed++;
    }
    try {
      equal(await bench.tree.count(KEYS, all, AT_HEAD), naive.scan(KEYS, all, AT_HEAD, 0, false).length);
    } catch (error) {
      equal(isDbError(error, "storeUnavailable"), true, String(error));
      failed++;
    }
  }
  equal(failed > 10, true, `${failed} failures`);
  failing = false;
  await bench.persist(-1);
  await bench.tree.settled();
  await checkNow(bench, naive, "key3", false);
  await bench.reopen(naive.entries);
  await checkNow(bench, naive, "key3", false);
  await bench.close();
});

test("a crash between tables and checkpoint: the last checkpoint and the log have everything", async () => {
  const bench = new StorageBench({ cacheBytes: 10_000, settings: small });
  const naive = new NaiveTree();
  put(bench, naive, "a", "1");
  await bench.persist(-1);
  const before = await newestCheckpoint(bench.store, BRANCH, { timeoutMs: 1000 });
  put(bench, naive, "b", "2");
  const storePut = bench.store.put.bind(bench.store);
  bench.store.put = async (key, body, options) => {
    if (key.includes("/checkpoint/")) return { kind: "refused", cause: new Error("gone"), retryable: false };
    return storePut(key, body, options);
  };
  await rejects(bench.persist(-1), /gone/);
  bench.store.put = storePut;
  equal([...bench.bucket.entries.keys()].filter((key) => key.startsWith("sst/")).length, 2);
  await bench.reopen(naive.entries);
  equal(bench.tree.checkpoint?.id, before?.id);
  await checkNow(bench, naive, "b", false);
  await bench.persist(-1);
  await checkNow(bench, naive, "b", false);
  await bench.close();
});

test("a tree is opened without a request", async () => {
  const bench = new StorageBench({ cacheBytes: 10_000, settings: small });
  const naive = new NaiveTree();
  for (let i = 0; i < 50; i++) put(bench, naive, `key${i}`, `value ${i}`);
  await bench.persist(-1);
  let gets = 0;
  const get = bench.store.get.bind(bench.store);
  bench.store.get = (key, options) => {
    if (key.startsWith("sst/")) gets++;
    return get(key, options);
  };
  await bench.reopen(naive.entries);
  equal(gets, 0);
  equal(bench.tree.stats().keys, 50);
  equal(await bench.tree.count(KEYS, all, AT_HEAD), 50);
  equal(gets, 0, "a count of everything is in the checkpoint");
  await bench.tree.get(KEYS, "key7", AT_HEAD);
  equal(gets <= 2, true, `${gets} requests for the first read`);
  await bench.close();
});

test("a tree that is closed asks nothing more of the store, which may be closed by then", async () => {
  const bench = new StorageBench({ cacheBytes: 1 << 20, settings: {} });
  const naive = new NaiveTree();
  put(bench, naive, "key", "value");
  await bench.persist(-1);
  await bench.reopen(naive.entries);
  await bench.close();
  await bench.store.close();
  await rejects(
    async () => bench.tree.get(KEYS, "key", AT_HEAD),
    (error) => isDbError(error, "noLeader"),
  );
});

test("what has met a bug between two steps writes no checkpoint: the log has all of it", async (t) => {
  const { flush } = Levels.prototype;
  t.after(() => Object.assign(Levels.prototype, { flush }));
  Levels.prototype.flush = async (_write, done) => {
    done();
    throw new TypeError("a bug");
  };
  for (const early of [true, false]) {
    const bench = new StorageBench({ cacheBytes: 10_000, settings: small });
    bench.tree.onBug = () => {};
    put(bench, new NaiveTree(), "a", "1");
    await rejects(bench.persist(-1, { early }), /a bug/);
    equal(await newestCheckpoint(bench.store, BRANCH, { timeoutMs: 1000 }), null);
    await bench.close();
  }
});
