import { deepEqual, equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "../runtime/runtime.ts";
import type { Call, Encodable, UnaryHandler } from "../transport/transport.ts";
import { CallMetrics } from "./call-metrics.ts";
import { SlowCalls } from "./slow-calls.ts";

const answer: Encodable = { byteLength: () => 0, encodeInto: (_, at) => at };
const message = Buffer.from("a secret");
const PUT = "/etcdserverpb.KV/Put";

function world() {
  let nowMs = 0;
  const clock: Clock = { monotonicMs: () => nowMs, wallMs: () => 0 };
  const lines: Record<string, unknown>[] = [];
  const warn = (_: string, facts?: Readonly<Record<string, unknown>>) => lines.push({ ...facts });
  const metrics = new CallMetrics(clock, { extensive: false, slow: new SlowCalls({ clock, longerMs: 300, warn }) });
  const call = (path: string, handler: UnaryHandler) =>
    metrics.around({ unary: new Map([[path, handler]]), streams: new Map() }).unary.get(path)!(message, {
      path,
      remoteAddress: "10.0.0.7:4711",
    } as Call);
  const opened = (call: Call) => metrics.branchOpened(call);
  const taking = (tookMs: number) => async () => {
    nowMs += tookMs;
    return answer;
  };
  return { lines, call, opened, taking, pass: (ms: number) => (nowMs += ms) };
}

test("a call that takes longer than it may is told of, without what it asked", async () => {
  const { lines, call, taking } = world();
  await call(PUT, taking(300));
  equal(lines.length, 0);
  await call(PUT, taking(301));
  deepEqual(lines, [{ method: PUT, tookMs: 301, remote: "10.0.0.7:4711", requestBytes: 8 }]);
});

test("the time until its branch was open is no fault of a call", async () => {
  const { lines, call, opened, pass } = world();
  const waiting = (tookMs: number) => async (_: Buffer, itself: Call) => {
    pass(5000);
    opened(itself);
    pass(tookMs);
    return answer;
  };
  await call(PUT, waiting(300));
  equal(lines.length, 0);
  await call(PUT, waiting(301));
  deepEqual(
    lines.map(({ tookMs }) => tookMs),
    [301],
  );
});

test("of any method, also with the answer at hand, and of one that failed; not of who waits for others", async () => {
  const { lines, call, taking, pass } = world();
  call("/etcdserverpb.Auth/UserList", () => {
    pass(500);
    return answer;
  });
  const failing = async () => {
    pass(400);
    throw new Error("no");
  };
  await rejects(async () => call("/etcdserverpb.Maintenance/Status", failing));
  await call("/v3lockpb.Lock/Lock", taking(60_000));
  const told = lines.map(({ method, tookMs, failed }) => [method, tookMs, failed]);
  deepEqual(told, [
    ["/etcdserverpb.Auth/UserList", 500, undefined],
    ["/etcdserverpb.Maintenance/Status", 400, true],
  ]);
});

test("ten lines a second are enough, and the next one says how many are missing", async () => {
  const { lines, call, taking, pass } = world();
  const together = Array.from({ length: 25 }, () => call(PUT, taking(0.001)));
  pass(1000);
  await Promise.all(together);
  equal(lines.length, 10);
  pass(1000);
  await call(PUT, taking(301));
  equal(lines.length, 11);
  equal(lines.at(-1)!.leftOut, 15);
});
