import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { test } from "node:test";
import { changed } from "../../test/log/changed.ts";
import { branch, sampleBytes, slotAt, start } from "../../test/log/samples.ts";
import { textOf, withLocalWriter } from "../../test/log/writing.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import { segmentKey } from "../objects/keys.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { readLocalLog } from "./local-log-reader.ts";

const keyOf = (slot: number) => segmentKey(branch, slotAt(slot));

/** A disk whose synced writes go through `write`. */
const slowed =
  (write: (go: () => MaybePromise<void>, bytes: Uint8Array) => MaybePromise<void>) =>
  (runtime: Runtime): Runtime => ({
    ...runtime,
    disk: changed(runtime.disk, {
      open: async (path, options) => {
        const file = await runtime.disk.open(path, options);
        if (file === null || !options.sync) return file;
        return changed(file, { write: (bytes, at) => write(() => file.write(bytes, at), bytes) });
      },
    }),
  });

for (const seed of [1, 2, 3, 4]) {
  test(`a record is durable when the disk has it; its segment uploads behind (seed ${seed})`, () =>
    withLocalWriter({ seed, settings: { uploadAgeMs: 500 } }, async (world) => {
      const { append, pass, heard, writer, store, runtime, read } = world;
      append("one");
      append("two");
      equal(writer.durable, 0, "not within append");
      await pass(200);
      equal(writer.durable, 2);
      deepEqual(heard.durable, [2], "one write for the turn");
      const content = await readLocalLog({ disk: runtime.disk, directory: "/data/log", branch });
      deepEqual(content.tail?.records.map(textOf), ["one", "two"]);
      deepEqual(store.slots, []);
      deepEqual([writer.stats().pendingRecords, writer.stats().uploadedRecord], [2, 0]);
      await pass(500);
      deepEqual(store.slots, [1], "at its age");
      store.of(1).answer();
      await pass(1);
      deepEqual([writer.stats().pendingRecords, writer.stats().uploadedRecord], [0, 2]);
      deepEqual((await read()).records.map(textOf), ["one", "two"]);
      equal(writer.stats().localSyncs, 1);
    }));
}

test("while a write is under way the next frame gathers, and leaves with its end", () => {
  let release: () => void = () => {};
  const writes: number[] = [];
  const disk = slowed((go, bytes) => {
    if (writes.push(bytes.length) === 1) return go();
    return new Promise<void>((resolve) => {
      release = resolve;
    }).then(go);
  });
  return withLocalWriter({ disk }, async ({ append, pass, heard }) => {
    append();
    await pass(1);
    for (let n = 0; n < 5; n++) {
      append();
      await pass(1);
    }
    equal(writes.length, 2, "one under way (the first of all is the file's header)");
    release();
    await pass(100);
    deepEqual(heard.durable, [1]);
    release();
    await pass(100);
    deepEqual(heard.durable, [1, 6]);
  });
});

test("a segment leaves only when the disk has it", () => {
  let release: () => void = () => {};
  let first = true;
  const disk = slowed((go) => {
    if (first) {
      first = false;
      return go();
    }
    return new Promise<void>((resolve) => {
      release = resolve;
    }).then(go);
  });
  return withLocalWriter({ disk, settings: { uploadAgeMs: 10 } }, async ({ append, pass, store, writer }) => {
    append("a");
    await pass(1);
    append("b");
    const cut = writer.cut();
    append("c");
    await pass(1000);
    deepEqual(store.slots, [], "neither at its age nor by a cut");
    release();
    await pass(100);
    release();
    await pass(100);
    store.of(1).answer();
    equal((await cut).lastRecord, 2);
    await pass(100);
    store.of(2).answer();
    equal((await writer.cut()).lastRecord, 3);
  });
});

test("several segments upload at once, cut by size", () =>
  withLocalWriter({ settings: { uploadBytes: 1000, window: 3 } }, async ({ append, pass, store, read, writer }) => {
    for (let n = 0; n < 50; n++) {
      append(Buffer.alloc(100, n));
      await pass(10);
    }
    deepEqual(store.slots, [1, 2, 3]);
    equal(writer.durable, 50);
    while (store.slots.length > 0) {
      store.underWay.at(-1)!.answer();
      await pass(2000);
    }
    equal((await read()).records.length, 50);
  }));

test("a bucket outage does not stop a local leader until the bound", () =>
  withLocalWriter({ settings: { uploadBytesMax: 5000, uploadAgeMs: 10, requestTimeoutMs: 20 } }, async (world) => {
    const { append, pass, writer, heard, store, read } = world;
    store.unreachable = true;
    while (writer.refusal() === null) {
      append(Buffer.alloc(100));
      await pass(20);
      for (const put of [...store.underWay]) put.lose();
    }
    equal(writer.durable, writer.head);
    ok(writer.head >= 40);
    throws(() => append(), /full log/);
    store.unreachable = false;
    for (let n = 0; writer.stats().pendingRecords > 0; n++) {
      ok(n < 100);
      await pass(5000);
      for (const put of [...store.underWay]) put.answer();
    }
    equal(writer.refusal(), null);
    deepEqual(heard.failures, []);
    equal((await read()).records.length, writer.head);
  }));

test("another's segment in its way deposes a local leader too", () =>
  withLocalWriter({ settings: { uploadAgeMs: 10 } }, async ({ append, pass, writer, heard, store }) => {
    append();
    await pass(100);
    store.objects.set(keyOf(1), sampleBytes(start, 2, []));
    store.of(1).answer();
    await pass(100);
    deepEqual(heard.durable, [1]);
    equal(heard.failures[0]?.kind, "leadershipLost");
    throws(() => append(), /failed/);
    await writer.close();
  }));

test("what the disk refuses is not acknowledged: durability has failed for good", () =>
  withLocalWriter({ settings: { uploadAgeMs: 10 } }, async ({ append, pass, writer, heard, store }, machine) => {
    append();
    await pass(100);
    machine.diskFaults.writeError = 1;
    append();
    append();
    const cut = rejects(writer.cut(), { kind: "diskFailed" });
    await pass(100);
    await cut;
    machine.diskFaults.writeError = 0;
    await pass(5000);
    deepEqual(heard.durable, [1]);
    equal(heard.failures.length, 1);
    equal(heard.failures[0]?.kind, "diskFailed");
    equal(writer.refusal()?.kind, "diskFailed");
    equal(store.sent.length, 1, "nothing more is sent");
    await writer.close();
  }));

test("a full disk is told as what it is", () =>
  withLocalWriter({ machine: { diskBytesMax: 3 << 20 } }, async ({ append, pass, heard, writer }) => {
    append();
    await pass(100);
    append(Buffer.alloc(4 << 20));
    await pass(1000);
    deepEqual(heard.durable, [1]);
    equal(heard.failures[0]?.kind, "diskFailed");
    ok(/ENOSPC/.test(heard.failures[0]!.message), heard.failures[0]!.message);
    await writer.close();
  }));

test("a disk without room for the next file is no failure while the present one has room", () =>
  withLocalWriter({ machine: { diskBytesMax: 3 << 20 } }, async ({ append, pass, heard, writer }) => {
    append(Buffer.alloc(600 << 10));
    await pass(1000);
    append();
    await pass(1000);
    deepEqual(heard.durable, [1, 2]);
    // What was begun of the next file leaves the room to the present one, which grows.
    append(Buffer.alloc(900 << 10));
    await pass(1000);
    deepEqual(heard.durable, [1, 2, 3]);
    deepEqual(heard.failures, []);
    await writer.close();
  }));

test("close waits for the write under way, and tells nobody of it", () => {
  let release: () => void = () => {};
  let first = true;
  const disk = slowed((go) => {
    if (first) {
      first = false;
      return go();
    }
    return new Promise<void>((resolve) => {
      release = resolve;
    }).then(go);
  });
  return withLocalWriter({ disk }, async ({ append, pass, heard, writer }) => {
    append();
    await pass(1);
    let closed = false;
    const closing = writer.close().then(() => {
      closed = true;
    });
    await pass(100);
    equal(closed, false);
    release();
    await closing;
    deepEqual({ ...heard }, { durable: [], failures: [] });
  });
});
