import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { hash } from "node:crypto";
import { test } from "node:test";
import { type Epoch, epoch, type ObjectKey, recordNumber, revision, slot } from "../../src/base/ids.ts";
import { Collector } from "../../src/collector/collector.ts";
import {
  BranchCut,
  type CutParent,
  type CutPoint,
  cutAtNewestCheckpoint,
} from "../../src/engine/branches/cut-branch.ts";
import { leaderRegister } from "../../src/leadership/acquire.ts";
import { takenBy } from "../../src/leadership/leader-record.ts";
import { encodeOrigin, type Origin, rootOrigin } from "../../src/leadership/origin.ts";
import { checkpointKey, originKey, parseKey, tableKey } from "../../src/objects/keys.ts";
import { MemoryStore } from "../../src/objects/memory.ts";
import { createNodeRuntime } from "../../src/runtime/node.ts";
import type { Checkpoint } from "../../src/storage/checkpoint.ts";
import { CheckpointWriter } from "../../src/storage/checkpoint-store.ts";
import type { TableRef } from "../../src/storage/table.ts";
import { BRANCH } from "../storage/storage-bench.ts";
import { buildTable } from "../storage/table-samples.ts";
import { tableRefOf } from "../storage/table-verify.ts";

/** Interleavings of leaders, cuts and collections, one step at a time; chance finds some of them too rarely. */

const runtime = createNodeRuntime();
const request = { timeoutMs: 1000 };

class World {
  readonly store = new MemoryStore(runtime);
  readonly collector = new Collector({
    store: this.store,
    runtime,
    requestTimeoutMs: 1000,
    graceMs: 0,
    deletesPerSecond: 0,
  });
  #tables = 0;

  static async begin(): Promise<World> {
    const world = new World();
    const condition = { kind: "none" } as const;
    await world.store.put(originKey(BRANCH), encodeOrigin(rootOrigin(BRANCH)), { ...request, condition });
    return world;
  }

  /** A new leadership, which goes on from `newest`. */
  async lead(newest: Checkpoint | null): Promise<CheckpointWriter> {
    const register = leaderRegister(this.store, BRANCH, runtime);
    const state = await register.read(request);
    const taker = { session: "s-1", node: "n", addresses: [], durability: "object", inSync: [] } as const;
    const body = takenBy(state?.body ?? null, taker, epoch(1));
    equal((await register.swap(state, body, request)).kind, "swapped");
    const retention = { logMs: 0, tiers: [], checkpointsMax: 1 };
    const options = {
      store: this.store,
      runtime,
      branch: BRANCH,
      newest,
      retention,
      firstSlot: slot(1),
      timeoutMs: 1000,
    };
    return new CheckpointWriter({ ...options, epoch: body.epoch });
  }

  async table(of: Epoch): Promise<TableRef> {
    const { body } = await buildTable([{ space: 0, key: `k${++this.#tables}`, main: 1, value: "v", effect: 1 }]);
    const key = tableKey({ branch: BRANCH, epoch: of, sha256: hash("sha256", body, "hex") });
    await this.store.put(key, body, { ...request, condition: { kind: "absent" } });
    return tableRefOf(key, body);
  }

  write(writer: CheckpointWriter, nextSlot: number, tables: readonly TableRef[]): Promise<Checkpoint> {
    const position = {
      nextSlot: slot(nextSlot),
      highestEpoch: writer.epoch,
      lastHash: "ab".repeat(32),
      lastRecord: recordNumber(nextSlot),
      lastRecordEpoch: writer.epoch,
      revision: revision(nextSlot),
      wallMs: nextSlot * 1000,
    };
    const point = { position, compactRevision: -1 as const, wallMs: nextSlot * 1000 };
    return this.write2(writer, point, tables);
  }

  private write2(
    writer: CheckpointWriter,
    point: Parameters<CheckpointWriter["write"]>[0],
    tables: readonly TableRef[],
  ): Promise<Checkpoint> {
    return writer.write(
      point,
      tables.map((table) => [table]),
    );
  }

  async has(key: ObjectKey): Promise<boolean> {
    return (await this.store.get(key, request)) !== null;
  }

  cut(
    parts: Partial<Record<"createOrigin" | "isCollected" | "isListed" | "exists" | "createName", () => Promise<void>>>,
    child = "child",
  ): BranchCut {
    const options = {
      store: this.store,
      runtime,
      parent: BRANCH,
      name: child,
      request,
      point: cutAtNewestCheckpoint,
    };
    const cut = new BranchCut(options);
    for (const [name, before] of Object.entries(parts) as ["createName", () => Promise<void>][]) {
      const step = cut[name].bind(cut) as (...args: unknown[]) => Promise<never>;
      let first = true;
      cut[name] = async (...args: unknown[]) => {
        if (first) await before();
        first = false;
        return step(...args);
      };
    }
    return cut;
  }

  /** What the origin of the branch that was cut names. */
  async missing(child: Checkpoint): Promise<ObjectKey[]> {
    const keys = child.runs.flat().map((table) => table.key);
    const all = [...keys, checkpointKey(child.branch, child.point.position.nextSlot, child.n)];
    const gone: ObjectKey[] = [];
    for (const key of all) if (!(await this.has(key))) gone.push(key);
    return gone;
  }
}

test("a deposed leader's late checkpoint, the newest for a while, takes nothing from its successor", async () => {
  const world = await World.begin();
  const first = await world.lead(null);
  const [shared, merged] = [await world.table(first.epoch), await world.table(first.epoch)];
  const base = await world.write(first, 10, [shared, merged]);
  // The second one begins from what is the newest, and its fence stands above slot 18.
  const second = await world.lead(base);
  const output = await world.table(first.epoch);
  await world.write(first, 16, [output]);
  const fork = await world.write(first, 18, [output]);
  ok(!fork.retained.some(({ id }) => id === base.id), "the base is thinned, as the deposed one sees it");
  await world.collector.collect();
  const next = await world.write(second, 30, [shared, merged]);
  deepEqual(await world.missing(next), []);
  // From then on the fork counts no more.
  const third = await world.write(second, 40, [shared]);
  await world.write(second, 50, [shared]);
  await world.collector.collect();
  deepEqual(await world.missing(third), []);
  deepEqual([await world.has(output.key), await world.has(merged.key)], [false, false]);
});

test("a table of the present leadership that no checkpoint names yet stays; that of one before goes", async () => {
  const world = await World.begin();
  const first = await world.lead(null);
  const base = await world.write(first, 10, [await world.table(first.epoch)]);
  const unnamed = await world.table(first.epoch);
  await world.collector.collect();
  ok(await world.has(unnamed.key));
  const second = await world.lead(base);
  await world.collector.collect();
  ok(await world.has(unnamed.key), "the second leader may have begun from what the first was about to write");
  await world.write(second, 20, base.runs.flat());
  await world.collector.collect();
  ok(!(await world.has(unnamed.key)));
});

for (const at of ["createOrigin", "isCollected", "isListed", "createName"] as const) {
  test(`a cut that stalls before ${at} while all it chose is thinned and collected has what it needs`, async () => {
    const world = await World.begin();
    const writer = await world.lead(null);
    await world.write(writer, 10, [await world.table(writer.epoch)]);
    let chosen: Checkpoint | null = null;
    const cut = world.cut({
      [at]: async () => {
        for (const nextSlot of [20, 30, 40]) await world.write(writer, nextSlot, [await world.table(writer.epoch)]);
        await world.collector.collect();
      },
    });
    const branch = await cut.run();
    const object = await world.store.get(originKey(branch), request);
    const name = parseKey(originKey(branch));
    ok(object !== null && name?.kind === "origin");
    const { checkpoint } = (await import("../../src/leadership/origin.ts")).decodeOrigin(branch, object.body);
    const { readCheckpoint } = await import("../../src/storage/checkpoint-store.ts");
    chosen = await readCheckpoint(world.store, checkpoint!, request);
    ok(chosen !== null);
    deepEqual(await world.missing(chosen), []);
  });
}

test("what a leadership with a checkpoint of its own lists is not looked up; behind a takeover all is", async () => {
  const world = await World.begin();
  const first = await world.lead(null);
  const table = await world.table(first.epoch);
  const base = await world.write(first, 10, [table]);
  let looked = 0;
  const cut = (name: string): BranchCut => world.cut({ exists: async () => void looked++ }, name);
  await cut("settled").run();
  equal(looked, 0);
  const second = await world.lead(base);
  await cut("taken-over").run();
  equal(looked, 1);
  // The newest checkpoint may be a deposed leader's, late: then what it lists may be gone.
  await world.store.delete(table.key, request);
  await rejects(cut("late").run(), { kind: "storeUnavailable", message: /collected/ });
  await world.write(second, 20, [await world.table(second.epoch)]);
  await cut("settled-again").run();
});

test("names of a collection that is not done are not cut from, though all is there still", async () => {
  const world = await World.begin();
  const writer = await world.lead(null);
  await world.write(writer, 10, [await world.table(writer.epoch)]);
  const old: { point: CutPoint | null } = { point: null };
  const keepFirst = async (parent: CutParent): Promise<CutPoint> => (old.point ??= await cutAtNewestCheckpoint(parent));
  const options = { store: world.store, runtime, parent: BRANCH, name: "child", request, point: keepFirst };
  const cut = new BranchCut(options);
  // The parent's list does not save it here: the collections alone.
  cut.isListed = () => Promise.resolve(true);
  const createOrigin = cut.createOrigin.bind(cut);
  let stalled = false;
  const stalling = new Collector({
    store: world.store,
    runtime,
    requestTimeoutMs: 1000,
    graceMs: 0,
    deletesPerSecond: 0,
  });
  const deletes = Promise.withResolvers<void>();
  const deleteAll = stalling.deleteAll.bind(stalling);
  stalling.deleteAll = async (...args) => {
    await deletes.promise;
    return deleteAll(...args);
  };
  let collecting: Promise<unknown> = Promise.resolve();
  const reached = Promise.withResolvers<void>();
  const anew = stalling.referencesAnew.bind(stalling);
  stalling.referencesAnew = async (...args) => {
    const references = await anew(...args);
    reached.resolve();
    return references;
  };
  cut.createOrigin = async (origin: Origin) => {
    if (!stalled) {
      stalled = true;
      for (const nextSlot of [20, 30, 40]) await world.write(writer, nextSlot, [await world.table(writer.epoch)]);
      collecting = stalling.collect();
      await reached.promise;
    }
    await createOrigin(origin);
  };
  let refused = 0;
  const deleteOrigin = cut.deleteOrigin.bind(cut);
  cut.deleteOrigin = async (origin: Origin) => {
    refused++;
    await deleteOrigin(origin);
    deletes.resolve();
    await collecting;
    old.point = null;
  };
  const branch = await cut.run();
  equal(refused, 1);
  ok(await world.has(originKey(branch)));
});
