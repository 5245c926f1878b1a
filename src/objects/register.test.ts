import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { VirtualRuntime } from "../../test/contract/virtual-runtime.ts";
import { assert } from "../base/assert.ts";
import type { ObjectKey } from "../base/ids.ts";
import { decodeEnvelope } from "./envelope.ts";
import { FaultyStore, type ScriptedFault, scriptedFaults, seededFaults } from "./faulty.ts";
import { sessionKey } from "./keys.ts";
import { MemoryBucket, MemoryStore } from "./memory.ts";
import type { PutOptions, PutOutcome } from "./objects.ts";
import { Register } from "./register.ts";
import type { RetryRuntime } from "./retry.ts";

const key = sessionKey("node-1");

interface Holder {
  holder: string;
}

function decode(json: unknown): Holder {
  assert(json !== null && typeof json === "object", "a holder is an object");
  if (!("holder" in json) || typeof json.holder !== "string") throw new Error("holder is not a text");
  return { holder: json.holder };
}

/** Remembers every version that was ever written, in order. */
class RecordingStore extends MemoryStore {
  readonly written: string[] = [];

  override async put(at: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    const outcome = await super.put(at, body, options);
    if (outcome.kind === "written") {
      const { counter, body: json } = decodeEnvelope(at, body);
      equal(counter, this.written.length + 1, "the counter grows by one with each write");
      this.written.push(decode(json).holder);
    }
    return outcome;
  }
}

function scene(script: ScriptedFault[]) {
  const runtime = new VirtualRuntime(1);
  const store = new RecordingStore(runtime, new MemoryBucket());
  const faulty = new FaultyStore(store, runtime, scriptedFaults(script));
  const register = new Register(faulty, key, { runtime, decode });
  const swap = async (holder: string) => register.swap(await register.read({ timeoutMs: 1000 }), { holder }, bound);
  return { runtime, store, faulty, register, swap };
}

const bound = { timeoutMs: 4000 };

test("a swap from what was read is applied; one from what was read before it is a conflict", async () => {
  const { register, swap } = scene([]);
  equal(await register.read(bound), null);
  const first = await swap("a");
  ok(first.kind === "swapped" && first.state.counter === 1);
  const second = await register.swap(first.state, { holder: "b" }, bound);
  ok(second.kind === "swapped" && second.state.counter === 2);
  deepEqual(await register.read(bound), second.state);
  deepEqual(await register.swap(first.state, { holder: "c" }, bound), { kind: "conflict", found: second.state });
  deepEqual(await register.swap(null, { holder: "c" }, bound), { kind: "conflict", found: second.state });
  // The same body again is another version: etags that are content hashes do not repeat.
  const third = await register.swap(second.state, { holder: "b" }, bound);
  ok(third.kind === "swapped" && third.state.etag !== second.state.etag);
});

test("an answer that is lost is found out: applied, not applied, or applied late", async () => {
  const faults = [
    { kind: "errorBefore" },
    { kind: "errorAfter" },
    { kind: "hang" },
    { kind: "delay", delayMs: 2500 },
    { kind: "refused", retryable: true },
  ] as const;
  for (const fault of faults) {
    const { store, faulty, swap } = scene([{ operation: "put", after: 1, fault }]);
    ok((await swap("a")).kind === "swapped");
    ok((await swap("b")).kind === "swapped", fault.kind);
    await faulty.settled();
    deepEqual(store.written, ["a", "b"]);
  }
});

test("after a lost answer: another's next version is a conflict, later ones leave it unknown", async () => {
  for (const others of [1, 2]) {
    const script: ScriptedFault[] = [];
    const { runtime, store, register, swap } = scene(script);
    await swap("a");
    const seen = await register.read(bound);
    script.push({ operation: "put", fault: { kind: "errorBefore" } }, { operation: "get", fault: { kind: "hang" } });
    const pending = register.swap(seen, { holder: "mine" }, bound);
    const direct = new Register(store, key, { runtime, decode });
    for (let n = 0; n < others; n++)
      ok((await direct.swap(await direct.read(bound), { holder: `o${n}` }, bound)).kind === "swapped");
    equal((await pending).kind, others === 1 ? "conflict" : "unknown");
  }
});

test("what is refused throws, but is unknown after an unknown try; so is what cannot be read back", async () => {
  const forbidden: ScriptedFault = { operation: "put", fault: { kind: "refused", retryable: false } };
  const lost: ScriptedFault = { operation: "put", fault: { kind: "errorBefore" } };
  await rejects(scene([forbidden]).swap("a"), { kind: "storeRefused" });
  equal((await scene([lost, forbidden]).swap("a")).kind, "unknown");
  const unreadable: ScriptedFault = { operation: "get", after: 1, fault: { kind: "refused", retryable: false } };
  equal((await scene([lost, unreadable]).swap("a")).kind, "unknown");
  const throttled: ScriptedFault = { operation: "put", fault: { kind: "refused", retryable: true } };
  await rejects(scene(Array.from({ length: 50 }, () => ({ ...throttled }))).swap("a"), {
    kind: "storeUnavailable",
    message: /nothing was written/,
  });
});

test("a register that holds something else is corrupt, naming it", async () => {
  const runtime = new VirtualRuntime(1);
  const store = new MemoryStore(runtime);
  const loose = new Register(store, key, { runtime, decode: (json) => json });
  ok((await loose.swap(null, { owner: 1 }, bound)).kind === "swapped");
  const register = new Register(store, key, { runtime, decode });
  await rejects(register.read(bound), { kind: "corrupt", message: /session\/node-1: holder is not a text/ });
  await store.put(key, Buffer.from("junk"), { ...bound, condition: { kind: "none" } });
  await rejects(register.read(bound), { kind: "corrupt", message: /session\/node-1/ });
  await rejects(register.swap(null, { holder: "a" }, bound), { kind: "corrupt" });
});

async function increment(
  register: Register<Holder>,
  runtime: RetryRuntime,
  name: string,
): Promise<Record<string, string>> {
  const told: Record<string, string> = {};
  for (let n = 0; n < 4; n++) {
    const holder = `${name}-${n}`;
    try {
      const outcome = await register.swap(await register.read(bound), { holder }, { timeoutMs: 1500 });
      told[holder] = outcome.kind;
    } catch {
      told[holder] = "threw";
    }
    await new Promise<void>((resolve) => void runtime.timers.set(runtime.random.float() * 300, resolve));
  }
  return told;
}

test("under seeded faults what was swapped is in the history; a conflict or a throw never is", async () => {
  const seen: Record<string, number> = {};
  for (let seed = 0; seed < 150; seed++) {
    const runtime = new VirtualRuntime(seed);
    const store = new RecordingStore(runtime, new MemoryBucket());
    const rates = { errorBefore: 0.1, errorAfter: 0.15, refused: 0.05, delay: 0.25, hang: 0.05, delayMsMax: 3000 };
    const faulty = new FaultyStore(store, runtime, seededFaults(runtime.random, rates));
    const register = new Register(faulty, key, { runtime, decode });
    const told = Object.assign(
      {},
      ...(await Promise.all(["a", "b", "c"].map((name) => increment(register, runtime, name)))),
    );
    await faulty.settled();
    for (const [holder, outcome] of Object.entries(told)) {
      const times = store.written.filter((written) => written === holder).length;
      ok(times <= 1, `seed ${seed}: ${holder} was applied ${times} times`);
      if (outcome === "swapped") equal(times, 1, `seed ${seed}: ${holder} was told swapped`);
      if (outcome === "conflict" || outcome === "threw") equal(times, 0, `seed ${seed}: ${holder} was told ${outcome}`);
      seen[String(outcome)] = (seen[String(outcome)] ?? 0) + 1;
    }
  }
  for (const outcome of ["swapped", "conflict", "unknown"]) {
    ok((seen[outcome] ?? 0) > 50, `too few ${outcome} to mean anything: ${JSON.stringify(seen)}`);
  }
});
