import assert from "node:assert/strict";
import { test } from "node:test";
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { packBlock, unpackBlock } from "./block-packing.ts";

let seed = 7;
const random = (below: number): number => {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
  return seed % below;
};
/** Of `kinds` different bytes: 1 packs to nothing, 256 not at all. */
const blockOf = (bytes: number, kinds: number): Buffer =>
  Buffer.from(Array.from({ length: bytes }, () => random(kinds)));

test("what is packed in one context after the other is what zlib packs, and unpacks", () => {
  for (let round = 0; round < 300; round++) {
    const raw = blockOf(1 + random([64, 5000, 20_000, 130_000][round % 4]!), [1, 2, 16, 256][round % 3]!);
    const packed = Buffer.from(packBlock(raw));
    assert.deepEqual(zstdDecompressSync(packed), raw);
    const windowLog = Math.max(10, 32 - Math.clz32(raw.length - 1));
    const params = { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_windowLog]: windowLog };
    assert.deepEqual(packed, zstdCompressSync(raw, { params }));
    assert.deepEqual(unpackBlock(packed, raw.length), raw);
  }
});

test("unpacking what is broken throws, gives less or one byte more, and leaves nothing to the next", () => {
  const raw = blockOf(16_000, 16);
  const packed = Buffer.from(packBlock(raw));
  let thrown = 0;
  for (let round = 0; round < 500; round++) {
    const broken = Buffer.from(round % 2 === 0 ? packed : packed.subarray(0, random(packed.length)));
    if (round % 2 === 0) broken[random(broken.length)]! ^= 1 << random(8);
    try {
      assert.ok(unpackBlock(broken, raw.length).length <= raw.length + 1);
    } catch (error) {
      thrown++;
      assert.ok(error instanceof Error && error.name !== "AssertionError", String(error));
    }
    assert.deepEqual(unpackBlock(packed, raw.length), raw);
  }
  assert.ok(thrown > 100, `${thrown} of 500 were told`);
});

test("what is unpacked has memory of its own size", () => {
  const packed = Buffer.from(packBlock(blockOf(16_000, 16)));
  assert.ok(unpackBlock(packed, 16_000).buffer.byteLength <= 16_001);
  // As where there is no context: a frame in two, which is unpacked by zlib itself.
  const two = Buffer.concat([packed, packBlock(blockOf(4000, 16))]);
  const found = unpackBlock(two, 20_000);
  assert.equal(found.buffer.byteLength, found.length);
});

test("a frame that claims or holds more than it should is not believed", () => {
  const packed = Buffer.from(packBlock(Buffer.alloc(100_000)));
  assert.throws(() => unpackBlock(packed, 1000));
  const huge = zstdCompressSync(Buffer.alloc(4 << 20), { params: { [constants.ZSTD_c_windowLog]: 22 } });
  assert.throws(() => unpackBlock(huge, 1000));
});
