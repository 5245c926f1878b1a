import { deepEqual, equal, match } from "node:assert/strict";
import { test } from "node:test";
import { Bugs } from "./bugs.ts";

function setup() {
  const lines: { sentence: string; facts: Record<string, unknown> }[] = [];
  const clock = { nowMs: 0 };
  const tell = (sentence: string, facts?: Readonly<Record<string, unknown>>) =>
    void lines.push({ sentence, facts: facts ?? {} });
  const log = { debug: tell, info: tell, warn: tell, error: tell };
  return { bugs: new Bugs(log, () => clock.nowMs), lines, clock };
}

const thrownHere = (what: string): Error => new TypeError(what);

test("a bug is told of with its stack, and counted by what it ended", () => {
  const { bugs, lines } = setup();
  bugs.met("call", thrownHere("x is not a function"));
  bugs.met("branch", new Error("other"), { branch: "main" });
  deepEqual(bugs.counts, { call: 1, branch: 1, process: 0 });
  match(String(lines[0]!.facts["error"]), /TypeError: x is not a function\n {4}at thrownHere/);
  equal(lines[1]!.facts["branch"], "main");
});

test("the same one over and over is counted, and told of once a minute, whatever its message says", () => {
  const { bugs, lines, clock } = setup();
  for (let n = 0; n < 1000; n++) bugs.met("call", thrownHere(`bad ${n}`));
  equal(lines.length, 1);
  clock.nowMs = 61_000;
  bugs.met("call", thrownHere("again"));
  equal(lines.length, 2);
  equal(bugs.counts.call, 1001);
});

test("one that ended a branch and is then thrown to its caller counts once", () => {
  const { bugs, lines } = setup();
  const error = thrownHere("broken");
  bugs.met("branch", error);
  bugs.met("call", error);
  deepEqual(bugs.counts, { call: 0, branch: 1, process: 0 });
  equal(lines.length, 1);
});

test("many different ones fill no log; the one that ends the process is always told", () => {
  const { bugs, lines } = setup();
  for (let n = 0; n < 500; n++) bugs.met("call", `thrown text ${n}`);
  equal(lines.length, 100);
  equal(bugs.counts.call, 500);
  bugs.met("process", new Error("last"));
  equal(lines.length, 101);
});
