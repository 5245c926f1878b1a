import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { EtcdClient } from "../../src/cli/client.ts";
import { DbError } from "../../src/index.ts";
import type { T4 } from "../../src/library/t4.ts";
import { openMetered, type Place } from "../bench-storage/database.ts";
import { freePort } from "../contract/free-port.ts";
import { noS3Server, type S3Server, startS3Server, storeUrlOf } from "../contract/s3-server.ts";
import { ServerProcess } from "../faults/server.ts";

export interface Database extends Place {
  readonly bytes: number;
  /** Environment of whoever opens it. */
  readonly env: Record<string, string>;
  stop(): Promise<void>;
}

/** One in a directory (durability `local`), or in an S3 server of its own on loopback (`object`). */
export async function makeDatabase(kind: "directory" | "S3", directory: string, bytes: number): Promise<Database> {
  const home = join(directory, `${kind}-${bytes}`);
  const place = { bytes, dataDirectory: join(home, "node") };
  const made =
    kind === "directory"
      ? { ...place, store: `file://${join(home, "bucket")}`, env: {}, stop: async () => rmSync(home, REMOVED) }
      : await onS3(place, home);
  await fill(made);
  return made;
}

export const haveS3 = noS3Server === false;
const REMOVED = { recursive: true, force: true };

async function onS3(place: Omit<Database, "store" | "env" | "stop">, home: string): Promise<Database> {
  const s3: S3Server = await startS3Server();
  // This process reads the bucket, too.
  Object.assign(process.env, s3.env);
  const stop = async (): Promise<void> => {
    await s3.stop();
    rmSync(home, REMOVED);
  };
  return { ...place, store: storeUrlOf(s3), env: s3.env, stop };
}

export function sizeText(bytes: number): string {
  return bytes >= 1e9 ? `${bytes / 1e9} GB` : `${bytes / 1e6} MB`;
}

const VALUE_BYTES = 4096;
const BATCH = 50;
const CALLS_AT_ONCE = 10;
/** Chance, which does not pack: so many bytes are so many in the store. */
const pool = randomBytes(8 << 20);

export const keyOf = (n: number): string => `/bench/${String(n).padStart(10, "0")}`;
const valueFor = (n: number): Buffer => {
  const start = (n * 30_011) % (pool.length - VALUE_BYTES);
  return pool.subarray(start, start + VALUE_BYTES);
};
export const keysIn = (bytes: number): number => Math.round(bytes / VALUE_BYTES);

async function fill(database: Database): Promise<void> {
  const { db } = await openMetered({ store: database.store, dataDirectory: database.dataDirectory });
  const keys = keysIn(database.bytes);
  let next = 0;
  const caller = async (): Promise<void> => {
    while (next < keys) {
      const first = next;
      next += BATCH;
      await putBatch(db, first, Math.min(first + BATCH, keys));
    }
  };
  await Promise.all(Array.from({ length: CALLS_AT_ONCE }, caller));
  await db.close();
}

async function putBatch(db: T4, first: number, end: number): Promise<void> {
  const success = [];
  for (let n = first; n < end; n++) success.push({ put: keyOf(n), value: valueFor(n) });
  for (;;) {
    try {
      await db.txn({ success });
      return;
    } catch (error) {
      if (!(error instanceof DbError) || error.kind !== "tooManyRequests") throw error;
      await sleep(20);
    }
  }
}

/** A server on it, and clients. */
export class Served {
  readonly process: ServerProcess;
  readonly #clients: EtcdClient[] = [];

  private constructor(process: ServerProcess) {
    this.process = process;
  }

  static async start(database: Database, more: { dataDirectory?: string; args?: string[] } = {}): Promise<Served> {
    const { dataDirectory = database.dataDirectory, args = [] } = more;
    const all = [`--store=${database.store}`, `--data-dir=${dataDirectory}`, ...args];
    const server = new ServerProcess({ port: await freePort(), args: all, env: database.env });
    await server.start();
    return new Served(server);
  }

  client(branch?: string): EtcdClient {
    const endpoints = [this.process.endpoint];
    const options = { endpoints, dialTimeoutMs: 5000, commandTimeoutMs: 30_000 };
    const client = new EtcdClient(branch === undefined ? options : { ...options, branch });
    this.#clients.push(client);
    return client;
  }

  /** To the store, since its start, without those that it makes anyway while time goes by. */
  async requests(): Promise<number> {
    const text = await (await fetch(`${this.process.url}/metrics`)).text();
    let sum = 0;
    for (const [, labels, value] of text.matchAll(/^t4_store_requests_total\{(.*)\} (\d+)$/gm)) {
      if (!labels!.includes('object="session"')) sum += Number(value);
    }
    return sum;
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) await client.close();
    await this.process.stop("SIGTERM");
  }
}

export async function timedMs(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

export function quantile(samples: readonly number[], part: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]!;
}

export const median = (samples: readonly number[]): number => quantile(samples, 0.5);
