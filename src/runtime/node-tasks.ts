import { Worker } from "node:worker_threads";
import { assert } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
import type { OffloadHow, OffloadTask } from "./runtime.ts";
import { type FromTask, receiveError, sendError, type ToTask } from "./task-messages.ts";

/**
 * One thread for tasks: long work that reads and writes as it goes (merging tables). It is one, because each costs tens
 * of megabytes, and ends when it had nothing to do for a while.
 */
const IDLE_MS = 15_000;
/** A small young generation: what a task makes lives a moment or until its end. */
const YOUNG_MEGABYTES = 6;
/** Of one thread, at once; whoever has so many has lost count. */
const TASKS_MAX = 256;

interface RunningTask {
  readonly how: OffloadHow;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** The worker's file stands beside this one, with the same ending: .ts from the sources, .js when built. */
const workerFile = new URL(`./task-worker${import.meta.url.slice(import.meta.url.lastIndexOf("."))}`, import.meta.url);

export class NodeTasks {
  #thread: TaskThread | null = null;

  run<Input, Result>(task: OffloadTask<Input, Result>, input: Input, how: OffloadHow): Promise<Result> {
    if (how.signal.aborted) return Promise.reject(new DbError("canceled", "the task was given up"));
    this.#thread ??= new TaskThread((thread) => {
      if (this.#thread === thread) this.#thread = null;
    });
    return this.#thread.run(task as OffloadTask<unknown, unknown>, input, how) as Promise<Result>;
  }
}

class TaskThread {
  readonly #worker: Worker;
  readonly #onGone: (thread: TaskThread) => void;
  readonly #tasks = new Map<number, RunningTask>();
  #lastId = 0;
  #idle: NodeJS.Timeout | undefined;

  constructor(onGone: (thread: TaskThread) => void) {
    this.#onGone = onGone;
    const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_MEGABYTES };
    this.#worker = new Worker(workerFile, { execArgv: [], name: "t4-tasks", resourceLimits });
    this.#worker.unref();
    this.#worker.on("message", (message: FromTask) => this.#take(message));
    let cause: Error | undefined;
    this.#worker.on("error", (error) => {
      cause = error instanceof Error ? error : new Error(String(error));
    });
    this.#worker.on("exit", (code) => this.#end(new Error(`the thread of tasks ended with code ${code}`, { cause })));
  }

  run(task: OffloadTask<unknown, unknown>, input: unknown, how: OffloadHow): Promise<unknown> {
    assert(this.#tasks.size < TASKS_MAX, `at most ${TASKS_MAX} tasks run at once`);
    clearTimeout(this.#idle);
    const id = ++this.#lastId;
    // With a task under way the thread keeps the process alive; idle, it does not.
    this.#worker.ref();
    const cancel = (): void => this.#send({ kind: "cancel", task: id });
    how.signal.addEventListener("abort", cancel, { once: true });
    this.#send({ kind: "start", task: id, module: task.module, name: task.name, input });
    return new Promise<unknown>((resolve, reject) => {
      this.#tasks.set(id, { how, resolve, reject });
    }).finally(() => {
      how.signal.removeEventListener("abort", cancel);
    });
  }

  #take(message: FromTask): void {
    const task = this.#tasks.get(message.task);
    if (task === undefined) return;
    if (message.kind === "call") {
      void this.#serve(message.task, task, message);
      return;
    }
    this.#tasks.delete(message.task);
    if (this.#tasks.size === 0) this.#rest();
    if (message.kind === "done") task.resolve(message.result);
    else task.reject(receiveError(message.error));
  }

  async #serve(id: number, task: RunningTask, { call, request }: { call: number; request: unknown }): Promise<void> {
    let reply: unknown;
    try {
      reply = await task.how.serve(request);
    } catch (error) {
      this.#send({ kind: "refusal", task: id, call, error: sendError(error) });
      return;
    }
    this.#send({ kind: "reply", task: id, call, reply });
  }

  #rest(): void {
    this.#worker.unref();
    this.#idle = setTimeout(() => {
      this.#onGone(this);
      void this.#worker.terminate();
    }, IDLE_MS).unref();
  }

  #end(error: Error): void {
    clearTimeout(this.#idle);
    this.#onGone(this);
    for (const task of this.#tasks.values()) task.reject(error);
    this.#tasks.clear();
  }

  #send(message: ToTask): void {
    this.#worker.postMessage(message);
  }
}
