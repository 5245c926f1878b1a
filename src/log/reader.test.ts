import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { at, branch, sample, sampleBytes, slotAt, start } from "../../test/log/samples.ts";
import { ScriptedStore } from "../../test/log/scripted-store.ts";
import type { ObjectKey, Slot } from "../base/ids.ts";
import { segmentKey } from "../objects/keys.ts";
import { Chain } from "./chain.ts";
import type { LogPosition, Segment } from "./log.ts";
import { type LogTailOptions, readListed, readLog } from "./reader.ts";

const keyOf = (slot: number) => segmentKey(branch, slotAt(slot));

/** A store with a log of `count` segments; returns the positions behind each. */
function logOf(store: ScriptedStore, count: number): LogPosition[] {
  const chain = new Chain(branch, start);
  const positions = [start];
  for (let n = 1; n <= count; n++) {
    const records = [{ payload: `${n}` }];
    store.objects.set(keyOf(n), sampleBytes(chain.position(), 1, records));
    chain.accept(sample(chain.position(), 1, records));
    positions.push(chain.position());
  }
  return positions;
}

function read(store: ScriptedStore, options: Partial<LogTailOptions> = {}) {
  const slots: number[] = [];
  const result = readLog({
    store,
    branch,
    from: start,
    requestTimeoutMs: 1000,
    newestCheckpointSlot: async () => slotAt(1),
    onSegment: (segment) => void slots.push(segment.header.slot),
    ...options,
  });
  return { slots, result };
}

test("a log is read in order to its first free slot", async () => {
  const store = new ScriptedStore();
  const positions = logOf(store, 100);
  const { slots, result } = read(store);
  deepEqual(await result, { kind: "end", position: positions[100] });
  deepEqual(
    slots,
    [...Array(100).keys()].map((n) => n + 1),
  );
  ok(store.reads <= 100 + 32, "not much is asked for in vain");
});

test("at the end of a log one look is one request", async () => {
  const store = new ScriptedStore();
  const positions = logOf(store, 3);
  deepEqual(await read(store, { from: positions[3]! }).result, { kind: "end", position: positions[3] });
  equal(store.reads, 1);
});

test("the next segment waits until the one before it is taken", async () => {
  const store = new ScriptedStore();
  logOf(store, 20);
  let busy = 0;
  const onSegment = async (_segment: Segment) => {
    equal(++busy, 1);
    await new Promise((resolve) => setImmediate(resolve));
    busy--;
  };
  equal((await read(store, { onSegment }).result).kind, "end");
  await rejects(read(store, { onSegment: () => Promise.reject(new Error("full")) }).result, /full/);
});

test("a part of a log is read, up to a slot", async () => {
  const store = new ScriptedStore();
  const positions = logOf(store, 10);
  const { slots, result } = read(store, { from: positions[4]!, until: slotAt(8) });
  deepEqual(await result, { kind: "end", position: positions[7] });
  deepEqual(slots, [5, 6, 7]);
});

test("a missing slot is the end only if the newest checkpoint, read after the miss, is not beyond it", async () => {
  const store = new ScriptedStore();
  const positions = logOf(store, 5);
  store.objects.delete(keyOf(3));
  let readsBefore = 0;
  const newestCheckpointSlot = async (): Promise<Slot> => {
    readsBefore = store.reads;
    return slotAt(4);
  };
  const { slots, result } = read(store, { newestCheckpointSlot });
  deepEqual(await result, { kind: "passed", position: positions[2], checkpointSlot: 4 });
  deepEqual(slots, [1, 2]);
  ok(readsBefore >= 3, "the checkpoint was read after the miss");
  equal((await read(store, { newestCheckpointSlot: async () => slotAt(3) }).result).kind, "end");
});

test("a missing slot within a part that is known to be there is corrupt, and named", async () => {
  const store = new ScriptedStore();
  logOf(store, 5);
  store.objects.delete(keyOf(3));
  await rejects(read(store, { until: slotAt(6) }).result, { kind: "corrupt", message: new RegExp(keyOf(3)) });
});

test("void segments and fences are judged, and only what is valid is handed over", async () => {
  const store = new ScriptedStore();
  const position = logOf(store, 2)[2]!;
  store.objects.set(keyOf(3), sampleBytes(position, 2, []));
  store.objects.set(keyOf(4), sampleBytes(at({ ...position, nextSlot: 4 }), 1, [{ payload: "stale" }]));
  const { slots, result } = read(store);
  const found = await result;
  deepEqual(slots, [1, 2, 3]);
  deepEqual([found.position.nextSlot, found.position.highestEpoch, found.position.lastRecord], [5, 2, 2]);
});

test("a segment that does not follow is a reason to open anew; damage in itself is corrupt at once", async () => {
  const store = new ScriptedStore();
  const positions = logOf(store, 3);
  store.objects.set(keyOf(3), sampleBytes(at({ ...positions[2]!, lastHash: "ee".repeat(32) }), 1, [{ payload: "x" }]));
  const { slots, result } = read(store);
  const found = await result;
  equal(found.kind, "broken");
  ok(found.kind === "broken" && found.error.message.includes(keyOf(3)) && found.error.message.includes(keyOf(2)));
  deepEqual(found.position, positions[2]);
  deepEqual(slots, [1, 2]);
  const damaged = store.objects.get(keyOf(2))!;
  damaged[150]! ^= 1;
  await rejects(read(store).result, { kind: "corrupt", message: new RegExp(keyOf(2)) });
});

test("a listing is read to the first slot that it does not show", async () => {
  const store = new ScriptedStore();
  const positions = logOf(store, 2500);
  const listed = async (from: number) => {
    const chain = new Chain(branch, positions[from - 1]!);
    await readListed(chain, { store, window: 8, requestTimeoutMs: 1000 }, (segment) => void chain.accept(segment));
    return chain.position();
  };
  deepEqual(await listed(1), positions[2500]);
  deepEqual(await listed(2501), positions[2500]);
  store.objects.delete(keyOf(2493));
  deepEqual(await listed(1), positions[2492]);
  store.objects.set(`${keyOf(1700)}x` as ObjectKey, Buffer.alloc(0));
  await rejects(listed(1), { kind: "corrupt", message: /1700x is foreign/ });
});

test("a slot that no writer can have left free is a segment that was deleted, not the end of the log", async () => {
  const store = new ScriptedStore();
  const positions = logOf(store, 1500);
  const listed = async () => {
    const chain = new Chain(branch, positions[0]!);
    await readListed(chain, { store, window: 8, requestTimeoutMs: 1000 }, (segment) => void chain.accept(segment));
    return chain.position();
  };
  // The last one of a page, the first one of the next, and the last one that others prove.
  for (const slot of [1000, 1001, 1492]) {
    const bytes = store.objects.get(keyOf(slot))!;
    store.objects.delete(keyOf(slot));
    await rejects(listed(), {
      kind: "corrupt",
      message: new RegExp(
        `object ${keyOf(slot)} is missing: the log goes on to ${keyOf(1500)}, so it has been deleted`,
      ),
    });
    store.objects.set(keyOf(slot), bytes);
  }
  store.objects.delete(keyOf(1493));
  deepEqual(await listed(), positions[1492], "what a window may have left free");
});

test("a slot that was written while the list was made is no gap", async () => {
  const store = new ScriptedStore();
  const positions = logOf(store, 20);
  const list = store.list.bind(store);
  store.list = async (prefix, options) => {
    const page = await list(prefix, options);
    return { ...page, objects: page.objects.filter(({ key }) => key !== keyOf(5)) };
  };
  const chain = new Chain(branch, positions[0]!);
  await readListed(chain, { store, window: 8, requestTimeoutMs: 1000 }, (segment) => void chain.accept(segment));
  deepEqual(chain.position(), positions[4]);
});
