import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { test } from "node:test";
import { FairShare } from "./fair-share.ts";

/** Turns that are taken by hand, on a clock that moves by hand. */
function world(waitingMax = 100) {
  let nowMs = 0;
  let deferred: (() => void)[] = [];
  const timers = { defer: (fire: () => void) => void deferred.push(fire) };
  const share = new FairShare({ timers, monotonicMs: () => nowMs, shareMs: 2, waitingMax });
  const told: string[] = [];
  const call = (branch: string, what: string, tookMs = 1) =>
    share.run(branch, () => {
      nowMs += tookMs;
      told.push(what);
      return what;
    });
  const turn = (): void => {
    const now = deferred;
    deferred = [];
    for (const fire of now) fire();
  };
  return { share, told, call, turn, pass: (ms: number) => (nowMs += ms), deferred: () => deferred.length };
}

test("of each turn a branch has its share; the rest waits its turn, in order, behind nobody else's", async () => {
  const { told, call, turn, share } = world();
  void call("quiet", "q0");
  const answers = ["b0", "b1", "b2", "b3", "b4"].map((what) => call("busy", what));
  void call("quiet", "q1");
  deepEqual(told, ["q0", "b0", "b1", "q1"]);
  equal(share.waiting, 3);
  turn();
  // What comes now waits behind what came before.
  const late = call("busy", "b5");
  void call("quiet", "q2");
  deepEqual(told, ["q0", "b0", "b1", "q1", "b2", "b3", "q2"]);
  turn();
  turn();
  deepEqual(told.slice(-3), ["q2", "b4", "b5"]);
  deepEqual(await Promise.all(answers), ["b0", "b1", "b2", "b3", "b4"]);
  equal(await late, "b5");
});

test("a branch that is called alone takes all of a turn, and no turns are asked for", () => {
  const { told, share, deferred } = world();
  for (let i = 0; i < 10; i++) ok(share.isAlone("only"));
  equal(told.length, 0);
  equal(deferred(), 0);
});

test("another that is not called any more is forgotten, but not what waits", () => {
  const { call, turn, share, pass } = world();
  void call("quiet", "q0");
  for (let i = 0; i < 5; i++) void call("busy", `b${i}`);
  ok(!share.isAlone("busy"));
  pass(2000);
  turn();
  ok(!share.isAlone("busy"), "it has calls that wait");
  turn();
  turn();
  ok(share.isAlone("busy"));
});

test("an error is the call's own; beyond the bound calls are refused", async () => {
  const { call, share, turn } = world(1);
  void call("quiet", "q0");
  const fails = () => {
    throw new Error("no");
  };
  throws(() => share.run("busy", fails), /no/);
  void call("busy", "b0", 5);
  const late = share.run("busy", fails) as Promise<never>;
  throws(() => call("busy", "b1"), { kind: "tooManyRequests" });
  turn();
  await rejects(late, /no/);
});
