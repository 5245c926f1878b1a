import { parentPort } from "node:worker_threads";
import { assert } from "../base/assert.ts";
import { isDbError, messageOf } from "../base/errors.ts";
import { doWork, type Work } from "./offload-work.ts";

/** The main file of a worker thread of node-offload.ts: takes one Work at a time, answers in the same order. */
export type WorkAnswer =
  | { kind: "done"; id: number; bytes: Uint8Array }
  | { kind: "failed"; id: number; corrupt: boolean; message: string };

assert(parentPort !== null, "this file is run as a worker thread");
const port = parentPort;

port.on("message", ({ id, work }: { id: number; work: Work }) => {
  try {
    const result = doWork(work);
    // A result that shares its memory with others cannot be given away; it is copied, here, beside the event loop.
    const whole = result.byteLength === result.buffer.byteLength;
    const bytes = whole ? new Uint8Array(result.buffer as ArrayBuffer) : new Uint8Array(result);
    port.postMessage({ kind: "done", id, bytes } satisfies WorkAnswer, [bytes.buffer]);
  } catch (error) {
    const answer: WorkAnswer = { kind: "failed", id, corrupt: isDbError(error, "corrupt"), message: messageOf(error) };
    port.postMessage(answer);
  }
  // The input is this thread's own. Left to the collector, which sees little garbage here, it stays for long.
  if (work.bytes.buffer instanceof ArrayBuffer) work.bytes.buffer.transfer(0);
});
