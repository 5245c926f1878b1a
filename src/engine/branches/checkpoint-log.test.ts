import { deepEqual, equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { BRANCH, StorageBench } from "../../../test/storage/storage-bench.ts";
import { slot } from "../../base/ids.ts";
import { checkpointKey } from "../../objects/keys.ts";
import { readCheckpointLog } from "./checkpoint-log.ts";

const request = { timeoutMs: 1000 };

/** Checkpoints at slots 2, 3 …, each with one new key. */
async function bench(checkpoints: number): Promise<StorageBench> {
  const world = new StorageBench({ cacheBytes: 1 << 20, settings: {} });
  for (let n = 0; n < checkpoints; n++) {
    const { revision } = world.begin(true);
    const bytes = Buffer.from(`value ${n}`);
    const entry = { space: 0, key: `k${n}`, main: revision, sub: 0, tombstone: false, effect: 1 } as const;
    world.tree.apply({ ...entry, bytes, start: 0, end: bytes.length });
    await world.persist(-1);
  }
  return world;
}

test("a branch's checkpoints, the oldest first, with what each added", async () => {
  const world = await bench(4);
  const log = await readCheckpointLog(world.store, BRANCH, request);
  deepEqual(
    log.entries.map(({ leaf, revision }) => [leaf, revision]),
    [
      [0, 2],
      [1, 3],
      [2, 4],
      [3, 5],
    ],
  );
  equal(log.checkpoints, 4);
  let bytes = 0;
  for (const entry of log.entries) {
    bytes += entry.bytesAdded;
    equal(entry.bytes, bytes);
  }
  await world.close();
});

test("a retained checkpoint that is missing, or that is of another history, is named", async () => {
  const world = await bench(4);
  const key = checkpointKey(BRANCH, slot(3), 0);
  const other = await bench(4);
  const foreign = await other.store.get(key, request);
  await world.store.put(key, foreign!.body, { ...request, condition: { kind: "none" } });
  await rejects(readCheckpointLog(world.store, BRANCH, request), {
    kind: "corrupt",
    message: new RegExp(`^object ${key}: has id .*, the newest checkpoint lists `),
  });
  await world.store.delete(key, request);
  await rejects(readCheckpointLog(world.store, BRANCH, request), { kind: "corrupt", message: /and missing$/ });
  await Promise.all([world.close(), other.close()]);
});

test("a branch without a checkpoint has none to list", async () => {
  const world = await bench(0);
  const none = { branch: BRANCH, entries: [], checkpoints: 0, firstLogSlot: 1 };
  deepEqual(await readCheckpointLog(world.store, BRANCH, request), none);
  await world.close();
});
