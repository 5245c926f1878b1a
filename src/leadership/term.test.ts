import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import type { Clock } from "../runtime/runtime.ts";
import { type Instant, isProven, noTerm, type Term, type TermEvent, termAfter } from "./term.ts";

const at = (monotonicMs: number, wallMs = 1_000_000 + monotonicMs): Instant => ({ monotonicMs, wallMs });
const clock = (monotonicMs: number, wallMs?: number): Clock => {
  const now = at(monotonicMs, wallMs);
  return { monotonicMs: () => now.monotonicMs, wallMs: () => now.wallMs };
};
const until = (ms: number): Term => ({ until: at(ms) });

test("each event moves the end of the term as the table says", () => {
  const table: [string, Term, TermEvent, Term][] = [
    ["created", noTerm, { kind: "written", sentAt: at(100), termMs: 3000 }, until(3100)],
    ["sent, as long as before", until(3100), { kind: "sent", now: at(1100), termMs: 3000 }, until(3100)],
    ["sent, shorter", until(15_000), { kind: "sent", now: at(5000), termMs: 3000 }, until(8000)],
    ["sent after the end", until(3100), { kind: "sent", now: at(9000), termMs: 3000 }, until(3100)],
    ["written: counts from the sending", until(8000), { kind: "written", sentAt: at(5000), termMs: 3000 }, until(8000)],
    ["written late, by one that nobody killed", until(10), { kind: "written", sentAt: at(50), termMs: 30 }, until(80)],
  ];
  for (const [name, before, event, after] of table) deepEqual(termAfter(before, event), after, name);
});

test("either clock ends the term, whichever way the other jumps", () => {
  const term = until(3000);
  equal(isProven(noTerm, clock(0)), false);
  equal(isProven(term, clock(2999)), true);
  equal(isProven(term, clock(3000)), false, "the end is not in the term");
  equal(isProven(term, clock(10, 1_003_000)), false, "suspended: the monotonic clock stood still");
  equal(isProven(term, clock(3000, 1_000_000)), false, "the wall clock was set back");
});

test("from the sending of a renewal on, no version that anybody may see grants less than the node believes", () => {
  const step = fc.record({ afterMs: fc.nat(5000), termMs: fc.constantFrom(800, 3000, 15_000), written: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      let now = 0;
      let term = termAfter(noTerm, { kind: "written", sentAt: at(0), termMs: 15_000 });
      const granted = [15_000];
      for (const { afterMs, termMs, written } of steps) {
        now += afterMs;
        term = termAfter(term, { kind: "sent", now: at(now), termMs });
        // Whether or not it is known, this version may be the one that is seen; those before it no more once it is
        // written.
        granted.push(now + termMs);
        if (written) {
          term = termAfter(term, { kind: "written", sentAt: at(now), termMs });
          granted.splice(0, granted.length - 1);
        }
        ok(term.until.monotonicMs <= Math.min(...granted));
      }
    }),
  );
});
