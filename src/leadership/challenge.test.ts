import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { mayKill, watchedAfter } from "./challenge.ts";
import type { SessionBody } from "./session-object.ts";

const session = (termMs: number, marginMs = 500): SessionBody => ({
  node: "a",
  number: 1,
  nonce: "0".repeat(32),
  state: "live",
  endedBy: null,
  termMs,
  marginMs,
  challenger: null,
  wallMs: 0,
  directory: null,
});

test("a challenger waits the term that it sees and the greater margin, from its reading of the last change", () => {
  const first = watchedAfter(null, { nowMs: 1000, counter: 7, session: session(15_000), marginMs: 200 });
  deepEqual(first, { counter: 7, sinceMs: 1000, dueMs: 16_500 });
  const again = watchedAfter(first, { nowMs: 9000, counter: 7, session: session(15_000), marginMs: 200 });
  deepEqual(again, first, "the same version: the wait goes on");
  const renewed = watchedAfter(first, { nowMs: 9000, counter: 8, session: session(3000), marginMs: 800 });
  deepEqual(
    renewed,
    { counter: 8, sinceMs: 9000, dueMs: 12_800 },
    "a change begins it anew, with the term now promised",
  );
});

test("nobody is killed before the wait is over", () => {
  const watched = { counter: 7, sinceMs: 1000, dueMs: 16_500 };
  equal(mayKill(watched, 1000), false);
  equal(mayKill(watched, 16_499.9), false);
  equal(mayKill(watched, 16_500), true);
});
