import { equal, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ByteQueue } from "./byte-queue.ts";

test("bytes leave in the order in which they came, in whatever pieces", () => {
  const steps = fc.array(fc.oneof(fc.record({ add: fc.nat(9000) }), fc.record({ take: fc.nat(12000) })), {
    maxLength: 200,
  });
  fc.assert(
    fc.property(steps, (list) => {
      const queue = new ByteQueue();
      let model = Buffer.alloc(0);
      let next = 0;
      for (const step of list) {
        if ("add" in step) {
          const { buffer, at } = queue.append(step.add);
          for (let i = 0; i < step.add; i++) buffer[at + i] = next++ & 0xff;
          model = Buffer.concat([model, buffer.subarray(at, at + step.add)]);
        } else {
          const count = Math.min(step.take, model.length);
          const into = Buffer.alloc(count + 2);
          queue.take(into, 1, count);
          ok(into.subarray(1, count + 1).equals(model.subarray(0, count)));
          model = model.subarray(count);
        }
        equal(queue.length, model.length);
      }
    }),
    { numRuns: 60 },
  );
});

test("more than is queued cannot be taken", () => {
  const queue = new ByteQueue();
  queue.append(3);
  throws(() => queue.take(Buffer.alloc(9), 0, 4));
});
