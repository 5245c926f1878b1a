import { deepEqual, equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { branch, sampleBytes } from "../../test/log/samples.ts";
import { fc } from "../../test/properties.ts";
import type { Slot } from "../base/ids.ts";
import { FaultyStore } from "../objects/faulty.ts";
import { segmentKey } from "../objects/keys.ts";
import { MemoryBucket, MemoryStore } from "../objects/memory.ts";
import { MeteredStore } from "../objects/metered.ts";
import type { ObjectStore } from "../objects/objects.ts";
import { createNodeRuntime } from "../runtime/node.ts";
import { Chain, firstPosition } from "./chain.ts";
import type { LogPosition } from "./log.ts";
import { findLogPoint, type LogMoment } from "./log-point.ts";
import { decodeSegment } from "./segment-codec.ts";

const runtime = createNodeRuntime();
const WINDOW = 4;
const request = { timeoutMs: 1000 };

/** What happens next: records of the leader, or a takeover, some of whose slots a stalled leader gets first. */
type Step = { records: { writes: boolean; laterMs: number }[] } | { lost: boolean[] };

const record = fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 3 })).map(([writes, laterMs]) => ({ writes, laterMs }));
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.array(record, { minLength: 1, maxLength: 3 }).map((records) => ({ records })) },
    {
      weight: 1,
      arbitrary: fc.array(fc.boolean(), { minLength: WINDOW - 1, maxLength: WINDOW - 1 }).map((lost) => ({ lost })),
    },
  ),
  { maxLength: 25 },
);

interface Written {
  readonly store: MemoryStore;
  /** Position behind each record, by the judge of the chain; the first one is the beginning. */
  readonly positions: LogPosition[];
  readonly end: LogPosition;
}

async function write(all: readonly Step[]): Promise<Written> {
  const store = new MemoryStore(runtime, new MemoryBucket());
  const chain = new Chain(branch, firstPosition);
  const positions: LogPosition[] = [firstPosition];
  let epoch = 1;
  const put = async (bytes: Buffer) => {
    const { nextSlot } = chain.position();
    await store.put(segmentKey(branch, nextSlot), bytes, { ...request, condition: { kind: "absent" } });
    const segment = decodeSegment(segmentKey(branch, nextSlot), bytes);
    const before = chain.position();
    if (chain.accept(segment) === "void") return;
    for (const { number, epoch: sequenced, revision, wallMs } of segment.records) {
      positions.push({ ...chain.position(), lastRecord: number, lastRecordEpoch: sequenced, revision, wallMs });
    }
    equal(before.nextSlot + 1, chain.position().nextSlot);
  };
  for (const step of all) {
    const position = chain.position();
    if ("records" in step) {
      let { revision, wallMs } = position as { revision: number; wallMs: number };
      const records = step.records.map(({ writes, laterMs }) => {
        revision += writes ? 1 : 0;
        wallMs += laterMs;
        return { payload: "x", revision, wallMs };
      });
      await put(sampleBytes(position, epoch, records));
      continue;
    }
    const stalled = position;
    await put(sampleBytes(position, ++epoch, []));
    for (const isLost of step.lost) {
      const now = chain.position();
      // The stalled leader believes that its last slots were written.
      const stale = { ...stalled, nextSlot: now.nextSlot, revision: stalled.revision + 7 } as LogPosition;
      await put(
        isLost && epoch > 1
          ? sampleBytes(stale, epoch - 1, [{ payload: "void", wallMs: stalled.wallMs + 9 }])
          : sampleBytes(now, epoch, []),
      );
    }
  }
  return { store, positions, end: chain.position() };
}

const find = (store: ObjectStore, moment: LogMoment, from = firstPosition) =>
  findLogPoint({ store, branch, from, moment, window: WINDOW, request });

/** A later slot may hold nothing up to the moment: all but the slot and the chain's hash is told by the record. */
const recordOf = ({ lastRecord, lastRecordEpoch, revision, wallMs }: LogPosition) => ({
  lastRecord,
  lastRecordEpoch,
  revision,
  wallMs,
});

test("the end, every revision and every time are found as by reading it all, over takeovers and void segments", () =>
  fc.assert(
    fc.asyncProperty(steps, async (all) => {
      const { store, positions, end } = await write(all);
      // Void slots at the very end are behind the last valid one.
      const found = await find(store, { kind: "end" });
      deepEqual({ ...found, nextSlot: 0 }, { ...end, nextSlot: 0 });
      for (let revision = 1; revision <= end.revision + 1; revision++) {
        const expected = positions.findLast((each) => each.revision <= revision)!;
        const point = await find(store, { kind: "revision", revision });
        deepEqual(recordOf(point), recordOf(expected), `revision ${revision}`);
      }
      for (let wallMs = 0; wallMs <= end.wallMs + 1; wallMs++) {
        const expected = positions.findLast((each) => each.wallMs <= wallMs)!;
        deepEqual(recordOf(await find(store, { kind: "time", wallMs })), recordOf(expected), `time ${wallMs}`);
      }
    }),
    { numRuns: 60 },
  ));

test("a log goes on from a point that was found, whatever lies in its last slot", () =>
  fc.assert(
    fc.asyncProperty(steps, fc.integer({ min: 1, max: 40 }), async (all, revision) => {
      const { store } = await write(all);
      const point = await find(store, { kind: "revision", revision });
      const chain = new Chain(branch, firstPosition);
      for (let slot = 1; slot < point.nextSlot; slot++) {
        const key = segmentKey(branch, slot as Slot);
        chain.accept(decodeSegment(key, (await store.get(key, request))!.body));
      }
      const { nextSlot, highestEpoch, lastHash } = chain.position();
      deepEqual(
        { nextSlot, highestEpoch, lastHash },
        { nextSlot: point.nextSlot, highestEpoch: point.highestEpoch, lastHash: point.lastHash },
      );
    }),
    { numRuns: 60 },
  ));

test("the end is found from any position before it, amid fences, too", () =>
  fc.assert(
    fc.asyncProperty(steps, async (all) => {
      const { store, positions, end } = await write(all);
      // Of several records in a segment the last one: a checkpoint lies between segments.
      for (const from of new Map(positions.map((each) => [each.nextSlot, each])).values()) {
        deepEqual({ ...(await find(store, { kind: "end" }, from)), nextSlot: 0 }, { ...end, nextSlot: 0 });
      }
    }),
    { numRuns: 60 },
  ));

test("of a log of a thousand slots a few are read", async () => {
  const steps = Array.from({ length: 1000 }, () => ({ records: [{ writes: true, laterMs: 1 }] }));
  const { store, end } = await write(steps);
  const metered = new MeteredStore(store, runtime.clock);
  equal((await find(metered, { kind: "end" })).revision, end.revision);
  const atEnd = requests(metered);
  equal(atEnd, 2);
  equal((await find(metered, { kind: "revision", revision: 400 })).revision, 400);
  equal(requests(metered) - atEnd <= 1 + 10 * WINDOW + 1, true, `${requests(metered) - atEnd} requests`);
});

const requests = (store: MeteredStore): number => [...store.series()].reduce((sum, { count }) => sum + count, 0);

test("a slot that is collected meanwhile is told", async () => {
  const { store } = await write([{ records: [{ writes: true, laterMs: 1 }] }]);
  const key = segmentKey(branch, 1 as Slot);
  const gone = new FaultyStore(store, runtime, ({ operation }) => {
    // Between the list and the first look at a header.
    if (operation === "get") void store.delete(key, request);
    return null;
  });
  await rejects(find(gone, { kind: "end" }), { kind: "notFound" });
});
