import { notEqual, rejects } from "node:assert/strict";
import { test } from "node:test";
import { newest, runtime, smallTables, TestRepository, write } from "../../../test/branches/repository.ts";
import type { ObjectKey } from "../../base/ids.ts";
import { Collector } from "../../collector/collector.ts";
import { parseKey } from "../../objects/keys.ts";
import { KEYS } from "../../storage/storage.ts";
import { defaultTreeSettings } from "../../storage/tree.ts";
import { openPast, type PastState } from "./past-state.ts";

const keys = Array.from({ length: 40 }, (_, n) => `k${String(n).padStart(2, "0")}`);
const read = async ({ tree, revision }: PastState): Promise<string[]> =>
  (await tree.scan(KEYS, { from: "k", to: "l" }, revision, { limit: 0 })).map(({ key }) => key);

test("a state that is collected while it is read is no corruption; a table of one that is retained is", async () => {
  const tree = smallTables(defaultTreeSettings);
  await using repository = await TestRepository.open({
    tree,
    retention: { logMs: 0, tiers: [], checkpointsMax: 1000 },
  });
  const served = await repository.serve("main");
  const id = await repository.idOf("main");
  const { database } = served;
  const round = async (round: number): Promise<void> => {
    for (const key of keys) await write(database, key, `${round} ${"v".repeat(1000)}`);
    await served.checkpoint();
  };
  await round(0);
  const held = await openPast(repository.reader(), id, newest);
  // Merging replaces its tables, and the newest checkpoint retains none before it.
  for (let n = 1; n < 8; n++) await round(n);
  await database.compact({ revision: database.committed, physical: true });
  await round(8);
  const settings = { requestTimeoutMs: 5000, graceMs: -3_600_000, deletesPerSecond: 0 };
  await new Collector({ store: repository.store, runtime, ...settings }).collect();
  await rejects(read(held), {
    kind: "notRetained",
    message: `revision 41 of branch ${id} is not retained any more: it was collected while it was read`,
  });
  const now = await openPast(repository.reader(), id, newest);
  for (const key of [...repository.bucket.sorted]) {
    if (parseKey(key)?.kind === "table") await repository.store.delete(key as ObjectKey, { timeoutMs: 5000 });
  }
  await rejects(read(now), { kind: "corrupt", message: /is missing, though a checkpoint lists it/ });
  notEqual(now.checkpoint, null);
  for (const state of [held, now]) await state.close();
});
