import { deepEqual, equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { isDbError } from "../../base/errors.ts";
import { PasswordQueue } from "./password-queue.ts";

/** Work that ends when it is told to; in the order in which it began. */
function slowWork() {
  const begun: { name: string; end: () => void }[] = [];
  const work = (name: string) => () => {
    const { promise, resolve } = Promise.withResolvers<string>();
    begun.push({ name, end: () => resolve(name) });
    return promise;
  };
  return { begun, work };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const isKind = (kind: "tooManyRequests" | "canceled") => (error: unknown) => isDbError(error, kind);

test("addresses take turns: one that asks for much holds up itself", async () => {
  const queue = new PasswordQueue({ atOnce: 1, waitingMax: 100 });
  const { begun, work } = slowWork();
  for (let n = 0; n < 5; n++) void queue.run("a", null, work(`a${n}`));
  void queue.run("b", null, work("b0"));
  void queue.run("c", null, work("c0"));
  for (let n = 0; n < 7; n++) {
    await settled();
    equal(begun.length, n + 1);
    begun[n]!.end();
  }
  deepEqual(
    begun.map(({ name }) => name),
    ["a0", "a1", "b0", "c0", "a2", "a3", "a4"],
  );
});

test("a full queue makes room for another address at the cost of the one that has most", async () => {
  const queue = new PasswordQueue({ atOnce: 1, waitingMax: 4 });
  const { begun, work } = slowWork();
  const calls = ["a0", "a1", "a2", "a3", "a4"].map((name) => queue.run("a", null, work(name)));
  await rejects(queue.run("a", null, work("a5")), isKind("tooManyRequests"));
  const other = queue.run("b", null, work("b0"));
  await rejects(calls[4]!, isKind("tooManyRequests"));
  equal(queue.waiting, 4);
  for (let n = 0; n < 5; n++) {
    await settled();
    begun[n]!.end();
  }
  equal(await other, "b0");
  equal(queue.waiting, 0);
});

test("who gives up makes room; work that fails does, too", async () => {
  const queue = new PasswordQueue({ atOnce: 1, waitingMax: 4 });
  const { begun, work } = slowWork();
  const first = queue.run("a", null, () => Promise.reject(new Error("broken")));
  const gone = new AbortController();
  const waiting = queue.run("a", gone.signal, work("a1"));
  const last = queue.run("a", null, work("a2"));
  gone.abort();
  await rejects(waiting, isKind("canceled"));
  await rejects(first, /broken/);
  await settled();
  begun[0]!.end();
  equal(await last, "a2");
  await rejects(queue.run("a", gone.signal, work("late")), isKind("canceled"));
});
