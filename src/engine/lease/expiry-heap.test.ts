import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../../test/properties.ts";
import { type Expiring, ExpiryHeap } from "./expiry-heap.ts";

test("the first item is the one due first, whatever came, went, was put off or hastened", () => {
  const step = fc.tuple(fc.constantFrom("add", "remove", "later", "sooner"), fc.nat(1000), fc.nat(100));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const heap = new ExpiryHeap<Expiring>();
      const all: Expiring[] = [];
      for (const [what, ms, pick] of steps) {
        const item = all[pick % Math.max(1, all.length)];
        if (what === "add" || item === undefined) {
          const added = { expiresMs: ms, heapIndex: -1 };
          all.push(added);
          heap.add(added);
        } else if (what === "remove") {
          heap.remove(item);
          all.splice(all.indexOf(item), 1);
          equal(item.heapIndex, -1);
        } else if (what === "later") {
          item.expiresMs += ms;
        } else {
          item.expiresMs -= ms;
          heap.hasten(item);
        }
        equal(
          heap.first()?.expiresMs,
          all.length === 0 ? undefined : Math.min(...all.map(({ expiresMs }) => expiresMs)),
        );
        equal(heap.size, all.length);
      }
      const due: number[] = [];
      for (let item = heap.first(); item !== null; item = heap.first()) {
        due.push(item.expiresMs);
        heap.remove(item);
      }
      deepEqual(
        due,
        all.map(({ expiresMs }) => expiresMs).sort((a, b) => a - b),
      );
    }),
    { numRuns: 300 },
  );
});
