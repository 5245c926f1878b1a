import { text } from "node:stream/consumers";
import { branchId, slot } from "../../src/base/ids.ts";
import { FileStore } from "../../src/objects/fs.ts";
import { leaderKey, segmentKey } from "../../src/objects/keys.ts";
import { Register } from "../../src/objects/register.ts";
import { sleep } from "../../src/objects/retry.ts";
import { createNodeRuntime } from "../../src/runtime/node.ts";

/**
 * One process of a race for a directory: `store-racer.ts DIRECTORY NAME SLOTS SWAPS`. Says that it is ready, reads from
 * its standard input the time of the start, tries to create each slot, then swaps the leader record SWAPS times; prints
 * the slots that it was told to have won, and how many swaps.
 *
 * All racers go for a slot at its own moment, 10 ms after the one before: else the first to start stays ahead of the
 * others, wins every slot, and nothing is raced for.
 */
const [directory = "", name = "", slots = "", swaps = ""] = process.argv.slice(2);
const SLOT_EVERY_MS = 10;
const runtime = createNodeRuntime();
const store = new FileStore(runtime, directory);
const branch = branchId("f".repeat(32));
const soon = { timeoutMs: 20_000 };

process.stdout.write("ready\n");
const startMs = Number(await text(process.stdin));

const won: number[] = [];
for (let n = 1; n <= Number(slots); n++) {
  const body = Buffer.from(`${name} ${n}`);
  const dueMs = startMs + n * SLOT_EVERY_MS + runtime.random.float();
  await sleep(runtime, Math.max(0, dueMs - runtime.clock.wallMs()));
  const outcome = await store.put(segmentKey(branch, slot(n)), body, { ...soon, condition: { kind: "absent" } });
  if (outcome.kind === "written") won.push(n);
  else if (outcome.kind !== "preconditionFailed") throw outcome.cause;
}
const register = new Register<unknown>(store, leaderKey(branch), { runtime, decode: (json) => json });
let swapped = 0;
while (swapped < Number(swaps)) {
  const outcome = await register.swap(await register.read(soon), { name, swapped }, soon);
  if (outcome.kind === "swapped") swapped++;
  else if (outcome.kind === "unknown") throw outcome.cause;
}
process.stdout.write(JSON.stringify({ won, swapped }));
