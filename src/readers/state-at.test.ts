import { deepEqual, equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { runtime, SampleNode } from "../../test/readers/sample-bucket.ts";
import type { Moment } from "../engine/branches/moment.ts";
import { KeyValueReader } from "../engine/mvcc/key-value.ts";
import { MemoryBucket, MemoryStore } from "../objects/memory.ts";
import { ReadOnlyStore } from "../objects/read-only.ts";
import { newestCheckpoint } from "../storage/checkpoint-store.ts";
import { AT_HEAD, KEYS } from "../storage/storage.ts";
import { findBranch, openOffline } from "./open-offline.ts";
import { stateAt } from "./state-at.ts";
import { liveIn, versionsIn } from "./versions-in.ts";

const request = { timeoutMs: 10_000 };
const all = { from: "", to: null };

/** What a branch has held, revision by revision. */
class Past {
  readonly states = new Map<number, Map<string, string>>();
  #now = new Map<string, string>();

  set(revision: number, key: string, value: string | null): void {
    this.#now = new Map(this.#now);
    if (value === null) this.#now.delete(key);
    else this.#now.set(key, value);
    this.states.set(revision, this.#now);
  }
}

async function write(node: SampleNode, past: Past, count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    const key = `key ${n % 17}`;
    if (n % 5 === 4) {
      const { revision, deleted } = await node.db.delete(key);
      if (deleted > 0) past.set(Number(revision), key, null);
    } else {
      const value = `${n}`;
      past.set(Number((await node.db.put(key, value)).revision), key, value);
    }
  }
}

test("a branch is seen as it was at every revision that is retained, and no other, while it is written", async () => {
  const bucket = new MemoryBucket();
  const past = new Past();
  const first = await SampleNode.start(bucket, "first", { logMs: 0 });
  for (let round = 0; round < 3; round++) {
    await write(first, past, 60);
    await first.branch.checkpoint();
  }
  await write(first, past, 30);
  const store = new ReadOnlyStore(new MemoryStore(runtime, bucket));
  const repository = await openOffline(store, runtime, request);
  const branch = await findBranch(repository, "main");
  const newest = (await newestCheckpoint(store, branch.id, request))!;
  const logFrom = newest.retained.find(({ nextSlot }) => nextSlot === newest.firstLogSlot)!.revision;
  const alone = new Set<number>(newest.retained.map(({ revision }) => revision));
  const pairs = new KeyValueReader();
  const shown = async (moment: Moment) => {
    const state = await stateAt(repository, branch, moment);
    const { versions } = await liveIn(state, all, 0);
    const count = await state.tree.count(KEYS, all, AT_HEAD);
    equal(count, versions.length);
    const map = versions.map((version) => [version.key, Buffer.from(pairs.read(version).value).toString()]);
    await state.close();
    return { map, revision: state.revision };
  };
  let seen = 0;
  for (const [revision, expected] of past.states) {
    const moment: Moment = { kind: "revision", revision };
    if (revision < logFrom && !alone.has(revision)) {
      await rejects(shown(moment), new RegExp(`revision ${revision} is not retained; the nearest: revision \\d+`));
      continue;
    }
    seen++;
    const found = await shown(moment);
    equal(found.revision, revision);
    deepEqual(
      found.map,
      [...expected].sort(([a], [b]) => (a < b ? -1 : 1)),
      `revision ${revision}`,
    );
  }
  equal(seen >= 30, true);
  const head = Math.max(...past.states.keys());
  equal((await shown({ kind: "newest" })).revision, head);
  await rejects(shown({ kind: "revision", revision: head + 1 }), /is not there yet: the newest in the store is/);
  const [oldest] = newest.retained;
  equal((await shown({ kind: "checkpoint", name: oldest!.id.slice(0, 10) })).revision, oldest!.revision);
  equal((await shown({ kind: "checkpoint", name: `${oldest!.nextSlot}-${oldest!.n}` })).revision, oldest!.revision);
  await rejects(shown({ kind: "checkpoint", name: "ffffffffff" }), /no retained checkpoint is named ffffffffff/);
  await rejects(
    shown({ kind: "time", wallMs: 1000 }),
    /1970-01-01T00:00:01.000Z is not retained; the nearest: revision/,
  );
  const later = await shown({ kind: "time", wallMs: runtime.clock.wallMs() + 1000 });
  equal(later.revision, head);
  await first.db.close();
});

test("a time before a root's first record is refused, as is any of a root where nothing was written", async () => {
  const node = await SampleNode.start(new MemoryBucket(), "only");
  const repository = await openOffline(new ReadOnlyStore(node.store), runtime, request);
  const branch = await findBranch(repository, "main");
  const refused = /is before anything was written; the nearest: revision 1 \(the beginning\)/;
  const at = (wallMs: number) => stateAt(repository, branch, { kind: "time", wallMs });
  const before = runtime.clock.wallMs();
  await rejects(at(before), { kind: "notRetained", message: refused });
  await rejects(at(1000), { kind: "notRetained", message: refused });
  await node.db.put("k", "v");
  await rejects(at(1000), { kind: "notRetained", message: refused });
  await node.branch.checkpoint();
  await rejects(at(1000), { kind: "notRetained", message: refused });
  for (const moment of [{ kind: "time", wallMs: runtime.clock.wallMs() } as const, { kind: "newest" } as const]) {
    const state = await stateAt(repository, branch, moment);
    equal(state.revision, 2);
    await state.close();
  }
  const beginning = await stateAt(repository, branch, { kind: "revision", revision: 1 });
  equal(beginning.revision, 1);
  await beginning.close();
  await node.db.close();
});

test("a key's history is every version that is kept, in order, a page at a time", async () => {
  const node = await SampleNode.start(new MemoryBucket(), "only");
  for (let n = 0; n < 25; n++) {
    await node.db.put("k", `${n}`);
    if (n === 10) await node.db.delete("k");
    if (n === 15) await node.branch.checkpoint();
  }
  const repository = await openOffline(new ReadOnlyStore(node.store), runtime, request);
  const state = await stateAt(repository, await findBranch(repository, "main"), { kind: "newest" });
  const range = { from: "k", to: "k\0" };
  const { versions, more } = await versionsIn(state, range, 0);
  deepEqual([versions.length, more], [26, false]);
  deepEqual(
    versions.map(({ main, tombstone }) => [main, tombstone]),
    Array.from({ length: 26 }, (_, n) => [n + 2, n === 11]),
  );
  const page = await versionsIn(state, range, 5);
  deepEqual([page.versions.length, page.more], [5, true]);
  await state.close();
  await node.db.close();
});
