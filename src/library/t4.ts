import { leaseId } from "../base/ids.ts";
import type { Database, DatabaseStatus } from "../engine/engine.ts";
import type { Host } from "../engine/host/host.ts";
import type { ServedBranch } from "../engine/host/served-branch.ts";
import type { Timers } from "../runtime/runtime.ts";
import { T4Branches } from "./branches.ts";
import type { Bytes, Keys } from "./pairs.ts";
import {
  type DeleteResult,
  deleteRequest,
  type GetOptions,
  type GetResult,
  type PutOptions,
  type PutResult,
  putRequest,
  rangeRequest,
  resultOf,
  type Transaction,
  type TransactionResult,
  txnRequest,
} from "./transaction.ts";
import { type WatchEvent, type WatchOptions, watchKeys } from "./watching.ts";

/** How long `close` may upload what is pending. */
const CLOSE_MS = 30_000;

/**
 * A database in this process: etcd's semantics, without a server. Every method rejects with a DbError whose `kind` says
 * what to do; an outcome that is not known (`timeout`, `leadershipLost`) may or may not have been carried out.
 */
export class T4 {
  readonly #host: Host;
  readonly #branch: ServedBranch;
  readonly #timers: Timers;
  readonly #close: ((signal: AbortSignal) => Promise<void>) | null;
  /** The branches of its repository. */
  readonly branches: T4Branches;

  /** Made by `open`. `close`: what is given up where it is one of several branches of a host; left out: all. */
  constructor(
    host: Host,
    branch: ServedBranch,
    timers: Timers,
    { close = null }: { close?: ((signal: AbortSignal) => Promise<void>) | null } = {},
  ) {
    this.#host = host;
    this.#branch = branch;
    this.#timers = timers;
    this.#close = close;
    this.branches = new T4Branches(host, timers, branch.name);
  }

  /** The engine's own contract: latin1 keys, encoded rows. For servers and tools. */
  get database(): Database {
    return this.#branch.database;
  }

  async put(key: Bytes, value: Bytes, options?: PutOptions): Promise<PutResult> {
    return resultOf(await this.database.put(putRequest(key, value, options))) as PutResult;
  }

  async get(keys: Keys, options?: GetOptions): Promise<GetResult> {
    return resultOf(await this.database.range(rangeRequest(keys, options))) as GetResult;
  }

  async delete(keys: Keys, options?: { prevKv?: boolean }): Promise<DeleteResult> {
    return resultOf(await this.database.deleteRange(deleteRequest(keys, options))) as DeleteResult;
  }

  /** All or nothing, in one revision. */
  async txn(transaction: Transaction): Promise<TransactionResult> {
    const result = await this.database.txn(txnRequest(transaction));
    try {
      return resultOf(result) as TransactionResult;
    } finally {
      result.release?.();
    }
  }

  watch(keys: Keys, options: WatchOptions = {}): AsyncGenerator<{ revision: number; events: WatchEvent[] }> {
    return watchKeys(this.database, keys, options);
  }

  /** Drops the history before `revision`: what was true at it, and what came after, stays readable. */
  async compact(revision: number): Promise<void> {
    await this.database.compact({ revision, physical: false });
  }

  /**
   * Merges all that can be merged, so that what was compacted takes no more space: reads and writes go on. `signal`
   * gives up what is left of it.
   */
  async defragment(options: { signal?: AbortSignal } = {}): Promise<void> {
    await this.database.maintenance.defragment(options.signal ?? new AbortController().signal);
  }

  /** `ttlSeconds`: as granted; short ones are raised to the least there is (2). */
  async grantLease(ttlSeconds: number): Promise<{ id: bigint; ttlSeconds: number }> {
    const { id, ttlSeconds: granted } = await this.database.leaseGrant({
      id: leaseId(0n),
      ttlSeconds: BigInt(Math.trunc(ttlSeconds)),
    });
    return { id, ttlSeconds: granted };
  }

  /** Deletes the keys that are attached to it. */
  async revokeLease(id: bigint): Promise<void> {
    await this.database.leaseRevoke(leaseId(id));
  }

  /** Gives it its full time again. 0: it has expired. */
  async keepLeaseAlive(id: bigint): Promise<number> {
    return (await this.database.leaseKeepAlive(leaseId(id))).ttlSeconds;
  }

  status(): DatabaseStatus {
    return this.database.status();
  }

  /** Uploads what is pending and gives the branch up, so that the next one to open it waits for nothing. */
  async close(): Promise<void> {
    const ended = new AbortController();
    const limit = this.#timers.set(CLOSE_MS, () => ended.abort());
    try {
      await (this.#close === null ? this.#host.close(ended.signal) : this.#close(ended.signal));
    } finally {
      limit.cancel();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
