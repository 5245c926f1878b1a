import { deepEqual, equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { BlockCache } from "./block-cache.ts";

const block = (memoryBytes = 1000) => ({ memoryBytes });

test("the bound holds, and what was used least recently goes first", () => {
  const cache = new BlockCache({ bytesMax: 10_000 });
  const blocks = cache.acquire("a");
  for (let i = 0; i < 100; i++) {
    blocks.put(i, block());
    equal(cache.bytes <= 10_000, true);
  }
  equal(blocks.get(99) !== undefined, true);
  equal(blocks.get(0), undefined);
});

test("a scan does not drive out what is used again", () => {
  const cache = new BlockCache({ bytesMax: 20_000 });
  const hot = cache.acquire("hot");
  for (let i = 0; i < 5; i++) hot.put(i, block());
  for (let i = 0; i < 5; i++) hot.get(i);
  const scanned = cache.acquire("scanned");
  for (let i = 0; i < 1000; i++) scanned.put(i, block());
  for (let i = 0; i < 5; i++) equal(hot.get(i) !== undefined, true);
});

test("a scan larger than the cache leaves what is used again, though it fetches ahead and comes by once", () => {
  const cache = new BlockCache({ bytesMax: 100_000 });
  const hot = cache.acquire("hot");
  for (let i = 0; i < 40; i++) hot.put(i, block());
  const scanned = cache.acquire("scanned");
  for (let i = 0; i < 1000; i++) {
    hot.get(i % 40);
    // Ahead, and then by.
    scanned.put(i, block());
    if (i >= 4) scanned.get(i - 4, true);
    equal(cache.bytes <= 100_000, true);
  }
  for (let i = 0; i < 40; i++) equal(hot.get(i) !== undefined, true);
  // And with nothing else used meanwhile, again and again.
  for (let i = 1000; i < 1100; i++) {
    scanned.put(i, block());
    scanned.get(i, true);
  }
  for (let i = 0; i < 40; i++) equal(hot.get(i) !== undefined, true);
});

test("what a scan comes by again, long after, is kept like anything that is used again", () => {
  const cache = new BlockCache({ bytesMax: 100_000 });
  const scanned = cache.acquire("scanned");
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 40; i++) if (scanned.get(i, true) === undefined) scanned.put(i, block());
  }
  for (let i = 1000; i < 1100; i++) scanned.put(i, block());
  equal(Array.from({ length: 20 }, (_, i) => scanned.has(i)).filter(Boolean).length, 20);
});

test("another form of a block takes its place, and the bound holds under random use", () => {
  const cache = new BlockCache({ bytesMax: 50_000 });
  const tables = ["a", "b", "c"].map((name) => cache.acquire(name));
  let state = 7;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % below;
  };
  const sizes = new Map<string, number>();
  for (let n = 0; n < 20_000; n++) {
    const t = random(3);
    const offset = random(200);
    if (random(3) === 0) {
      const bytes = random(20) === 0 ? 20_000 : random(3000);
      tables[t]!.put(offset, block(bytes));
      sizes.set(`${t} ${offset}`, bytes);
    } else {
      const found = tables[t]!.get(offset, random(2) === 0);
      if (found !== undefined) equal(found.memoryBytes, sizes.get(`${t} ${offset}`));
    }
    equal(cache.bytes <= 50_000, true);
  }
  for (const name of ["a", "b", "c"]) cache.release(name);
  equal(cache.bytes, 0);
});

test("what is on its way at once is bounded, in turn", async () => {
  const { gate } = new BlockCache({ bytesMax: 40 << 20 });
  const entered: number[] = [];
  const enter = async (n: number, bytes: number): Promise<void> => {
    await gate.enter(bytes);
    entered.push(n);
  };
  const all = [enter(0, 6 << 20), enter(1, 6 << 20), enter(2, 1 << 20), enter(3, 90 << 20)];
  await new Promise(setImmediate);
  deepEqual(entered, [0]);
  gate.leave(6 << 20);
  await new Promise(setImmediate);
  deepEqual(entered, [0, 1, 2]);
  gate.leave(6 << 20);
  await new Promise(setImmediate);
  deepEqual(entered, [0, 1, 2]);
  gate.leave(1 << 20);
  await Promise.all(all);
  deepEqual(entered, [0, 1, 2, 3]);
  gate.leave(90 << 20);
  equal(gate.bytes, 0);
});

test("what is kept is bounded too: it makes way for newer favourites", () => {
  const cache = new BlockCache({ bytesMax: 20_000 });
  const blocks = cache.acquire("a");
  for (let i = 0; i < 200; i++) {
    blocks.put(i, block());
    blocks.get(i);
    equal(cache.bytes <= 20_000, true);
  }
  equal(blocks.get(0), undefined);
  equal(blocks.get(199) !== undefined, true);
});

test("a block that is on its way is fetched once; a failure is told and not kept", async () => {
  const cache = new BlockCache({ bytesMax: 10_000 });
  const blocks = cache.acquire("a");
  const failing = blocks.expect(7, Promise.reject(new Error("lost")));
  equal(blocks.pending(7), failing);
  await rejects(failing, /lost/);
  equal(blocks.has(7), false);
  const coming = blocks.expect(7, Promise.resolve(block()));
  equal(blocks.has(7), true);
  const value = await coming;
  equal(blocks.get(7), value);
});

test("blocks are shared by key, and freed by the last holder", () => {
  const cache = new BlockCache({ bytesMax: 10_000 });
  const one = cache.acquire("a");
  const other = cache.acquire("a");
  equal(one, other);
  one.put(1, block());
  cache.release("a");
  equal(other.get(1) !== undefined, true);
  cache.release("a");
  equal(cache.bytes, 0);
});

test("a block larger than a quarter of the cache is handed out and not kept", () => {
  const cache = new BlockCache({ bytesMax: 10_000 });
  const blocks = cache.acquire("a");
  blocks.put(1, block(5000));
  equal(blocks.get(1), undefined);
  equal(cache.bytes, 0);
});
