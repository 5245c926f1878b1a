import { setPriority } from "node:os";
import { parentPort } from "node:worker_threads";
import { assert } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
import { NodeRandom, nodeClock, nodeTimers } from "./node-clock.ts";
import type { OffloadTask, TaskSurroundings } from "./runtime.ts";
import { inlineWork } from "./task-here.ts";
import { type FromTask, receiveError, sendError, type ToTask } from "./task-messages.ts";

/** The main file of the thread of tasks (node-tasks.ts). Several tasks take turns, where they pause or wait. */

/**
 * Linux gives each thread a niceness of its own, and pid 0 means the calling one: whoever serves comes first, and the
 * task has what is left of the processor. Elsewhere it would slow the whole process down.
 */
const NICENESS = 5;
if (process.platform === "linux") setPriority(0, NICENESS);

assert(parentPort !== null, "this file is run as a worker thread");
const port = parentPort;

interface Running {
  readonly canceled: AbortController;
  readonly calls: Map<number, { resolve: (reply: unknown) => void; reject: (error: Error) => void }>;
}

const running = new Map<number, Running>();
const random = new NodeRandom();
let lastCall = 0;

const send = (message: FromTask, moved: readonly Uint8Array[] = []): void =>
  port.postMessage(message, moved.map(({ buffer }) => buffer) as ArrayBuffer[]);

port.on("message", (message: ToTask) => {
  if (message.kind === "start") {
    void start(message);
    return;
  }
  const task = running.get(message.task);
  // A reply to a task that has ended meanwhile.
  if (task === undefined) return;
  if (message.kind === "cancel") {
    task.canceled.abort();
    const error = new DbError("canceled", "the task was given up");
    for (const call of task.calls.values()) call.reject(error);
    task.calls.clear();
    return;
  }
  const call = task.calls.get(message.call);
  task.calls.delete(message.call);
  if (message.kind === "reply") call?.resolve(message.reply);
  else call?.reject(receiveError(message.error));
});

async function start({ task, module, name, input }: ToTask & { kind: "start" }): Promise<void> {
  const one: Running = { canceled: new AbortController(), calls: new Map() };
  running.set(task, one);
  try {
    const loaded = (await import(module)) as Record<string, OffloadTask<unknown, unknown>>;
    const found = loaded[name];
    assert(found !== undefined, `${module} has a task ${name}`);
    const result = await found.run(input, surroundings(task, one));
    send({ kind: "done", task, result });
  } catch (error) {
    send({ kind: "failed", task, error: sendError(error) });
  } finally {
    running.delete(task);
  }
}

function surroundings(task: number, one: Running): TaskSurroundings {
  return {
    runtime: { clock: nodeClock, timers: nodeTimers, random, offload: inlineWork },
    signal: one.canceled.signal,
    call: (request, moved) => {
      if (one.canceled.signal.aborted) return Promise.reject(new DbError("canceled", "the task was given up"));
      const call = ++lastCall;
      return new Promise((resolve, reject) => {
        one.calls.set(call, { resolve, reject });
        send({ kind: "call", task, call, request }, moved);
      });
    },
  };
}
