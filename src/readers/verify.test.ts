import { deepEqual, equal, match, ok } from "node:assert/strict";
import { before, test } from "node:test";
import { copyOf, runtime, sampleBucket, setObject } from "../../test/readers/sample-bucket.ts";
import type { ObjectKey } from "../base/ids.ts";
import { BucketHistory } from "../engine/branches/bucket-history.ts";
import { decodeEnvelope, encodeEnvelope } from "../objects/envelope.ts";
import { type ObjectKind, parseKey } from "../objects/keys.ts";
import { type MemoryBucket, MemoryStore } from "../objects/memory.ts";
import { ReadOnlyStore } from "../objects/read-only.ts";
import { defaultRetention } from "../storage/checkpoint-retention.ts";
import { verifyRepository } from "./verify.ts";

const request = { timeoutMs: 10_000 };

const verify = (bucket: MemoryBucket, quick = false) =>
  verifyRepository({
    store: new ReadOnlyStore(new MemoryStore(runtime, bucket)),
    runtime,
    request,
    quick,
    onProgress: () => {},
  });

let bucket: MemoryBucket;
before(async () => {
  bucket = await sampleBucket();
});

const faultsOf = async (of: MemoryBucket, quick = false) => (await verify(of, quick)).findings.faults;

const keysOf = (kind: ObjectKind): string[] => [...bucket.entries.keys()].filter((key) => parseKey(key)?.kind === kind);

test("a repository without faults has none, and what nothing names is listed", async () => {
  for (const quick of [false, true]) {
    const report = await verify(bucket, quick);
    deepEqual(report.findings.faults, []);
    const [main] = report.branches;
    ok(main !== undefined && main.keys !== null && main.keys > 0 && main.segments > 10 && main.epoch === 2);
    ok(report.tables.named > 1);
    equal(report.objects, bucket.entries.size - 1, "all but the left-over probe are counted as objects");
    const stored = [...bucket.entries].filter(([key]) => parseKey(key)?.kind !== "probe");
    equal(
      report.bytes,
      stored.reduce((sum, [, { body }]) => sum + body.length, 0),
    );
  }
});

test("t4 usage counts the same objects and bytes", async () => {
  const store = new ReadOnlyStore(new MemoryStore(runtime, bucket));
  const history = new BucketHistory({
    ...{ store, runtime, request, writer: null, retention: defaultRetention },
    settle: async () => {},
  });
  const usage = await history.usage({ branch: null, prefixDepth: 0 });
  const { objects, bytes } = await verify(bucket);
  deepEqual([usage.objects, usage.bytes], [objects, bytes]);
  for (const kind of ["name", "session", "repository", "leader"] as const) ok(keysOf(kind).length > 0, kind);
});

/** mulberry32 */
let state = 20_260_801;
const random = (below: number): number => {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), state | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) % below;
};

/** Of the left-overs of a store's test nobody reads anything: they are removed by the next one. */
const kinds: readonly ObjectKind[] = [
  "repository",
  "name",
  "session",
  "origin",
  "leader",
  "segment",
  "checkpoint",
  "table",
  "collection",
  "collectionDone",
  "probePassed",
];
const FLIPS = 40;

test("a bit flipped anywhere, in any kind of object, is found and its object named", async (t) => {
  const found: Record<string, number> = {};
  for (const kind of kinds) {
    const keys = keysOf(kind);
    ok(keys.length > 0, `there is a ${kind}`);
    for (let n = 0; n < FLIPS; n++) {
      const key = keys[random(keys.length)]!;
      const body = Buffer.from(bucket.entries.get(key)!.body);
      const bit = random(body.length * 8);
      body[bit >>> 3]! ^= 1 << (bit & 7);
      const damaged = copyOf(bucket);
      setObject(damaged, key, body);
      const faults = await faultsOf(damaged);
      ok(
        faults.some(({ object }) => object === key),
        `${key}, bit ${bit}: ${JSON.stringify(faults)}`,
      );
      found[kind] = (found[kind] ?? 0) + 1;
    }
  }
  t.diagnostic(`found, by kind of object: ${JSON.stringify(found)}`);
});

test("a damaged block is named by its place", async () => {
  const key = keysOf("table")[0]!;
  const body = Buffer.from(bucket.entries.get(key)!.body);
  body[20]! ^= 1;
  const damaged = copyOf(bucket);
  setObject(damaged, key, body);
  const faults = (await faultsOf(damaged)).filter(({ object }) => object === key);
  match(faults[0]!.what, /^block at byte 12: checksum 0x[0-9a-f]{8}, expected 0x[0-9a-f]{8}$/);
  match(faults[1]!.what, /^SHA-256 [0-9a-f]{64}, expected the one in its name$/);
  deepEqual(await faultsOf(damaged, true), [], "its data is what --quick leaves out");
});

test("cut, emptied, and longer objects are found", async () => {
  for (const kind of kinds) {
    const keys = keysOf(kind);
    const key = keys[random(keys.length)]!;
    const { body } = bucket.entries.get(key)!;
    const cuts = [0, 1, random(body.length), body.length - 1].map((length) => body.subarray(0, length));
    for (const changed of [...cuts, Buffer.concat([body, Buffer.alloc(1)])]) {
      const damaged = copyOf(bucket);
      setObject(damaged, key, Buffer.from(changed));
      for (const quick of [false, true]) {
        const faults = await faultsOf(damaged, quick);
        ok(
          faults.some(({ object }) => object === key),
          `${key}, ${changed.length} bytes: ${JSON.stringify(faults)}`,
        );
      }
    }
  }
});

test("two objects of a kind that have changed places are both found", async () => {
  for (const kind of ["segment", "checkpoint", "table", "session"] as const) {
    const keys = keysOf(kind);
    for (let n = 0; n < 8; n++) {
      const [a, b] = [keys[random(keys.length)]!, keys[random(keys.length)]!];
      if (a === b) continue;
      const swapped = copyOf(bucket);
      setObject(swapped, a, bucket.entries.get(b)!.body);
      setObject(swapped, b, bucket.entries.get(a)!.body);
      const named = new Set((await faultsOf(swapped)).map(({ object }) => object));
      ok(named.has(a) && named.has(b), `${a} and ${b}: ${[...named].join(", ")}`);
    }
  }
});

test("a leader record that is missing although epochs have written is found", async () => {
  const leader = keysOf("leader")[0]!;
  const damaged = copyOf(bucket);
  damaged.delete(leader);
  const faults = await faultsOf(damaged);
  deepEqual(faults, [{ object: leader, what: "is missing, and epoch 2 has led" }]);
});

test("a missing object is named, with what names it", async () => {
  const report = await verify(bucket);
  const litter = new Set(report.findings.garbage.map(({ object }) => object));
  // The newest of each are named by nothing yet: without the checkpoint, the log behind the one before it is all there.
  const newest = ["segment", "checkpoint"].map((kind) => keysOf(kind as ObjectKind).at(-1)!);
  const must = [...bucket.entries.keys()].filter((key) => {
    const kind = parseKey(key)!.kind;
    return (
      !litter.has(key) &&
      !["session", "probePassed", "collection", "collectionDone"].includes(kind) &&
      !newest.includes(key)
    );
  });
  ok(must.length > 30);
  // A fence below the log that is kept is there for stalled writers alone: nothing names it.
  const first = must.filter((key) => parseKey(key)?.kind === "segment");
  for (const key of must) {
    const damaged = copyOf(bucket);
    damaged.delete(key);
    const faults = await faultsOf(damaged, true);
    const named = faults.some(({ object }) => object === key);
    ok(named || first.indexOf(key) === 0, `${key}: ${JSON.stringify(faults)}`);
  }
});

test("what is there and named by nothing is listed, with its size and why", async () => {
  const more = copyOf(bucket);
  const table = keysOf("table")[0]!;
  setObject(more, "notes.txt", Buffer.from("mine"));
  setObject(more, "other/thing", Buffer.from("mine"));
  const unnamed = `${table.slice(0, -64)}${"0".repeat(64)}`;
  setObject(more, unnamed, Buffer.from(bucket.entries.get(table)!.body));
  const { findings } = await verify(more);
  const why = new Map(findings.garbage.map(({ object, why: because }) => [object, because]));
  equal(why.get("notes.txt"), "is not one of t4's objects");
  equal(why.get("other/thing"), "is not one of t4's objects");
  match(why.get(unnamed) ?? "", /^is in no checkpoint/);
  match(findings.faults[0]!.what, /^SHA-256/);
  equal(findings.faults[0]!.object, unnamed);
});

test("what is put in the middle of a log, where readers stop at it, is a fault", async () => {
  const more = copyOf(bucket);
  const foreign = `${keysOf("segment")[3]!}.bak`;
  setObject(more, foreign, Buffer.from("mine"));
  match(JSON.stringify(await faultsOf(more)), new RegExp(foreign));
});

test("what is left of a deleted branch is checked and listed; what its log lacks is no fault", async () => {
  const more = copyOf(bucket);
  const leader = keysOf("leader")[0]! as ObjectKey;
  const { counter, body } = decodeEnvelope(leader, more.entries.get(leader)!.body);
  const deleted = { ...(body as object), tombstone: true, released: true, inSync: [] };
  setObject(more, leader, encodeEnvelope(leader, { counter: counter + 1, body: deleted }));
  const segments = keysOf("segment");
  for (const key of [...segments.slice(0, 20), keysOf("origin")[0]!]) more.delete(key);
  const report = await verify(more);
  match(
    JSON.stringify(report.findings.faults),
    /^\[{"object":"name\/main","what":"names branch \w+, which is deleted"}\]$/,
  );
  ok(report.findings.garbage.some(({ object }) => object === segments[25]));
  const damaged = Buffer.from(more.entries.get(segments[30]!)!.body);
  damaged[100]! ^= 1;
  setObject(more, segments[30]!, damaged);
  ok((await faultsOf(more)).some(({ object }) => object === segments[30]));
});

/** A bucket of which one object is deleted as soon as it was read once. */
function vanishing(of: MemoryBucket, target: string): Promise<Awaited<ReturnType<typeof verifyRepository>>> {
  const store = new MemoryStore(runtime, of);
  const read = store.get.bind(store);
  store.get = async (key, options) => {
    const object = await read(key, options);
    if (key === target) of.delete(target as ObjectKey);
    return object;
  };
  return verifyRepository({ store: new ReadOnlyStore(store), runtime, request, quick: false, onProgress: () => {} });
}

test("a table that goes while it is read is a fault if something names it, and none if it was collected", async () => {
  const table = keysOf("table")[0]!;
  const named = copyOf(bucket);
  const report = await vanishing(named, table);
  deepEqual(
    report.findings.faults.map(({ object }) => object),
    [table],
  );
  match(report.findings.faults[0]!.what, /^is missing, and branch\/[0-9a-f]{32}\/checkpoint\/.* lists it$/);
  const unnamed = copyOf(bucket);
  const orphan = table.replace(/-\d+-/, "-9-");
  setObject(unnamed, orphan, bucket.entries.get(table as ObjectKey)!.body);
  ok(unnamed.entries.has(orphan as ObjectKey));
  deepEqual((await vanishing(unnamed, orphan)).findings.faults, []);
  ok(!unnamed.entries.has(orphan as ObjectKey), "it was read");
});
