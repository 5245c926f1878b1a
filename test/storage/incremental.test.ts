import { ok } from "node:assert/strict";
import { test } from "node:test";
import { defaultHostSettings } from "../../src/engine/host/default-settings.ts";
import { Host } from "../../src/engine/host/host.ts";
import { noNotices } from "../../src/engine/host/notices.ts";
import { MemoryStore } from "../../src/objects/memory.ts";
import { MeteredStore } from "../../src/objects/metered.ts";
import { createNodeRuntime } from "../../src/runtime/node.ts";
import { put } from "../engine/requests.ts";

const runtime = createNodeRuntime();
const KEYS = 4000;
const VALUE_BYTES = 200;

const uploaded = (store: MeteredStore, objects: readonly string[]): number =>
  [...store.series()]
    .filter(({ operation, object }) => operation === "put" && objects.includes(object))
    .reduce((sum, { bytes }) => sum + bytes, 0);

test("what a checkpoint uploads is proportional to what has changed, not to what there is", async () => {
  const store = new MeteredStore(new MemoryStore(runtime), runtime.clock);
  const settings = defaultHostSettings(store);
  const { branch } = settings;
  const leadership = { ...branch.leadership, durability: "object" } as const;
  const options = { ...settings, runtime, store, name: "one", dataDirectory: null, notices: noNotices };
  // Checkpoints come when they are asked for: more of them would make runs that are merged meanwhile.
  const checkpointer = { ...branch.checkpointer, logSegments: 1_000_000 };
  const host = await Host.open({ ...options, branch: { ...branch, leadership, checkpointer } });
  const main = await host.serve("main");
  await main.opened();
  // Values that do not pack.
  const write = (key: number) =>
    main.database.put(put(`key ${key}`, runtime.random.bytes(VALUE_BYTES).toString("latin1")));
  const checkpointBytes = async (changes: number): Promise<number> => {
    const before = uploaded(store, ["table", "checkpoint"]);
    for (let n = 0; n < changes; n++) await write((n * 37) % KEYS);
    await main.checkpoint();
    return uploaded(store, ["table", "checkpoint"]) - before;
  };
  const whole = await checkpointBytes(KEYS);
  ok(whole > KEYS * VALUE_BYTES, `${whole} bytes for all of it`);
  for (const changes of [10, 100, 400]) {
    const bytes = await checkpointBytes(changes);
    const least = changes * VALUE_BYTES;
    ok(bytes > least && bytes < 2 * least + 8192, `${changes} changes: ${bytes} bytes, ${least} of them values`);
  }
  const none = await checkpointBytes(0);
  ok(none < 8192, `nothing changed: ${none} bytes`);
  await host.close(AbortSignal.timeout(2000));
});
