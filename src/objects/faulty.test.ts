import { deepEqual, equal, notDeepEqual, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { VirtualRuntime } from "../../test/contract/virtual-runtime.ts";
import type { ObjectKey } from "../base/ids.ts";
import { type Fault, FaultyStore, type ScriptedFault, scriptedFaults, seededFaults } from "./faulty.ts";
import { nameKey } from "./keys.ts";
import { MemoryStore } from "./memory.ts";
import { MeteredStore } from "./metered.ts";

const key = nameKey("main");
const soon = { timeoutMs: 1000 };
const absent = { ...soon, condition: { kind: "absent" } } as const;

function scene(script: ScriptedFault[]) {
  const runtime = new VirtualRuntime(1);
  const memory = new MemoryStore(runtime);
  return { runtime, memory, faulty: new FaultyStore(memory, runtime, scriptedFaults(script)) };
}

test("each fault of a put has the effect that it says, when it says", async () => {
  const cases: [Fault, string, boolean, boolean][] = [
    [{ kind: "errorBefore" }, "unknown", false, false],
    [{ kind: "errorAfter" }, "unknown", true, true],
    [{ kind: "refused", retryable: true }, "refused", false, false],
    [{ kind: "refused", retryable: false }, "refused", false, false],
    [{ kind: "delay", delayMs: 900 }, "written", true, true],
    [{ kind: "delay", delayMs: 1100 }, "unknown", false, true],
    [{ kind: "hang" }, "unknown", false, false],
  ];
  for (const [fault, kind, atAnswer, atLast] of cases) {
    const { faulty, memory } = scene([{ operation: "put", fault }]);
    equal((await faulty.put(key, Buffer.from("x"), absent)).kind, kind);
    equal((await memory.get(key, soon)) !== null, atAnswer, `${JSON.stringify(fault)}: at the answer`);
    await faulty.settled();
    equal((await memory.get(key, soon)) !== null, atLast, `${JSON.stringify(fault)}: at last`);
  }
});

test("a read fails, is late, cut short or changed by one bit; what is stored stays", async () => {
  const faults: ScriptedFault[] = [
    { operation: "get", fault: { kind: "errorBefore" } },
    { operation: "get", fault: { kind: "refused", retryable: false } },
    { operation: "get", fault: { kind: "hang" } },
    { operation: "get", fault: { kind: "truncate", bytes: 2 } },
    { operation: "get", fault: { kind: "flip", bit: 8 * 4 + 1 } },
    { operation: "list", fault: { kind: "errorAfter" } },
    { operation: "delete", fault: { kind: "errorAfter" } },
  ];
  const { faulty, memory } = scene(faults);
  await memory.put(key, Buffer.from("abc"), absent);
  await rejects(faulty.get(key, soon), { kind: "storeUnavailable" });
  await rejects(faulty.get(key, soon), { kind: "storeRefused" });
  await rejects(faulty.get(key, soon), { kind: "storeUnavailable" });
  equal((await faulty.get(key, soon))?.body.toString(), "ab");
  equal((await faulty.get(key, soon))?.body.toString(), "a`c", "bit 33 modulo 24 is bit 1 of the second byte, flipped");
  equal((await faulty.get(key, soon))?.body.toString(), "abc");
  await rejects(faulty.list("", { ...soon, limit: 1 }), { kind: "storeUnavailable" });
  await rejects(faulty.delete(key, soon), { kind: "storeUnavailable" });
  equal(await memory.get(key, soon), null, "the delete took place");
  deepEqual(faults, [], "each has struck once");
});

test("a seed gives the same faults again, another one gives others", () => {
  const rates = { errorBefore: 0.2, errorAfter: 0.1, delay: 0.2, refused: 0.1, hang: 0.1, truncate: 0.1, flip: 0.1 };
  const draw = (seed: number) => {
    const plan = seededFaults(new VirtualRuntime(seed).random, rates);
    return Array.from({ length: 200 }, (_, number) => plan({ operation: "get", key, number }));
  };
  deepEqual(draw(7), draw(7));
  notDeepEqual(draw(7), draw(8));
  const kinds = new Set(draw(7).map((fault) => fault?.kind));
  equal(kinds.size, 8, [...kinds].join());
});

test("a metered store counts by operation, kind of object and outcome, with bytes and times", async () => {
  const { runtime, faulty } = scene([
    { operation: "put", after: 1, fault: { kind: "errorBefore" } },
    { operation: "get", after: 1, fault: { kind: "delay", delayMs: 30 } },
    { operation: "get", after: 1, fault: { kind: "errorBefore" } },
    { operation: "delete", fault: { kind: "refused", retryable: false } },
  ]);
  const metered = new MeteredStore(faulty, runtime.clock);
  await metered.put(key, Buffer.from("12345"), absent);
  await metered.put(key, Buffer.from("12345"), absent);
  await metered.put(key, Buffer.from("12345"), absent);
  await metered.get(nameKey("other"), soon);
  await metered.get(key, soon);
  await rejects(metered.get(key, soon));
  await metered.list("name/", { ...soon, limit: 5 });
  await rejects(metered.delete(key, soon));
  await metered.delete("foreign" as ObjectKey, soon);
  const seen = [...metered.series()].map((s) => `${s.operation} ${s.object} ${s.outcome} ${s.count} ${s.bytes}`);
  deepEqual(seen, [
    "put name done 1 5",
    "put name unknown 1 0",
    "put name preconditionFailed 1 0",
    "get name missing 1 0",
    "get name done 1 5",
    "get name failed 1 0",
    "list name done 1 0",
    "delete name refused 1 0",
    "delete other done 1 0",
  ]);
  const slow = [...metered.series()].find(({ operation, outcome }) => operation === "get" && outcome === "done");
  ok(slow && slow.sumMs >= 30 && slow.counts[5] === 1, JSON.stringify(slow));
  equal(metered.requestsInFlight, 0);
});
