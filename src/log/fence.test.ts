import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { at, branch, nonce, sample, sampleBytes, slotAt, start } from "../../test/log/samples.ts";
import { ScriptedStore } from "../../test/log/scripted-store.ts";
import { createSimulation, type Simulation } from "../../test/sim/simulation.ts";
import { DbError } from "../base/errors.ts";
import type { Epoch } from "../base/ids.ts";
import { segmentKey } from "../objects/keys.ts";
import { Chain } from "./chain.ts";
import { createTakeoverLog, type FencingLog, type Replay, type TakeoverStart } from "./fence.ts";
import type { LogPosition } from "./log.ts";
import { readLog } from "./reader.ts";

const keyOf = (slot: number) => segmentKey(branch, slotAt(slot));
const epoch = (value: number) => value as Epoch;
const WINDOW = 4;

interface Scene {
  simulation: Simulation;
  store: ScriptedStore;
  begin: TakeoverStart;
  takeover: (options?: {
    nonce?: string;
    newestStart?: () => Promise<TakeoverStart>;
    replay?: Replay<TakeoverStart>;
  }) => FencingLog<TakeoverStart>;
}

function withStore(story: (scene: Scene) => Promise<void>): Promise<void> {
  const simulation = createSimulation(7);
  const store = new ScriptedStore();
  const { runtime } = simulation.machine("a").start();
  const begin = { id: "origin", position: start };
  const takeover: Scene["takeover"] = (options = {}) =>
    createTakeoverLog({
      runtime,
      store,
      branch,
      nonce: options.nonce ?? nonce,
      window: WINDOW,
      requestTimeoutMs: 1000,
      newestStart: options.newestStart ?? (async () => begin),
      ...(options.replay && { replay: options.replay }),
    });
  return simulation.run(() => story({ simulation, store, begin, takeover }));
}

/** Puts records of `by` into the next slot. */
function put(store: ScriptedStore, position: LogPosition, by: number, text: string): LogPosition {
  const chain = new Chain(branch, position);
  store.objects.set(keyOf(position.nextSlot), sampleBytes(position, by, [{ payload: text }]));
  chain.accept(sample(position, by, [{ payload: text }]));
  return chain.position();
}

/** Answers all PUTs until `work` is done. */
async function answering<T>(scene: Scene, work: Promise<T>, answer = (s: ScriptedStore) => s.underWay[0]!.answer()) {
  let done = false;
  const settled = work.finally(() => {
    done = true;
  });
  settled.catch(() => {});
  for (let n = 0; !done; n++) {
    ok(n < 500, "it comes to an end");
    await scene.simulation.sleep(10);
    if (scene.store.underWay.length > 0) answer(scene.store);
  }
  return settled;
}

test("an empty log gets P fences, the further ones at once, and ends behind them", () =>
  withStore(async (scene) => {
    const { store, begin, takeover } = scene;
    const log = takeover();
    await log.firstFreeSlot(begin, epoch(1));
    equal(await answering(scene, log.fence(epoch(1))), "fenced");
    const widened = log.widen(epoch(1), WINDOW - 1);
    await scene.simulation.sleep(1);
    deepEqual(store.slots, [2, 3, 4]);
    for (const slot of [3, 4, 2]) store.of(slot).answer();
    await widened;
    deepEqual([log.end.nextSlot, log.end.highestEpoch], [5, 1]);
    const read = await readLog({
      store,
      branch,
      from: log.start.position,
      until: log.end.nextSlot,
      requestTimeoutMs: 1000,
      newestCheckpointSlot: async () => slotAt(1),
      onSegment: () => {},
    });
    deepEqual(read, { kind: "end", position: log.end });
  }));

test("a segment of the old leader that gets there first is read, judged, and goes before the fence", () =>
  withStore(async (scene) => {
    const { store, begin, takeover } = scene;
    const first = put(store, start, 1, "1");
    const log = takeover();
    await log.firstFreeSlot(begin, epoch(2));
    const fence = log.fence(epoch(2));
    put(store, first, 1, "late");
    equal(await answering(scene, fence), "taken");
    equal(await answering(scene, log.fence(epoch(2))), "fenced");
    deepEqual([log.end.nextSlot, log.end.lastRecord], [4, 2]);
  }));

test("what an older epoch holds in the further slots is void and just as good", () =>
  withStore(async (scene) => {
    const { store, begin, takeover } = scene;
    const first = put(store, start, 1, "1");
    // In flight when its leader stalled: slot 3 is there, slot 2 is not.
    store.objects.set(keyOf(3), sampleBytes(at({ ...first, nextSlot: 3, lastRecord: 2 }), 1, [{ payload: "void" }]));
    const log = takeover();
    await log.firstFreeSlot(begin, epoch(2));
    equal(await answering(scene, log.fence(epoch(2))), "fenced");
    await answering(scene, log.widen(epoch(2), WINDOW - 1));
    deepEqual([log.end.nextSlot, log.end.lastRecord], [6, 1]);
    // The next one reads the same.
    const next = takeover({ nonce: "ffffffffffffffff" });
    await next.firstFreeSlot(begin, epoch(3));
    deepEqual(next.end, log.end);
  }));

test("a higher epoch met anywhere ends the takeover", () =>
  withStore(async (scene) => {
    const { store, begin, takeover } = scene;
    const lost = { kind: "leadershipLost" };
    const log = takeover();
    await rejects(log.firstFreeSlot({ id: "checkpoint", position: at({ highestEpoch: 3 }) }, epoch(2)), lost);
    await log.firstFreeSlot(begin, epoch(2));
    store.objects.set(keyOf(1), sampleBytes(start, 3, []));
    await rejects(answering(scene, log.fence(epoch(2))), lost);
    await rejects(takeover().firstFreeSlot(begin, epoch(2)), lost);
    store.objects.clear();
    const second = takeover();
    await second.firstFreeSlot(begin, epoch(2));
    await answering(scene, second.fence(epoch(2)));
    store.objects.set(keyOf(3), sampleBytes(at({ nextSlot: 3 }), 3, []));
    await rejects(answering(scene, second.widen(epoch(2), WINDOW - 1)), lost);
  }));

test("one's own epoch written by another is no fence of one's own", () =>
  withStore(async (scene) => {
    const { begin, takeover } = scene;
    const log = takeover();
    await log.firstFreeSlot(begin, epoch(1));
    await answering(scene, log.fence(epoch(1)));
    const clone = takeover({ nonce: "ffffffffffffffff" });
    await rejects(clone.firstFreeSlot(begin, epoch(1)), { kind: "leadershipLost" });
  }));

test("a takeover that is begun again in its epoch meets its own fences, and makes no further ones", () =>
  withStore(async (scene) => {
    const { store, begin, takeover } = scene;
    const log = takeover();
    await log.firstFreeSlot(begin, epoch(1));
    await answering(scene, log.fence(epoch(1)));
    const failing = log.widen(epoch(1), WINDOW - 1);
    // One is created and its answer lost, the others never arrive, and the store stays silent until the driver is told.
    await scene.simulation.sleep(1);
    store.of(3).apply();
    store.unreachable = true;
    await rejects(
      answering(scene, failing, (s) => s.underWay[0]!.lose()),
      { kind: "storeUnavailable" },
    );
    store.unreachable = false;
    await log.firstFreeSlot(begin, epoch(1));
    equal(log.end.nextSlot, 2);
    equal(await log.fence(epoch(1)), "fenced");
    await answering(scene, log.widen(epoch(1), WINDOW - 1));
    equal(log.end.nextSlot, 5);
    equal(store.objects.size, 4);
    // And once more from the start, with all of them there.
    await log.firstFreeSlot(begin, epoch(1));
    equal(await log.fence(epoch(1)), "fenced");
    await log.widen(epoch(1), WINDOW - 1);
    equal(log.end.nextSlot, 5);
  }));

test("a log that does not follow is read anew from a newer start; without one it is corrupt", () =>
  withStore(async (scene) => {
    const { store, begin, takeover } = scene;
    const first = put(store, start, 1, "1");
    const second = put(store, first, 1, "2");
    // Slot 1 was collected, and a taker that had stalled fenced there from the old start.
    store.objects.set(keyOf(1), sampleBytes(start, 1, [], { nonce: "eeeeeeeeeeeeeeee" }));
    await rejects(takeover().firstFreeSlot(begin, epoch(2)), { kind: "corrupt" });
    const log = takeover({ newestStart: async () => ({ id: "checkpoint", position: first }) });
    await log.firstFreeSlot(begin, epoch(2));
    deepEqual(log.end, second);
    equal(log.start.id, "checkpoint");
  }));

/** What was replayed: starts and payloads, in their order. */
function replaying(refuse = (_text: string): void => {}) {
  const taken: string[] = [];
  const replay: Replay<TakeoverStart> = {
    begin: async ({ id }) => void taken.push(`from ${id}`),
    take: ({ header, records }) => {
      if (header.fence) taken.push(`fence of ${header.epoch}`);
      for (const { payload } of records) {
        const text = Buffer.from(payload).toString();
        refuse(text);
        taken.push(text);
      }
    },
  };
  return { replay, taken };
}

test("what was read ahead is read and replayed once; what comes behind it follows", () =>
  withStore(async (scene) => {
    const { store, begin, takeover } = scene;
    let position = put(store, begin.position, 1, "one");
    position = put(store, position, 1, "two");
    const { replay, taken } = replaying();
    const log = takeover({ replay });
    log.readAhead();
    const start = await log.newestStart();
    deepEqual(taken, ["from origin", "one", "two"]);
    position = put(store, position, 1, "late");
    const before = store.reads;
    await log.firstFreeSlot(start, epoch(2));
    // What came late, and two slots in vain behind it.
    equal(store.reads - before, 3);
    equal(await answering(scene, log.fence(epoch(2))), "fenced");
    deepEqual(taken, ["from origin", "one", "two", "late", "fence of 2"]);
    equal(log.end.lastRecord, 3);
  }));

test("another start than that of what was read ahead, and an epoch met there, are read anew", () =>
  withStore(async ({ store, begin, takeover }) => {
    const behind = put(store, begin.position, 3, "one");
    put(store, behind, 3, "two");
    const starts = [begin, { id: "checkpoint", position: behind }];
    const { replay, taken } = replaying();
    const log = takeover({ replay, newestStart: async () => starts.shift()! });
    log.readAhead();
    equal((await log.newestStart()).id, "origin");
    const newest = await log.newestStart();
    equal(newest.id, "checkpoint");
    await log.firstFreeSlot(newest, epoch(4));
    deepEqual(taken, ["from origin", "one", "two", "from checkpoint", "two"]);
    const deposed = takeover();
    deposed.readAhead();
    await rejects(deposed.firstFreeSlot(await deposed.newestStart(), epoch(2)), { kind: "leadershipLost" });
  }));

test("who fails to read ahead, or to replay, begins anew: nothing that was judged is left out", () =>
  withStore(async ({ store, begin, takeover }) => {
    put(store, put(store, begin.position, 1, "one"), 1, "two");
    let failing = true;
    const { replay, taken } = replaying((text) => {
      if (failing && text === "two") throw new DbError("corrupt", "not now");
    });
    const log = takeover({ replay });
    log.readAhead();
    equal((await log.newestStart()).id, "origin");
    await rejects(log.firstFreeSlot(begin, epoch(2)), /not now/);
    failing = false;
    await log.firstFreeSlot(begin, epoch(2));
    deepEqual(taken, [...["from origin", "one"], ...["from origin", "one"], ...["from origin", "one", "two"]]);
    await log.close();
  }));
