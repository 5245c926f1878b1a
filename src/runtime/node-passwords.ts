import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { PasswordWork } from "./password-work.ts";
import type { PasswordAnswer } from "./password-worker.ts";
import type { Passwords } from "./runtime.ts";

/**
 * bcrypt in threads of its own: each check takes a core for some 60 ms, and must hold up neither the event loop, nor
 * the log's writes (libuv's pool), nor the packing of tables (node-offload.ts). One core is left to all else. A thread
 * starts with the first password, and ends when it had none for a while.
 */
const THREADS = Math.min(4, Math.max(1, availableParallelism() - 1));
const IDLE_MS = 30_000;

interface Job {
  readonly resolve: (result: string | boolean) => void;
  readonly reject: (error: Error) => void;
}

/** The worker's file stands beside this one, with the same ending: .ts from the sources, .js when built. */
const workerFile = new URL(
  `./password-worker${import.meta.url.slice(import.meta.url.lastIndexOf("."))}`,
  import.meta.url,
);

export class NodePasswords implements Passwords {
  readonly atOnce = THREADS;
  readonly #threads: PasswordThread[] = [];

  hash(password: Uint8Array, options: { cost: number; salt: Uint8Array }): Promise<string> {
    return this.#run({ kind: "hash", password: new Uint8Array(password), ...options }) as Promise<string>;
  }

  verify(password: Uint8Array, hash: string): Promise<boolean> {
    return this.#run({ kind: "verify", password: new Uint8Array(password), hash }) as Promise<boolean>;
  }

  #run(work: PasswordWork): Promise<string | boolean> {
    let best = this.#threads.find((thread) => thread.jobs.size === 0);
    if (best === undefined && this.#threads.length < THREADS) {
      best = new PasswordThread((gone) => this.#threads.splice(this.#threads.indexOf(gone), 1));
      this.#threads.push(best);
    }
    best ??= this.#threads.reduce((least, thread) => (thread.jobs.size < least.jobs.size ? thread : least));
    return best.run(work);
  }
}

class PasswordThread {
  readonly jobs = new Map<number, Job>();
  readonly #worker: Worker;
  #lastId = 0;
  #idle: NodeJS.Timeout | undefined;

  constructor(onGone: (thread: PasswordThread) => void) {
    this.#worker = new Worker(workerFile, { execArgv: [], name: "t4-passwords" });
    this.#worker.unref();
    this.#worker.on("message", (answer: PasswordAnswer) => this.#take(answer));
    let cause: Error | undefined;
    this.#worker.on("error", (error) => (cause = error instanceof Error ? error : new Error(String(error))));
    this.#worker.on("exit", (code) => {
      onGone(this);
      clearTimeout(this.#idle);
      const error = new Error(`the thread of passwords ended with code ${code}`, { cause });
      for (const job of this.jobs.values()) job.reject(error);
      this.jobs.clear();
    });
  }

  run(work: PasswordWork): Promise<string | boolean> {
    const { promise, resolve, reject } = Promise.withResolvers<string | boolean>();
    clearTimeout(this.#idle);
    const id = ++this.#lastId;
    this.jobs.set(id, { resolve, reject });
    this.#worker.ref();
    this.#worker.postMessage({ id, work });
    return promise;
  }

  #take(answer: PasswordAnswer): void {
    const job = this.jobs.get(answer.id);
    if (job === undefined) return;
    this.jobs.delete(answer.id);
    if ("failure" in answer) job.reject(new Error(answer.failure));
    else job.resolve(answer.result);
    if (this.jobs.size > 0) return;
    this.#worker.unref();
    this.#idle = setTimeout(() => {
      if (this.jobs.size === 0) void this.#worker.terminate();
    }, IDLE_MS);
    this.#idle.unref();
  }
}
