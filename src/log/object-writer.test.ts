import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { test } from "node:test";
import { at, branch, sampleBytes, slotAt, start } from "../../test/log/samples.ts";
import { textOf, withWriter } from "../../test/log/writing.ts";
import type { Epoch } from "../base/ids.ts";
import { segmentKey } from "../objects/keys.ts";

const keyOf = (slot: number) => segmentKey(branch, slotAt(slot));

test("a lone write leaves at the end of its turn, and is durable when its object is there", () =>
  withWriter({}, async ({ append, writer, store, pass, heard, read }) => {
    equal(append("one"), 1);
    equal(append("two"), 2);
    deepEqual(store.slots, [], "nothing leaves within append");
    await pass();
    deepEqual(store.slots, [1]);
    equal(writer.durable, 0);
    store.of(1).answer();
    await pass();
    deepEqual(heard.durable, [2]);
    equal(writer.durable, 2);
    deepEqual((await read()).records.map(textOf), ["one", "two"]);
  }));

test("while one is in flight the next gathers, and leaves with the answer, at its age, or at its size", () =>
  withWriter({ settings: { segmentAgeMs: 50, segmentBytes: 1000 } }, async ({ append, store, pass }) => {
    append();
    await pass();
    append();
    await pass(10);
    append();
    deepEqual(store.slots, [1]);
    store.of(1).answer();
    await pass();
    deepEqual(store.slots, [2], "with the answer");
    append();
    await pass(10);
    deepEqual(store.slots, [2]);
    await pass(50);
    deepEqual(store.slots, [2, 3], "at its age");
    append(Buffer.alloc(999));
    await pass();
    deepEqual(store.slots, [2, 3, 4], "at its size");
  }));

test("acknowledgements go in slot order", () =>
  withWriter({ settings: { segmentAgeMs: 1 } }, async ({ append, store, pass, heard }) => {
    for (let n = 0; n < 3; n++) {
      append();
      await pass(5);
    }
    deepEqual(store.slots, [1, 2, 3]);
    store.of(3).answer();
    store.of(2).answer();
    await pass(5);
    deepEqual(heard.durable, []);
    store.of(1).answer();
    await pass(5);
    deepEqual(heard.durable, [1, 2, 3]);
  }));

test("no slot is sent P or more beyond the lowest unresolved one, however many behind it are there", () =>
  withWriter({ settings: { window: 3, segmentAgeMs: 1 } }, async ({ append, store, pass, read }) => {
    for (let n = 0; n < 6; n++) {
      append();
      await pass(5);
    }
    deepEqual(store.slots, [1, 2, 3]);
    store.of(2).answer();
    store.of(3).answer();
    await pass(50);
    deepEqual(store.slots, [1], "slot 4 would be P beyond slot 1");
    store.of(1).answer();
    await pass(50);
    deepEqual(store.slots, [4], "what gathered meanwhile is one segment");
    store.of(4).answer();
    await pass(5);
    equal((await read()).records.length, 6);
  }));

test("an answer that was lost is found by reading back", () =>
  withWriter({}, async ({ append, store, pass, heard }) => {
    append();
    await pass();
    store.of(1).apply();
    store.of(1).lose();
    await pass();
    deepEqual(heard.durable, [1]);
    equal(store.sent.length, 1, "what is there is not sent again");
  }));

test("a PUT that comes late, after it was given up, is met as our own: the same bytes, once", () =>
  withWriter({}, async ({ append, store, pass, heard }) => {
    append();
    await pass();
    const late = store.of(1);
    late.lose();
    await pass(100);
    equal(store.reads, 1, "read back before it is sent again");
    equal(store.sent.length, 2);
    deepEqual(store.sent[1]!.body, late.body);
    append();
    late.apply();
    store.of(1).answer();
    await pass(100);
    deepEqual(heard.durable, [1]);
    deepEqual(store.slots, [2], "what was appended meanwhile has a slot of its own");
  }));

test("bytes of ours that another sent are ours", () =>
  withWriter({}, async ({ append, store, pass, heard }) => {
    append();
    await pass();
    const put = store.of(1);
    store.objects.set(put.key, Buffer.from(put.body));
    put.answer();
    await pass();
    deepEqual(heard.durable, [1]);
    deepEqual(heard.failures, []);
  }));

for (const epoch of [1, 2, 3]) {
  test(`another's segment of epoch ${epoch} in the way of epoch 2 ends everything`, () =>
    withWriter({ epoch: 2 as Epoch, settings: { segmentAgeMs: 1 } }, async (world) => {
      const { append, store, pass, heard, writer } = world;
      append();
      await pass();
      append();
      await pass(5);
      append();
      const cut = rejects(writer.cut(), { kind: "leadershipLost" });
      store.objects.set(keyOf(1), sampleBytes(start, epoch, []));
      store.of(2).apply();
      store.of(1).answer();
      await pass(1000);
      await cut;
      deepEqual(heard.durable, []);
      equal(heard.failures.length, 1);
      equal(heard.failures[0]!.kind, "leadershipLost");
      ok(heard.failures[0]!.message.includes(keyOf(1)));
      equal(store.sent.length, 2, "nothing more is sent");
      equal(writer.refusal()!.kind, "leadershipLost");
      throws(() => append(), /log that has failed/);
      await rejects(writer.drain(), { kind: "leadershipLost" });
    }));
}

test("a slot that holds no segment at all is corrupt, and named", () =>
  withWriter({}, async ({ append, store, pass, heard }) => {
    append();
    await pass();
    store.objects.set(keyOf(1), Buffer.from("not ours"));
    store.of(1).answer();
    await pass();
    equal(heard.failures[0]!.kind, "corrupt");
    ok(heard.failures[0]!.message.includes(keyOf(1)));
  }));

test("what the store refuses is tried again, at growing intervals", () =>
  withWriter({}, async ({ append, store, pass, heard, writer }) => {
    append();
    await pass();
    for (let n = 0; n < 5; n++) {
      store.of(1).settle({ kind: "refused", cause: new Error("slow down"), retryable: n % 2 === 0 });
      await pass(2000);
    }
    equal(writer.refusal(), null);
    equal(new Set(store.sent.map((put) => put.body.toString("hex"))).size, 1);
    store.of(1).answer();
    await pass();
    deepEqual(heard.durable, [1]);
  }));

test("an outage of the bucket: the tail is kept up to its bound, then refused, then uploaded", () =>
  withWriter({ settings: { uploadBytesMax: 5000, segmentBytes: 1000, window: 2 } }, async (world) => {
    const { append, store, pass, heard, writer, read } = world;
    store.unreachable = true;
    let appended = 0;
    while (writer.refusal() === null) {
      appended = append(Buffer.alloc(100));
      await pass(1);
      for (const put of [...store.underWay]) put.lose();
    }
    equal(writer.refusal()!.kind, "storeUnavailable");
    ok(/5\d\d\d bytes wait to be uploaded, limit 5000: /.test(writer.refusal()!.message));
    throws(() => append(), /full log/);
    ok(appended > 40);
    equal(writer.stats().pendingRecords, appended);
    await pass(3_600_000);
    deepEqual(heard.failures, []);
    store.unreachable = false;
    while (writer.durable < appended) {
      await pass(10_000);
      for (const put of [...store.underWay]) put.answer();
    }
    equal(writer.refusal(), null);
    equal(writer.stats().pendingBytes, 0);
    equal((await read()).records.length, appended);
  }));

test("full by its own speed, with the store answering: too many requests", () =>
  withWriter({ settings: { uploadBytesMax: 5000, segmentBytes: 1000, window: 2 } }, async ({ append, writer }) => {
    while (writer.refusal() === null) append(Buffer.alloc(100));
    equal(writer.refusal()!.kind, "tooManyRequests");
    ok(/5\d\d\d bytes wait to be uploaded, limit 5000$/.test(writer.refusal()!.message));
  }));

test("after an outage the first answer ends all pauses", () =>
  withWriter({ settings: { segmentBytes: 100, window: 8 } }, async ({ append, store, pass, writer }) => {
    const refuse = () => {
      const cause = new Error("connect ECONNREFUSED");
      for (const put of [...store.underWay]) put.settle({ kind: "refused", cause, retryable: true });
    };
    for (let n = 0; n < 6; n++) append(Buffer.alloc(200));
    for (let tries = 0; tries < 1000; tries++) {
      await pass(20);
      refuse();
    }
    ok(/ECONNREFUSED/.test(writer.trouble!.message));
    while (store.underWay.length === 0) await pass(1);
    equal(store.underWay.length, 1, "each comes back at a time of its own");
    store.underWay[0]!.answer();
    await pass();
    equal(store.underWay.length, 5, "and all of them once the store is back");
    for (const put of [...store.underWay]) put.answer();
    await pass();
    equal(writer.durable, 6);
    equal(writer.trouble, null);
  }));

test("a store that answers some and throttles others is not hurried", () =>
  withWriter({ settings: { segmentBytes: 100, window: 8 } }, async ({ append, store, pass, writer }) => {
    append("first");
    await pass();
    store.of(1).answer();
    await pass();
    for (let n = 0; n < 3; n++) append(Buffer.alloc(200));
    await pass();
    const cause = new Error("SlowDown");
    for (const slot of [3, 4]) store.of(slot).settle({ kind: "refused", cause, retryable: true });
    await pass();
    store.of(2).answer();
    await pass();
    equal(writer.durable, 2);
    deepEqual(store.slots, [], "their pauses go on");
  }));

test("a store that says nothing is trouble before a request runs out of time", () =>
  withWriter({ settings: { requestTimeoutMs: 60_000 } }, async ({ append, pass, store, writer }) => {
    append();
    await pass(1000);
    equal(writer.trouble, null);
    await pass(4000);
    equal(writer.trouble!.kind, "storeUnavailable");
    ok(/log\/0{19}1 in scripted:: no answer for 5\.\d s$/.test(writer.trouble!.message), writer.trouble!.message);
    store.of(1).answer();
    await pass();
    equal(writer.trouble, null);
  }));

test("a cut divides what was appended before it from what comes after", () =>
  withWriter({ settings: { segmentAgeMs: 1000 } }, async ({ append, store, pass, writer, read }) => {
    deepEqual(await writer.cut(), start, "an empty log is cut where it begins");
    append("1");
    await pass();
    append("2");
    const first = writer.cut();
    const again = writer.cut();
    append("3");
    const second = writer.cut();
    await pass();
    deepEqual(store.slots, [1, 2, 3], "a cut segment does not wait for more");
    store.of(2).answer();
    await pass();
    store.of(1).answer();
    const position = await first;
    deepEqual([position.nextSlot, position.lastRecord], [3, 2]);
    deepEqual(await again, position);
    store.of(3).answer();
    equal((await second).nextSlot, 4);
    deepEqual((await read(position)).records.map(textOf), ["3"]);
    deepEqual(await writer.cut(), await second, "nothing was appended since");
  }));

test("a drain can be given up; the log goes on", () =>
  withWriter({}, async ({ append, store, pass, writer, heard }) => {
    append();
    const signal = new AbortController();
    const drain = rejects(writer.drain(signal.signal), { kind: "canceled" });
    await pass();
    signal.abort();
    await drain;
    store.of(1).answer();
    await pass();
    deepEqual(heard.durable, [1]);
    equal((await writer.drain()).lastRecord, 1);
  }));

test("after close nothing is sent, nobody is told, and cuts that wait are told that it has stopped", () =>
  withWriter({}, async ({ append, store, pass, writer, heard }) => {
    append();
    await pass();
    append();
    const cut = rejects(writer.cut(), { kind: "stopped" });
    const put = store.of(1);
    await writer.close();
    await cut;
    put.apply();
    await pass(10_000);
    deepEqual({ ...heard }, { durable: [], failures: [] });
    equal(store.sent.length, 1);
    await rejects(writer.cut(), { kind: "stopped" });
    throws(() => append(), /closed/);
  }));

test("two PUTs are at least so far apart as is asked", () =>
  withWriter({ settings: { putIntervalMinMs: 100 } }, async ({ append, store, pass, simulation }) => {
    const times: number[] = [];
    for (let n = 0; n < 40; n++) {
      append();
      await pass(10);
      for (const put of [...store.underWay]) {
        times.push(simulation.nowMs);
        put.answer();
      }
    }
    ok(times.length >= 3 && times.length <= 5, `${times}`);
    for (let n = 1; n < times.length; n++) ok(times[n]! - times[n - 1]! >= 90, `${times}`);
  }));

test("records appended again come first, keep their epoch, and are durable when they are in the bucket", () => {
  const position = at({ nextSlot: 9, highestEpoch: 4, lastRecord: 5, lastRecordEpoch: 2, revision: 6, wallMs: 50 });
  const record = (n: number) => ({
    number: n as never,
    epoch: 3 as Epoch,
    wallMs: 50 + n,
    revision: (n + 1) as never,
    payload: Buffer.from(`old ${n}`),
  });
  return withWriter({ epoch: 4 as Epoch, position, reappend: [record(6), record(7)] }, async (world) => {
    const { append, store, pass, writer, heard, read } = world;
    equal(writer.head, 7);
    equal(writer.durable, 5);
    await pass();
    equal(append("new"), 8);
    store.of(9).answer();
    await pass();
    deepEqual(heard.durable, [7]);
    store.of(10).answer();
    await pass();
    const { records } = await read(position);
    deepEqual(
      records.map((one) => [one.number, one.epoch, textOf(one)]),
      [
        [6, 3, "old 6"],
        [7, 3, "old 7"],
        [8, 4, "new"],
      ],
    );
  });
});

test("a large segment is hashed a part in a turn, and the next one still names it", () =>
  withWriter({ settings: { segmentAgeMs: 1 } }, async ({ append, store, pass, read, heard }) => {
    append(Buffer.alloc(400 << 10, 1));
    await pass();
    append(Buffer.alloc(300 << 10, 2));
    await pass(50);
    append("3");
    await pass(50);
    deepEqual(store.slots, [1, 2, 3]);
    for (const slot of [3, 2, 1]) store.of(slot).answer();
    await pass(50);
    deepEqual(heard.durable, [1, 2, 3]);
    equal((await read()).records.length, 3);
  }));

for (let seed = 1; seed <= 25; seed++) {
  test(`any order of outcomes leaves one chain, with all that was acknowledged (seed ${seed})`, () =>
    withWriter(
      { seed, settings: { segmentAgeMs: 2, segmentBytes: 300, window: 4, requestTimeoutMs: 50 } },
      async (world) => {
        const { append, store, pass, writer, simulation, read } = world;
        const random = simulation.random.fork("script");
        const lost: (typeof store.sent)[number][] = [];
        const contents = new Map<number, string>();
        for (let step = 0; step < 200; step++) {
          for (let n = random.integer(0, 3); n > 0; n--) append(Buffer.alloc(random.integer(0, 200), step));
          await pass(random.integer(0, 5));
          store.unreachable = random.chance(0.1);
          for (const put of store.sent) {
            const isOver = put.settled && !lost.includes(put);
            ok(isOver || put.body.equals(put.live), "bytes that a request may still read do not change");
            const before = contents.get(put.slot);
            ok(before === undefined || before === put.body.toString("hex"), "a slot is tried with one content only");
            contents.set(put.slot, put.body.toString("hex"));
          }
          ok(store.slots.every((slot) => slot < Math.min(...store.slots) + 4));
          for (const put of [...store.underWay]) {
            const fate = random.integer(0, 5);
            if (fate === 0) put.answer();
            if (fate === 2) lost.push(put);
            if (fate === 3) put.apply();
            if (fate >= 1 && fate <= 3) put.lose();
            if (fate === 4) put.settle({ kind: "refused", cause: new Error("no"), retryable: true });
          }
          if (lost.length > 0 && random.chance(0.05)) lost.splice(random.integer(0, lost.length - 1), 1)[0]!.apply();
          const { position } = await readQuietly(store, read);
          ok(writer.durable <= position.lastRecord, "what is durable is in the bucket, with all before it");
        }
        store.unreachable = false;
        for (let n = 0; writer.durable < writer.head; n++) {
          ok(n < 1000, "it comes to an end");
          await pass(5000);
          for (const put of [...store.underWay]) put.answer();
        }
        const { records } = await read();
        equal(records.length, writer.head);
        deepEqual(world.heard.failures, []);
      },
    ));
}

async function readQuietly<T>(store: { unreachable: boolean }, read: () => Promise<T>): Promise<T> {
  const was = store.unreachable;
  store.unreachable = false;
  const result = await read();
  store.unreachable = was;
  return result;
}
