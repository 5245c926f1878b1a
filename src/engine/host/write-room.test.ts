import { deepEqual, equal, rejects, throws } from "node:assert/strict";
import { test } from "node:test";
import { VirtualRuntime } from "../../../test/contract/virtual-runtime.ts";
import { isDbError } from "../../base/errors.ts";
import { WriteRoom } from "./write-room.ts";

function roomOf(waitingMax = 10) {
  const state = { bytes: 0 };
  const runtime = new VirtualRuntime(1);
  const room = new WriteRoom({ runtime, bytes: () => state.bytes, memtableBytes: 100, timeoutMs: 1000, waitingMax });
  return { state, runtime, room };
}

const refused = (error: unknown): boolean =>
  isDbError(error, "tooManyRequests") && /bytes of state wait to be written as tables/.test(error.message);

test("writes wait from three memtables on, go on in their order, and are refused from four on", async () => {
  const { state, runtime, room } = roomOf();
  state.bytes = 299;
  equal(room.wait(), null);
  state.bytes = 300;
  const order: number[] = [];
  const waiting = [1, 2, 3].map((n) => room.wait()?.then(() => order.push(n)));
  equal(room.refusal(), null);
  runtime.timers.set(100, () => {
    state.bytes = 200;
  });
  runtime.timers.set(50, () => waiting.push(room.wait()?.then(() => order.push(4))));
  await Promise.all(waiting);
  await waiting[3];
  equal(order.join(), "1,2,3,4");
  equal(room.wait(), null);
  state.bytes = 400;
  equal(room.refusal()?.kind, "tooManyRequests");
});

test("a write that waited too long is refused, and so is one too many", async () => {
  const { state, room } = roomOf(2);
  state.bytes = 350;
  const first = room.wait();
  const second = room.wait();
  throws(() => room.wait(), refused);
  await rejects(first!, refused);
  await rejects(second!, refused);
});

test("when there is room no more writes go on than it holds: the others wait on, and none is refused", async () => {
  const { state, runtime, room } = roomOf(100);
  state.bytes = 300;
  const ends = { written: 0, refused: 0 };
  const writes = Array.from({ length: 60 }, async () => {
    await room.wait();
    if (room.refusal() !== null) return ends.refused++;
    state.bytes += 10;
    return ends.written++;
  });
  for (let ms = 50; ms <= 900; ms += 50) {
    runtime.timers.set(ms, () => {
      state.bytes = 200;
    });
  }
  await Promise.all(writes);
  deepEqual(ends, { written: 60, refused: 0 });
});
