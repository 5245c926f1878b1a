import { equal, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { ByteQueue } from "./byte-queue.ts";
import { SLAB_BYTES, type Slab, SlabPool } from "./slab-pool.ts";

test("bytes leave in the order in which they came, in whatever pieces", () => {
  const steps = fc.array(
    fc.oneof(
      fc.record({ add: fc.nat(9000) }),
      fc.record({ copy: fc.nat(200_000) }),
      fc.record({ take: fc.oneof(fc.nat(12000), fc.nat(300_000)) }),
    ),
    { maxLength: 100 },
  );
  fc.assert(
    fc.property(steps, (list) => {
      const queue = new ByteQueue();
      const pool = new SlabPool();
      let model = Buffer.alloc(0);
      let next = 0;
      for (const step of list) {
        if ("add" in step) {
          const { buffer, at } = queue.append(step.add);
          for (let i = 0; i < step.add; i++) buffer[at + i] = next++ & 0xff;
          model = Buffer.concat([model, buffer.subarray(at, at + step.add)]);
        } else if ("copy" in step) {
          const bytes = Buffer.from(Array.from({ length: step.copy }, () => next++ & 0xff));
          queue.copyIn(bytes, 0, bytes.length, pool);
          model = Buffer.concat([model, bytes]);
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

test("slabs that were copied into go back to their pool, each once, when they are taken or given up", () => {
  const queue = new ByteQueue();
  const given: Slab[] = [];
  class Pool extends SlabPool {
    override give(slab: Slab): void {
      given.push(slab);
    }
  }
  queue.append(10);
  queue.copyIn(Buffer.alloc(3 * SLAB_BYTES), 1, 3 * SLAB_BYTES, new Pool());
  queue.append(10);
  queue.take(Buffer.alloc(SLAB_BYTES), 0, SLAB_BYTES);
  equal(given.length, 0);
  queue.take(Buffer.alloc(SLAB_BYTES), 0, SLAB_BYTES);
  equal(given.length, 1);
  queue.clear();
  equal(new Set(given).size, 3);
  queue.clear();
  equal(given.length, 3);
});

test("more than is queued cannot be taken", () => {
  const queue = new ByteQueue();
  queue.append(3);
  throws(() => queue.take(Buffer.alloc(9), 0, 4));
});
