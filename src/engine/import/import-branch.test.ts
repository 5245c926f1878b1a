import { deepEqual, equal, match, rejects } from "node:assert/strict";
import { test } from "node:test";
import { newBranch, openHost, runtime } from "../../../test/engine/open-host.ts";
import { changed } from "../../../test/log/changed.ts";
import { DbError, isDbError } from "../../base/errors.ts";
import { Collector } from "../../collector/collector.ts";
import { branchNameRegister } from "../../leadership/branch-name.ts";
import { MemoryBucket, MemoryStore } from "../../objects/memory.ts";
import type { ObjectStore } from "../../objects/objects.ts";
import { BlockCache } from "../../storage/block-cache.ts";
import { newestCheckpoint } from "../../storage/checkpoint-store.ts";
import { AT_HEAD, KEYS, spaces } from "../../storage/storage.ts";
import { openTree } from "../../storage/tree.ts";
import { type Bucket, filePages, layOut } from "../bbolt/file.ts";
import type { Pair } from "../bbolt/pages.ts";
import { BboltReader } from "../bbolt/reader.ts";
import { defaultHostSettings } from "../host/default-settings.ts";
import { leaseKey } from "../lease-key.ts";
import { int64Bytes, leaseValue, revisionKey } from "../maintenance/etcd-encoding.ts";
import { keyValueBytes, writeKeyValue } from "../mvcc/key-value.ts";
import { readEtcdState } from "./etcd-state.ts";
import { importBranch } from "./import-branch.ts";

const request = { timeoutMs: 5000 };

interface Put {
  readonly main: number;
  readonly sub?: number;
  readonly key: string;
  readonly version?: number;
  readonly created?: number;
  readonly lease?: bigint;
  readonly value?: string;
}

const put = ({ main, sub = 0, key, version = 1, created = main, lease = 0n, value = "v" }: Put): Pair => {
  const bytes = Buffer.from(value);
  const parts = { key, createRevision: created, modRevision: main, version, lease };
  const all = { ...parts, value: bytes, valueStart: 0, valueEnd: bytes.length };
  const encoded = Buffer.alloc(keyValueBytes(all));
  writeKeyValue(encoded, 0, all);
  return { key: revisionKey({ main, sub, tombstone: false }), value: encoded };
};

const remove = (main: number, key: string, sub = 0): Pair => ({
  key: revisionKey({ main, sub, tombstone: true }),
  value: Buffer.concat([Buffer.of(0x0a, key.length), Buffer.from(key)]),
});

const lease = (id: bigint, ttl: number): Pair => ({ key: int64Bytes(id), value: leaseValue(id, ttl) });

const compacted = (main: number): Pair => ({
  key: Buffer.from("finishedCompactRev"),
  value: revisionKey({ main, sub: 0, tombstone: false }),
});

async function readerOf(buckets: Record<string, readonly Pair[]>): Promise<BboltReader> {
  const all = Object.entries({ key: [], lease: [], meta: [], ...buckets })
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([name, pairs]): Bucket => ({
        name,
        pairs: async function* () {
          yield pairs;
        },
      }),
    );
  const pieces: Buffer[] = [];
  for await (const piece of filePages(all, await layOut(all))) pieces.push(piece);
  const file = Buffer.concat(pieces);
  return new BboltReader({
    bytes: file.length,
    read: (start, length) => Buffer.from(file.subarray(start, start + length)),
  });
}

const plain = { bumpRevision: 0, markCompacted: false, checkFile: () => {}, onProgress: () => {} };
/** A file, and what is read of it first. */
const contentOf = (file: BboltReader) => ({ file, state: readEtcdState(file) });

async function imported(buckets: Record<string, readonly Pair[]>, memtableBytes = 1 << 20) {
  const store = new MemoryStore(runtime);
  const { tree, retention } = defaultHostSettings(store).branch;
  const settings = { tree, retention, memtableBytes };
  const file = await readerOf(buckets);
  const result = await importBranch({ store, runtime, name: "main", ...contentOf(file), settings, request, ...plain });
  const checkpoint = await newestCheckpoint(store, result.branch, request);
  const cache = new BlockCache({ bytesMax: 1 << 20 });
  return {
    store,
    result,
    tree: openTree({ store, runtime, branch: result.branch, cache, checkpoint, settings: tree }),
  };
}

const all = { from: "", to: null };

test("births, changes, deaths and what a compaction has left are counted as they are", async () => {
  const { result, tree } = await imported({
    // "old" is what a compaction at 10 has left of it; "gone" has but its tombstone of 10.
    key: [
      put({ main: 3, key: "old", version: 4, created: 2 }),
      remove(10, "gone"),
      put({ main: 11, key: "a" }),
      put({ main: 12, key: "a", version: 2, created: 11 }),
      put({ main: 13, sub: 0, key: "b" }),
      remove(13, "b", 1),
      put({ main: 13, sub: 2, key: "b", value: "again" }),
      remove(14, "old"),
    ],
    meta: [compacted(10)],
  });
  deepEqual([result.revision, result.compactRevision, result.keys, result.versions], [14, 10, 2, 8]);
  const counts = [10, 11, 12, 13, 14].map((at) => tree.count(KEYS, all, at));
  deepEqual(await Promise.all(counts), [1, 2, 2, 3, 2]);
  const versions = tree.versions({ range: all, after: 10, upTo: 14, compacted: null });
  const page = await versions.next(100, 1 << 20);
  deepEqual(
    page.versions.map(({ key, main, sub, tombstone }) => `${key}@${main}.${sub}${tombstone ? " deleted" : ""}`),
    ["a@11.0", "a@12.0", "b@13.0", "b@13.1 deleted", "b@13.2", "old@14.0 deleted"],
  );
  await versions.close();
  await tree.close();
});

test("keys hang on the leases that they were put with last, if there are such", async () => {
  const { tree, result } = await imported({
    key: [
      put({ main: 2, key: "a", lease: 7n }),
      put({ main: 3, key: "b", lease: 7n }),
      put({ main: 4, key: "b", lease: 8n, version: 2, created: 3 }),
      put({ main: 5, key: "c", lease: 7n }),
      put({ main: 6, key: "c", version: 2, created: 5 }),
      put({ main: 7, key: "d", lease: -9n }),
      put({ main: 8, key: "e", lease: 99n }),
      put({ main: 9, key: "f", lease: 7n }),
      remove(10, "f"),
    ],
    lease: [lease(7n, 60), lease(8n, 61), lease(-9n, 62)],
  });
  equal(result.leases, 3);
  const held = await tree.scan(spaces.leaseKeys, all, AT_HEAD, { limit: 0 });
  deepEqual(held.map(({ key }) => key).sort(), [`${leaseKey(7n)}a`, `${leaseKey(8n)}b`, `${leaseKey(-9n)}d`].sort());
  await tree.close();
});

test("many memtables, and tables below them: each key is found alive or not wherever it went", async () => {
  const key = (n: number): string => `key-${n % 500}`;
  const pairs: Pair[] = [];
  let revision = 1;
  for (let n = 0; n < 6000; n++) {
    const round = Math.floor(n / 500);
    revision++;
    if (round % 3 === 2) pairs.push(remove(revision, key(n)));
    else
      pairs.push(
        put({
          main: revision,
          key: key(n),
          version: (round % 3) + 1,
          created: round % 3 === 0 ? revision : revision - 500,
        }),
      );
  }
  const { result, tree } = await imported({ key: pairs }, 50_000);
  deepEqual([result.keys, result.versions], [0, 6000]);
  equal(await tree.count(KEYS, all, 1 + 500), 500);
  equal(await tree.count(KEYS, all, 1 + 1200), 300);
  equal(await tree.count(KEYS, all, 1 + 5000), 500);
  equal(tree.stats().tables > 0, true);
  await tree.close();
});

test("what takes the place of a bumped revision is no version, but the revision counts", async () => {
  const placeholder = { key: revisionKey({ main: 1002, sub: 0, tombstone: false }), value: Buffer.alloc(0) };
  const { result, tree } = await imported({ key: [put({ main: 2, key: "a" }), placeholder] });
  deepEqual([result.revision, result.keys, result.versions], [1002, 1, 1]);
  await tree.close();
});

test("who gives up in the middle, also while the store does not answer, is told so, and nothing stays", async () => {
  for (const waitsFor of ["sst/", "branch/"]) {
    const gaveUp = new AbortController();
    const memory = new MemoryStore(runtime) as ObjectStore;
    const store = changed(memory, {
      put: async (key, body, options) => {
        if (!key.startsWith(waitsFor) || key.endsWith("/origin") || key.endsWith("/leader"))
          return memory.put(key, body, options);
        setTimeout(() => gaveUp.abort(), 10);
        return new Promise((_resolve, reject) => options.signal?.addEventListener("abort", () => reject(canceled)));
      },
    });
    const canceled = new DbError("canceled");
    const { tree, retention } = defaultHostSettings(store).branch;
    const settings = { tree, retention, memtableBytes: 1 << 20 };
    const content = contentOf(await readerOf({ key: [put({ main: 2, key: "a" })] }));
    const asked = { ...request, signal: gaveUp.signal };
    const importing = importBranch({ store, runtime, name: "main", ...content, settings, request: asked, ...plain });
    await rejects(importing, /interrupted: nothing was imported/);
    const { objects } = await memory.list("branch/", { ...request, limit: 10 });
    deepEqual(
      objects.map(({ key }) => key.slice(-7)),
      ["/leader"],
    );
  }
});

test("what no etcd writes is refused, and leaves neither a branch nor a name", async () => {
  const cases: [Record<string, readonly Pair[]>, RegExp][] = [
    [{ key: [{ key: Buffer.from("short"), value: Buffer.alloc(0) }] }, /the bucket "key" has .*, which is no revision/],
    [
      { key: [{ ...put({ main: 5, key: "a" }), key: revisionKey({ main: 6, sub: 0, tombstone: false }) }] },
      /revision 6, number 0: its pair has revisions 5 and 5/,
    ],
    [{ key: [put({ main: 5, key: "a", version: 0 })] }, /version 0/],
    [{ key: [put({ main: 5, key: "a", created: 6 })] }, /revisions 6 and 5/],
    [
      { key: [{ key: revisionKey({ main: 5, sub: 0, tombstone: false }), value: Buffer.of(0x7a, 0) }] },
      /unknown or misplaced field/,
    ],
    [{ key: [put({ main: 5, key: "a" }), remove(5, "a")] }, /revision 5, number 0 is there twice/],
    [
      {
        key: [
          {
            ...put({ main: 5, key: "a" }),
            value: Buffer.concat([put({ main: 5, key: "a" }).value.subarray(0, -3), Buffer.of(0x2a, 0)]),
          },
        ],
      },
      /not encoded as etcd/,
    ],
    [{ key: [put({ main: 5, key: "" })] }, /revision 5, number 0: its key is empty/],
    [{ key: [put({ main: 2 ** 53 - 1, key: "a" })] }, /revision 9007199254740991, number 0 is out of bounds/],
    [{ key: [{ key: Buffer.alloc(1 << 20, "x"), value: Buffer.alloc(0) }] }, /which is no revision/],
    [{ lease: [{ key: int64Bytes(7n), value: leaseValue(8n, 1) }] }, /the lease 0000000000000007 has id 8/],
    [{ lease: [{ key: int64Bytes(7n), value: Buffer.alloc(1 << 20, 8) }] }, /a lease has 1048576 bytes/],
    [{ lease: [{ key: int64Bytes(7n), value: Buffer.of(0x08) }] }, /a lease \(08\) ends early/],
    [
      { authUsers: [{ key: Buffer.from("u"), value: Buffer.of(0xff, 1) }] },
      /the user "u": a stored user has an unknown field/,
    ],
    [{ meta: [{ key: Buffer.from("finishedCompactRev"), value: Buffer.of(1) }] }, /no revision as finishedCompactRev/],
  ];
  for (const [buckets, message] of cases) {
    const store = new MemoryStore(runtime);
    const { tree, retention } = defaultHostSettings(store).branch;
    const file = await readerOf(buckets);
    const settings = { tree, retention, memtableBytes: 1 << 20 };
    const attempt = async () =>
      importBranch({ store, runtime, name: "main", ...contentOf(file), settings, request, ...plain });
    await rejects(attempt, (error: unknown) => {
      equal(isDbError(error, "invalidArgument"), true, String(error));
      match((error as Error).message, message);
      equal((error as Error).message.length < 300, true);
      return true;
    });
    equal(await branchNameRegister(store, "main", runtime).read(request), null);
    const { objects } = await store.list("branch/", { ...request, limit: 10 });
    // Of what is seen beside the keys nothing was begun; else the branch says that it has ended.
    const isSeenFirst = Object.keys(buckets).every((name) => name !== "key");
    deepEqual(
      objects.map(({ key }) => key.replace(/^branch\/[0-9a-f]{32}\//, "")),
      isSeenFirst ? [] : ["leader"],
    );
  }
});

test("a name that was given to another meanwhile stays that one's", async () => {
  const store = new MemoryStore(runtime);
  const { tree, retention } = defaultHostSettings(store).branch;
  const settings = { tree, retention, memtableBytes: 1 << 20 };
  const one = async () =>
    importBranch({
      store,
      runtime,
      name: "main",
      ...contentOf(await readerOf({ key: [put({ main: 2, key: "a" })] })),
      settings,
      request,
      ...plain,
    });
  const outcomes = await Promise.allSettled([one(), one()]);
  deepEqual(outcomes.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
  const winner = outcomes.find((each) => each.status === "fulfilled")!.value;
  equal((await branchNameRegister(store, "main", runtime).read(request))?.body.branch, winner.branch);
  await rejects(one(), /there is a branch named main already/);
});

for (const [fate, what] of [
  ["crashed", "crashed leaves"],
  ["slow", "was only slow gives no name, and leaves"],
] as const) {
  test(`an importer that ${what} nothing for ever`, async (t) => {
    const bucket = new MemoryBucket();
    const memory = new MemoryStore(runtime, bucket) as ObjectStore;
    const [reached, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const store = changed(memory, {
      put: async (key, body, options) => {
        if (key === "name/moved") {
          reached.resolve();
          await goOn.promise;
        }
        return memory.put(key, body, options);
      },
    });
    const { host } = await openHost(t, { bucket });
    const { tree, retention } = defaultHostSettings(store).branch;
    const file = await readerOf({ key: [put({ main: 2, key: "a" })] });
    const settings = { tree, retention, memtableBytes: 1 << 20 };
    const importing = importBranch({ store, runtime, name: "moved", ...contentOf(file), settings, request, ...plain });
    importing.catch(() => {});
    await reached.promise;
    const tables = (): string[] => [...bucket.entries.keys()].filter((key) => key.startsWith("sst/"));
    equal(tables().length, 1);
    const hourAgo = (): void => {
      for (const [key, entry] of bucket.entries)
        bucket.set(key, { ...entry, modifiedMs: entry.modifiedMs - 7_200_000 });
    };
    const collector = new Collector({
      store: memory,
      runtime,
      requestTimeoutMs: 5000,
      graceMs: 0,
      deletesPerSecond: 0,
    });
    await collector.collect();
    equal(tables().length, 1, "it may be being imported");
    hourAgo();
    await host.branches.sweep();
    await collector.collect();
    deepEqual(tables(), []);
    if (fate === "crashed") return;
    goOn.resolve();
    await rejects(importing, /the name moved changed meanwhile \(.*\): try again/);
    deepEqual([...bucket.entries.keys()].filter((key) => key.endsWith("/origin")).length, 1);
    await host.branches.create(newBranch("moved"));
  });
}
