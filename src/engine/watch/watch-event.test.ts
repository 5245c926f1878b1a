import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { WatchEvent } from "./watch-event.ts";

test("an event that is kept keeps the pair before it, not the block that this was read from", () => {
  const block = new Uint8Array(new ArrayBuffer(64 << 10)).fill(7);
  const prev = { bytes: block, start: 1000, end: 1100 };
  const kv = { bytes: new Uint8Array(200), start: 0, end: 200 };
  const event = new WatchEvent({ key: "k", revision: 2, deleted: false, kv, prev });
  block.fill(9);
  const encoded = event.encoded({ prevKv: true });
  deepEqual([...encoded.subarray(-100)], new Array(100).fill(7), "it has bytes of its own");
  equal(event.bytes, 200 + 100 + 128);
});
