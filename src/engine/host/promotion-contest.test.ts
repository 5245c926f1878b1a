import { deepEqual, equal, rejects } from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { hostOn, newBranch, openHost, runtime } from "../../../test/engine/open-host.ts";
import { put, range } from "../../../test/engine/requests.ts";
import { changed } from "../../../test/log/changed.ts";
import { readNames } from "../../engine/branches/branch-list.ts";
import { parseKey } from "../../objects/keys.ts";
import { MemoryBucket, MemoryStore } from "../../objects/memory.ts";
import { defaultHostSettings } from "./default-settings.ts";
import type { Host } from "./host.ts";
import { Promotion } from "./promote-branch.ts";

/** Two processes at one promotion: who goes on with it, and who takes it back. */

const request = { timeoutMs: 2000 };
const promotion = { name: "green", over: "main", keepAs: null, revoke: false };
const pace = { termMs: 600, renewalMs: 200 };

/**
 * `one` has begun to promote `green` over `main`, and died before the higher revision; from then on its heartbeats
 * stall, so that it takes itself for the leader of both, though another process may have outlived it.
 */
async function begunByOneThatStalls(t: TestContext) {
  const bucket = new MemoryBucket();
  const plain = new MemoryStore(runtime, bucket);
  const stall = Promise.withResolvers<void>();
  let stalls = false;
  const store = changed(plain, {
    put: async (key, body, options) => {
      if (stalls && parseKey(key)?.kind === "session") await stall.promise;
      return plain.put(key, body, options);
    },
  });
  // Before its host is closed.
  t.after(() => stall.resolve());
  const { session } = defaultHostSettings(plain);
  const quick = { ...session, alone: pace, challenged: pace, marginMs: 50 };
  const { host: one } = await openHost(t, { bucket, store, session: quick });
  await (await one.database("main")).put(put("common"));
  await one.branches.create(newBranch("green"));
  await (await one.database("green")).put(put("green"));
  await dyingBefore("raise", () => rejects(one.branches.promote(promotion), /died/));
  await opened(async () => one.branches.guardOf("main"));
  stalls = true;
  const other = await hostOn(bucket, { name: "two", session: quick });
  t.after(() => other.close(AbortSignal.timeout(5000)));
  const namesNow = async (): Promise<Record<string, string>> => {
    const names = await readNames({ store: plain, runtime, request });
    return Object.fromEntries(names.filter(({ body }) => !body.tombstone).map(({ name, body }) => [name, body.branch]));
  };
  return { one, other, namesNow };
}

async function dyingBefore(step: "raise" | "swap", run: () => Promise<unknown>): Promise<void> {
  const before = Promotion.prototype[step];
  Object.assign(Promotion.prototype, { [step]: () => Promise.reject(new Error("died")) });
  try {
    await run();
  } finally {
    Object.assign(Promotion.prototype, { [step]: before });
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function opened<T>(open: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await open();
    } catch (error) {
      if (attempt === 250) throw error;
      await sleep(20);
    }
  }
}

const keysOf = async (host: Host, name: string): Promise<number> =>
  (await (await host.database(name)).range(range("\0", "\0", { countOnly: true }))).count;

test("who goes on with a promotion that another process has taken back, unseen, does not", async (t) => {
  const { one, other, namesNow } = await begunByOneThatStalls(t);
  const before = await namesNow();
  deepEqual(Object.keys(before).sort(), ["green", "main", "main-old-1"]);
  await opened(() => other.branches.promote({ ...promotion, revoke: true }));
  const main = await opened(async () => other.database("main"));
  await main.put(put("goes-on"));
  // One that is wrong would wait for its heartbeats, having swapped the name.
  await Promise.race([rejects(one.branches.promote(promotion)), sleep(3000)]);
  const { green, main: place } = before;
  deepEqual(await namesNow(), { green, main: place });
  equal(await keysOf(other, "main"), 2, "what was written since is there by its name");
});

test("who takes a promotion back that another process has gone on with meanwhile takes nothing back", async (t) => {
  const { one, other, namesNow } = await begunByOneThatStalls(t);
  const before = await namesNow();
  await dyingBefore("swap", () => opened(() => rejects(other.branches.promote(promotion), /died/)));
  await rejects(one.branches.promote({ ...promotion, revoke: true }));
  await opened(() => other.branches.promote(promotion));
  const names = await namesNow();
  deepEqual([names["main"], names["main-old-1"], names["green"]], [before["green"], before["main"], undefined]);
  equal(await keysOf(other, "main"), 2);
});
