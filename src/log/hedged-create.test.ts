import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { branch, sampleBytes, slotAt, start } from "../../test/log/samples.ts";
import { textOf, withWriter } from "../../test/log/writing.ts";
import type { Epoch } from "../base/ids.ts";
import { segmentKey } from "../objects/keys.ts";

const settings = { requestTimeoutMs: 10_000, segmentAgeMs: 1 };

test("a request that is stuck gets a second one with the same bytes, whose answer counts", () =>
  withWriter({ settings }, async ({ append, store, pass, heard, read }) => {
    append("one");
    await pass(490);
    equal(store.sent.length, 1);
    await pass(20);
    deepEqual(store.slots, [1, 1]);
    const [stuck, second] = store.sent;
    deepEqual(second!.body, stuck!.body);
    second!.answer();
    await pass();
    deepEqual(heard.durable, [1]);
    deepEqual(store.slots, [], "the first one is given up");
    equal(stuck!.apply(), false, "and finds the object there when it comes after all");
    for (const [slot, text] of [
      [2, "two"],
      [3, "three"],
    ] as const) {
      append(text);
      await pass(5);
      store.of(slot).answer();
      await pass();
    }
    deepEqual(stuck!.live, stuck!.body, "its bytes are not written over");
    deepEqual((await read()).records.map(textOf), ["one", "two", "three"]);
    deepEqual(heard.durable, [1, 2, 3]);
  }));

test("the first one's answer counts, too, when it comes before the second one's", () =>
  withWriter({ settings }, async ({ append, store, pass, heard }) => {
    append();
    await pass(600);
    store.sent[0]!.answer();
    await pass();
    deepEqual(heard.durable, [1]);
    deepEqual(store.slots, []);
    equal(store.reads, 0);
  }));

test("a second one that finds the first one's object is resolved by reading", () =>
  withWriter({ settings }, async ({ append, store, pass, heard }) => {
    append();
    await pass(600);
    store.sent[0]!.apply();
    store.sent[1]!.answer();
    await pass();
    deepEqual(heard.durable, [1]);
    equal(store.reads, 1);
    deepEqual(store.slots, []);
  }));

test("a second one that finds another's segment ends everything", () =>
  withWriter({ settings, epoch: 2 as Epoch }, async ({ append, store, pass, heard }) => {
    append();
    await pass(600);
    store.objects.set(segmentKey(branch, slotAt(1)), sampleBytes(start, 3, []));
    store.sent[1]!.answer();
    await pass();
    deepEqual(heard.durable, []);
    deepEqual(
      heard.failures.map(({ kind }) => kind),
      ["leadershipLost"],
    );
  }));

test("where one of two is refused, the other one's answer is waited for", () =>
  withWriter({ settings }, async ({ append, store, pass, heard }) => {
    append();
    await pass(600);
    store.sent[1]!.settle({ kind: "refused", cause: new Error("slow down"), retryable: true });
    await pass(2000);
    equal(store.sent.length, 2);
    store.sent[0]!.answer();
    await pass();
    deepEqual(heard.durable, [1]);
  }));

for (const lost of [0, 1]) {
  test(`where one of two is refused and number ${lost} is lost, it is read before it is sent again`, () =>
    withWriter({ settings }, async ({ append, store, pass, heard }) => {
      append();
      await pass(600);
      store.sent[lost]!.apply();
      store.sent[1 - lost]!.settle({ kind: "refused", cause: new Error("slow down"), retryable: true });
      await pass();
      store.sent[lost]!.lose();
      await pass();
      deepEqual(heard.durable, [1]);
      equal(store.sent.length, 2);
    }));
}

test("where all requests are slow, nothing is sent twice; one much slower than these is", () =>
  withWriter({ settings }, async ({ append, store, pass, heard }) => {
    for (let n = 1; n <= 30; n++) {
      append();
      await pass(n < 15 ? 450 : 1500);
      equal(store.sent.length, n, `${n}`);
      store.of(n).answer();
      await pass();
    }
    append();
    await pass(10_000 - 1);
    equal(store.sent.length, 32);
    deepEqual(heard.durable.length, 30);
  }));

test("a log that is closed ends both", () =>
  withWriter({ settings }, async ({ append, store, pass, writer, heard }) => {
    append();
    await pass(600);
    await writer.close();
    await pass(20_000);
    deepEqual([store.slots, store.sent.length, heard.durable, heard.failures], [[], 2, [], []]);
  }));
