import { equal } from "node:assert/strict";
import { test } from "node:test";
import { objectStoreContract } from "../../test/contract/objects.ts";
import { VirtualRuntime } from "../../test/contract/virtual-runtime.ts";
import { FaultyStore } from "./faulty.ts";
import { repositoryKey } from "./keys.ts";
import { MemoryBucket, MemoryStore } from "./memory.ts";
import { MeteredStore } from "./metered.ts";

const runtime = new VirtualRuntime(1);

objectStoreContract("memory", async () => ({ store: new MemoryStore(runtime), runtime }));
objectStoreContract("faulty, without faults", async () => {
  return { store: new FaultyStore(new MemoryStore(runtime), runtime, () => null), runtime };
});
objectStoreContract("faulty, every answer delayed", async () => {
  const plan = () => ({ kind: "delay", delayMs: runtime.random.float() * 100 }) as const;
  return { store: new FaultyStore(new MemoryStore(runtime), runtime, plan), runtime };
});
objectStoreContract("metered", async () => {
  return { store: new MeteredStore(new MemoryStore(runtime), runtime.clock), runtime };
});

test("stores of one bucket see each other's objects, and one's closing is not the other's", async () => {
  const bucket = new MemoryBucket();
  const one = new MemoryStore(runtime, bucket);
  const two = new MemoryStore(runtime, bucket);
  await one.put(repositoryKey, Buffer.from("x"), { timeoutMs: 1, condition: { kind: "absent" } });
  await one.close();
  equal((await two.get(repositoryKey, { timeoutMs: 1 }))?.body.toString(), "x");
});
