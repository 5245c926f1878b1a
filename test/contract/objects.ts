import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { describe, test } from "node:test";
import { branchId, epoch, type ObjectKey, slot } from "../../src/base/ids.ts";
import { createOnce } from "../../src/objects/conditional.ts";
import * as keys from "../../src/objects/keys.ts";
import type { ObjectStore, PutCondition, PutOptions } from "../../src/objects/objects.ts";
import { Register } from "../../src/objects/register.ts";
import type { RetryRuntime } from "../../src/objects/retry.ts";

/** A store under test. Each test of the suite uses a branch id of its own, so they can share one store. */
export interface StoreUnderTest {
  store: ObjectStore;
  runtime: RetryRuntime;
  close?: () => Promise<void>;
}

const timeoutMs = 15_000;
const soon = { timeoutMs };
const put = (condition: PutCondition): PutOptions => ({ ...soon, condition });
const absent = put({ kind: "absent" });
const anyway = put({ kind: "none" });
const matching = (etag: string) => put({ kind: "match", etag });

/** What every ObjectStore must do. `open` is called once, before the first test. */
export function objectStoreContract(name: string, open: () => Promise<StoreUnderTest>): void {
  let opened: Promise<StoreUnderTest> | undefined;
  let branches = 0;
  const scene = async () => {
    opened ??= open();
    const branch = branchId((++branches).toString(16).padStart(32, "c"));
    return { ...(await opened), branch, key: keys.segmentKey(branch, slot(1)) };
  };

  describe(`the object store ${name}`, { concurrency: false }, () => {
    test("an object that is not there: get gives null, delete is no error, match fails", async () => {
      const { store, key } = await scene();
      equal(await store.get(key, soon), null);
      equal(await store.get(key, { ...soon, range: { start: 0, end: 10 } }), null);
      equal(await store.get(key, { ...soon, range: { suffix: 10 } }), null);
      await store.delete(key, soon);
      const outcome = await store.put(key, Buffer.from("x"), matching('"0123456789abcdef0123456789abcdef"'));
      equal(outcome.kind, "preconditionFailed");
      equal(await store.get(key, soon), null);
    });

    test("what was put comes back, byte by byte, whole and in ranges", async () => {
      const { store, branch } = await scene();
      for (const [n, bytes] of [0, 1, 4096, 1 << 20].entries()) {
        const key = keys.segmentKey(branch, slot(n + 1));
        const body = Buffer.from(Array.from({ length: bytes }, (_, at) => (at * 31 + (at >>> 8)) & 0xff));
        const outcome = await store.put(key, body, absent);
        ok(outcome.kind === "written", JSON.stringify(outcome));
        const whole = await store.get(key, soon);
        ok(whole);
        ok(whole.body.equals(body));
        equal(whole.bytes, bytes);
        equal(whole.etag, outcome.etag);
        for (const [start, end] of [
          [0, 0],
          [0, 1],
          [1, 3],
          [bytes - 1, bytes],
          [bytes - 1, bytes + 9],
          [0, 1 << 22],
          [bytes + 5, bytes + 9],
        ] as const) {
          if (start < 0) continue;
          const part = await store.get(key, { ...soon, range: { start, end } });
          ok(part);
          ok(part.body.equals(body.subarray(start, end)), `[${start}, ${end}) of ${bytes}`);
          equal(part.bytes, bytes);
        }
        for (const suffix of [0, 1, bytes, bytes + 7]) {
          const part = await store.get(key, { ...soon, range: { suffix } });
          ok(part);
          ok(part.body.equals(body.subarray(Math.max(0, bytes - suffix))), `last ${suffix} of ${bytes}`);
          equal(part.bytes, bytes);
        }
      }
    });

    test("bodies belong to who has them: changing one after a put or a get changes nothing stored", async () => {
      const { store, key } = await scene();
      const body = Buffer.from("before");
      await store.put(key, body, absent);
      body.fill("x");
      const got = await store.get(key, soon);
      ok(got !== null && got.body.toString() === "before");
      got.body.fill("y");
      equal((await store.get(key, soon))?.body.toString(), "before");
    });

    test("create: the first one writes, every other one changes nothing, until the object is deleted", async () => {
      const { store, key } = await scene();
      equal((await store.put(key, Buffer.from("first"), absent)).kind, "written");
      equal((await store.put(key, Buffer.from("second"), absent)).kind, "preconditionFailed");
      equal((await store.put(key, Buffer.from("first"), absent)).kind, "preconditionFailed");
      equal((await store.get(key, soon))?.body.toString(), "first");
      await store.delete(key, soon);
      equal(await store.get(key, soon), null);
      equal((await store.put(key, Buffer.from("third"), absent)).kind, "written");
      equal((await store.get(key, soon))?.body.toString(), "third");
    });

    test("replace: only what has the etag; without a condition, always", async () => {
      const { store, key } = await scene();
      const first = await store.put(key, Buffer.from("one"), anyway);
      ok(first.kind === "written");
      const second = await store.put(key, Buffer.from("two"), matching(first.etag));
      ok(second.kind === "written");
      equal((await store.put(key, Buffer.from("three"), matching(first.etag))).kind, "preconditionFailed");
      equal((await store.get(key, soon))?.body.toString(), "two");
      const got = await store.get(key, soon);
      equal(got?.etag, second.etag);
      equal((await store.put(key, Buffer.from("four"), anyway)).kind, "written");
      equal((await store.put(key, Buffer.from("five"), matching(second.etag))).kind, "preconditionFailed");
      equal((await store.get(key, soon))?.body.toString(), "four");
    });

    test("of racing creators exactly one wins, and its bytes are there", async () => {
      const { store, branch } = await scene();
      for (let round = 1; round <= 5; round++) {
        const key = keys.segmentKey(branch, slot(round));
        const racers = Array.from({ length: 12 }, (_, n) => store.put(key, Buffer.from(`racer ${n}`), absent));
        const outcomes = await Promise.all(racers);
        const winners = outcomes.flatMap((outcome, n) => (outcome.kind === "written" ? [n] : []));
        ok(
          outcomes.every(({ kind }) => kind === "written" || kind === "preconditionFailed"),
          JSON.stringify(outcomes),
        );
        equal(winners.length, 1, `round ${round}`);
        equal((await store.get(key, soon))?.body.toString(), `racer ${winners[0]}`);
      }
    });

    test("of racing replacers exactly one wins, and its bytes are there", async () => {
      const { store, key } = await scene();
      let { etag } = (await store.put(key, Buffer.from("0"), absent)) as { etag: string };
      for (let round = 1; round <= 5; round++) {
        const racers = Array.from({ length: 8 }, (_, n) =>
          store.put(key, Buffer.from(`${round} ${n}`), matching(etag)),
        );
        const outcomes = await Promise.all(racers);
        const winners = outcomes.flatMap((outcome, n) =>
          outcome.kind === "written" ? [{ n, etag: outcome.etag }] : [],
        );
        ok(
          outcomes.every(({ kind }) => kind === "written" || kind === "preconditionFailed"),
          JSON.stringify(outcomes),
        );
        equal(winners.length, 1, `round ${round}`);
        etag = winners[0]!.etag;
        const got = await store.get(key, soon);
        equal(got?.body.toString(), `${round} ${winners[0]!.n}`);
        equal(got.etag, etag);
      }
    });

    test("a list has the objects of a prefix in byte order, in pages, from behind a key", async () => {
      const { store, branch } = await scene();
      const wanted = [
        keys.checkpointKey(branch, slot(2), 0),
        keys.checkpointKey(branch, slot(10), 0),
        keys.checkpointKey(branch, slot(10), 1),
        keys.leaderKey(branch),
        ...[1, 2, 9, 10, 11, 100].map((n) => keys.segmentKey(branch, slot(n))),
        keys.originKey(branch),
      ];
      for (const key of wanted.toReversed()) equal((await store.put(key, Buffer.from(key), absent)).kind, "written");
      const whole = await store.list(keys.prefixes.branch(branch), { ...soon, limit: 1000 });
      deepEqual(
        whole.objects.map(({ key }) => key),
        wanted,
      );
      equal(whole.more, false);
      ok(whole.objects.every(({ key, bytes, modifiedMs }) => bytes === key.length && Number.isSafeInteger(modifiedMs)));

      for (const limit of [1, 3, wanted.length]) {
        const paged: ObjectKey[] = [];
        for (let more = true, startAfter: ObjectKey | undefined; more; startAfter = paged.at(-1)) {
          const some = { ...soon, limit, keysOnly: limit === 3 };
          const options = startAfter === undefined ? some : { ...some, startAfter };
          const page = await store.list(keys.prefixes.branch(branch), options);
          ok(page.objects.length <= limit && (page.objects.length > 0 || !page.more));
          paged.push(...page.objects.map(({ key }) => key));
          more = page.more;
        }
        deepEqual(paged, wanted, `pages of ${limit}`);
      }

      const list = async (prefix: string, startAfter?: ObjectKey) => {
        const options = startAfter === undefined ? { ...soon, limit: 1000 } : { ...soon, limit: 1000, startAfter };
        return (await store.list(prefix, options)).objects.map(({ key }) => key);
      };
      deepEqual(await list(keys.prefixes.segments(branch), keys.segmentKey(branch, slot(9))), wanted.slice(7, 10));
      deepEqual(await list(`branch/${branch}/lo`), wanted.slice(4, 10));
      deepEqual(await list(keys.prefixes.segments(branch), keys.segmentKey(branch, slot(100))), []);
      deepEqual(await list(keys.prefixes.segments(branch), keys.leaderKey(branch)), wanted.slice(4, 10));
      deepEqual(await list(keys.prefixes.tablesOf(branch)), []);
      await store.delete(wanted[4]!, soon);
      deepEqual(await list(keys.prefixes.segments(branch)), wanted.slice(5, 10));
    });

    test("every object name of a repository can be stored side by side", async () => {
      const { store, branch } = await scene();
      const all = [
        keys.repositoryKey,
        keys.nameKey("main"),
        keys.nameKey("a".repeat(63)),
        keys.sessionKey("s-1"),
        keys.originKey(branch),
        keys.leaderKey(branch),
        keys.segmentKey(branch, slot(Number.MAX_SAFE_INTEGER)),
        keys.checkpointKey(branch, slot(3), 4),
        keys.tableKey({ branch, epoch: epoch(Number.MAX_SAFE_INTEGER), sha256: "e".repeat(64) }),
        keys.collectionKey(1),
        keys.collectionDoneKey(1),
        keys.probeKey("0".repeat(16), 1),
        keys.probePassedKey,
      ];
      for (const key of all) equal((await store.put(key, Buffer.from(key), anyway)).kind, "written");
      for (const key of all) equal((await store.get(key, soon))?.body.toString(), key);
      for (const key of all) await store.delete(key, soon);
      for (const key of all) equal(await store.get(key, soon), null);
    });

    test("a request given up before it began has no effect: reads throw canceled, a put is refused", async () => {
      const { store, key } = await scene();
      const given = { ...soon, signal: AbortSignal.abort() };
      await rejects(store.get(key, given), { kind: "canceled" });
      await rejects(store.list("", { ...given, limit: 1 }), { kind: "canceled" });
      await rejects(store.delete(key, given), { kind: "canceled" });
      equal((await store.put(key, Buffer.from("x"), { ...absent, ...given })).kind, "refused");
      equal(await store.get(key, soon), null);
    });

    test("createOnce and a register work on it", async () => {
      const { store, runtime, key, branch } = await scene();
      const options = { ...soon, runtime };
      const made = await Promise.all(["a", "b", "c"].map((text) => createOnce(store, key, Buffer.from(text), options)));
      equal(made.filter(({ kind }) => kind === "created").length, 1);
      const register = new Register<unknown>(store, keys.leaderKey(branch), { runtime, decode: (json) => json });
      const increment = async (by: number) => {
        for (let left = 3; left > 0; ) {
          const outcome = await register.swap(await register.read(soon), { by, left }, soon);
          if (outcome.kind === "swapped") left--;
          else equal(outcome.kind, "conflict");
        }
      };
      await Promise.all([increment(1), increment(2), increment(3)]);
      equal((await register.read(soon))?.counter, 9);
    });

    test("it closes", async () => {
      const { store, close } = await scene();
      await store.close();
      await close?.();
    });
  });
}
