import { equal, rejects } from "node:assert/strict";
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
