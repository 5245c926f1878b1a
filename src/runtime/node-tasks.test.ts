import { equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { sampleTask } from "../../test/contract/sample-task.ts";
import { AssertionError } from "../base/assert.ts";
import { isDbError } from "../base/errors.ts";
import { NodeOffload } from "./node-offload.ts";
import type { OffloadHow } from "./runtime.ts";

const offload = new NodeOffload();

/** Gives each request's bytes back, one more each. */
const serve: OffloadHow["serve"] = async (request) => {
  const { bytes } = request as { bytes: Uint8Array };
  return bytes.map((byte) => byte + 1);
};

for (const short of [true, false]) {
  const where = short ? "here" : "in a thread";
  const how = (signal = new AbortController().signal): OffloadHow => ({ short, signal, serve });

  test(`a task ${where} asks, is answered, and gives its result; several at once`, async () => {
    const runs = [1, 2, 3].map((asks) => offload.run(sampleTask, { what: "sum", asks }, how()));
    equal((await Promise.all(runs)).join(), "1000,3000,6000");
  });

  test(`what a task ${where} fails of keeps its kind, and so does what it is answered`, async () => {
    const corrupt = (error: unknown): boolean => isDbError(error, "corrupt") && error.message === "object x: broken";
    await rejects(offload.run(sampleTask, { what: "fail", asks: 0 }, how()), corrupt);
    await rejects(
      offload.run(sampleTask, { what: "assert", asks: 0 }, how()),
      (error) => error instanceof AssertionError && error.message === "what must hold",
    );
    const refusing: OffloadHow = {
      ...how(),
      serve: () => offload.run(sampleTask, { what: "fail", asks: 0 }, { ...how(), short: true }) as never,
    };
    await rejects(offload.run(sampleTask, { what: "sum", asks: 1 }, refusing), corrupt);
  });

  test(`a task ${where} that is given up ends`, async () => {
    const ended = new AbortController();
    const patient: OffloadHow = {
      ...how(ended.signal),
      serve: async (request) => {
        await new Promise((resolve) => setImmediate(resolve));
        return serve(request);
      },
    };
    const running = offload.run(sampleTask, { what: "wait", asks: 0 }, patient);
    setTimeout(() => ended.abort(), 20);
    const outcome = await running.catch((error: unknown) => error);
    ok(outcome === 0 || isDbError(outcome, "canceled"), String(outcome));
  });
}
