import { Worker } from "node:worker_threads";
import { assert } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
import { NodeRandom, nodeClock, nodeTimers } from "./node-clock.ts";
import { NodeTasks } from "./node-tasks.ts";
import { doWork, type Work } from "./offload-work.ts";
import type { WorkAnswer } from "./offload-worker.ts";
import type { Offload, OffloadHow, OffloadTask } from "./runtime.ts";
import { inlineWork, runTaskHere } from "./task-here.ts";

/**
 * Long CPU work in threads of our own. Not in libuv's pool: that carries the log's writes, and eight long jobs in it
 * made a write take 36 ms (measured).
 *
 * The caller keeps its bytes, so a job's input is copied once, when it is sent (a memcpy is a tenth of hashing); a
 * SharedArrayBuffer is not copied. Results are handed over without a copy. Inputs wait as references, not as copies.
 */
const WORKERS_MAX = 2;
/** One being worked on and one at hand, so that a thread does not wait for the event loop. */
const JOBS_PER_WORKER = 2;
/** Beyond this the caller is told; whoever has so much work makes it one piece at a time. */
const QUEUE_LENGTH_MAX = 4096;

/**
 * Below these sizes the work costs the event loop no more than sending it away does (measured: 130 to 170 µs of the
 * loop for up to 256 KiB, of which most is waking and being woken; hashing 256 KiB 175 µs, packing 32 KiB 154,
 * unpacking to 64 KiB 144).
 */
const INLINE_SHA256_BYTES = 256 * 1024;
const INLINE_COMPRESS_BYTES = 32 * 1024;
const INLINE_DECOMPRESS_BYTES = 16 * 1024;
/** What a few bytes unpack to is not known before: a bomb goes off elsewhere. */
const INLINE_DECOMPRESSED_BYTES = 256 * 1024;

function isShort(work: Work): boolean {
  switch (work.kind) {
    case "sha256":
      return work.bytes.length < INLINE_SHA256_BYTES;
    case "zstdCompress":
      return work.bytes.length < INLINE_COMPRESS_BYTES;
    case "zstdDecompress":
      return work.bytes.length < INLINE_DECOMPRESS_BYTES && work.bytesMax <= INLINE_DECOMPRESSED_BYTES;
  }
}

interface Job {
  readonly work: Work;
  readonly resolve: (bytes: Buffer) => void;
  readonly reject: (error: Error) => void;
}

export class NodeOffload implements Offload {
  private readonly threads: Thread[] = [];
  private readonly queue: Job[] = [];
  private readonly tasks = new NodeTasks();
  private readonly here = { clock: nodeClock, timers: nodeTimers, random: new NodeRandom(), offload: inlineWork };

  run<Input, Result>(task: OffloadTask<Input, Result>, input: Input, how: OffloadHow): Promise<Result> {
    return how.short
      ? runTaskHere({ ...this.here, offload: this }, task, input, how)
      : this.tasks.run(task, input, how);
  }

  sha256(bytes: Uint8Array): Promise<Buffer> {
    return this.do({ kind: "sha256", bytes });
  }

  zstdCompress(bytes: Uint8Array, level: number): Promise<Buffer> {
    return this.do({ kind: "zstdCompress", bytes, level });
  }

  zstdDecompress(bytes: Uint8Array, bytesMax: number): Promise<Buffer> {
    return this.do({ kind: "zstdDecompress", bytes, bytesMax });
  }

  private async do(work: Work): Promise<Buffer> {
    if (isShort(work)) return doWork(work);
    if (this.queue.length >= QUEUE_LENGTH_MAX) {
      throw new DbError("tooManyRequests", `over ${QUEUE_LENGTH_MAX} pieces of work wait for a worker thread`);
    }
    return new Promise<Buffer>((resolve, reject) => {
      this.queue.push({ work, resolve, reject });
      this.dispatch();
    });
  }

  private dispatch(): void {
    while (this.queue.length > 0) {
      const thread = this.freeThread();
      if (thread === null) return;
      thread.send(this.queue.shift()!);
    }
  }

  /** The least busy thread with room for a job; a new one only when all others are at work. */
  private freeThread(): Thread | null {
    let best: Thread | null = null;
    for (const thread of this.threads) {
      if (thread.jobs.size < JOBS_PER_WORKER && (best === null || thread.jobs.size < best.jobs.size)) best = thread;
    }
    if (best !== null && best.jobs.size === 0) return best;
    if (this.threads.length === WORKERS_MAX) return best;
    const thread = new Thread(
      () => this.dispatch(),
      () => this.threads.splice(this.threads.indexOf(thread), 1),
    );
    this.threads.push(thread);
    return thread;
  }
}

/** The worker's file stands beside this one, with the same ending: .ts from the sources, .js when built. */
const workerFile = new URL(
  `./offload-worker${import.meta.url.slice(import.meta.url.lastIndexOf("."))}`,
  import.meta.url,
);

class Thread {
  readonly jobs = new Map<number, Job>();
  private readonly worker: Worker;
  private lastId = 0;

  constructor(onFree: () => void, onGone: () => void) {
    this.worker = new Worker(workerFile, { execArgv: [], name: "t4-offload" });
    this.worker.unref();
    this.worker.on("message", (answer: WorkAnswer) => {
      this.settle(answer);
      onFree();
    });
    let cause: Error | undefined;
    this.worker.on("error", (error) => (cause = error instanceof Error ? error : new Error(String(error))));
    this.worker.on("exit", (code) => {
      onGone();
      this.failAll(new Error(`a worker thread ended with code ${code}`, { cause }));
      onFree();
    });
  }

  send(job: Job): void {
    const id = ++this.lastId;
    this.jobs.set(id, job);
    // With work under way the thread keeps the process alive; idle, it does not.
    this.worker.ref();
    const { bytes } = job.work;
    if (bytes.buffer instanceof SharedArrayBuffer) {
      this.worker.postMessage({ id, work: job.work });
    } else {
      const copy = new Uint8Array(bytes);
      this.worker.postMessage({ id, work: { ...job.work, bytes: copy } }, [copy.buffer]);
    }
  }

  private settle(answer: WorkAnswer): void {
    const job = this.jobs.get(answer.id);
    assert(job !== undefined, "a worker answers what it was asked");
    this.jobs.delete(answer.id);
    if (this.jobs.size === 0) this.worker.unref();
    if (answer.kind === "done") {
      const { buffer, byteOffset, byteLength } = answer.bytes;
      job.resolve(Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength));
    } else {
      job.reject(answer.corrupt ? new DbError("corrupt", answer.message) : new Error(answer.message));
    }
  }

  private failAll(error: Error): void {
    for (const job of this.jobs.values()) job.reject(error);
    this.jobs.clear();
  }
}
