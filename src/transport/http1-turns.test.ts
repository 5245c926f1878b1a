import { equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { MemoryStream } from "../../test/transport/memory-stream.ts";
import { sampleServer } from "../../test/transport/sample-server.ts";

test("who sends many requests of HTTP/1.1 at once gets the next answers behind everybody else's turn", async () => {
  const { runtime, transport } = sampleServer();
  const stream = new MemoryStream();
  transport.accept(stream);
  // Each look at the clock is a millisecond of work.
  Object.assign(runtime.clock, { monotonicMs: () => runtime.nowMs++ });
  stream.onData(Buffer.from("GET / HTTP/1.1\r\nhost: h\r\n\r\n".repeat(20)));
  const answers = (): number => stream.take().toString("latin1").split("HTTP/1.1 200").length - 1;
  const counts: number[] = [];
  for (let turn = 0; turn < 40; turn++) {
    counts.push(answers());
    await runtime.turn();
  }
  equal(
    counts.reduce((sum, count) => sum + count, 0),
    20,
  );
  ok(Math.max(...counts) <= 2, `answers in each turn: ${counts}`);
});
