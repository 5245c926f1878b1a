import type { BranchId } from "../../src/base/ids.ts";
import { cutBranch } from "../../src/engine/branches/cut-branch.ts";
import { cutPointAt } from "../../src/engine/branches/cut-point.ts";
import type { Moment } from "../../src/engine/branches/moment.ts";
import type { PastOptions } from "../../src/engine/branches/past-state.ts";
import type { Database } from "../../src/engine/engine.ts";
import { defaultHostSettings } from "../../src/engine/host/default-settings.ts";
import type { Host } from "../../src/engine/host/host.ts";
import type { BranchSettings } from "../../src/engine/host/open-branch.ts";
import type { ServedBranch } from "../../src/engine/host/served-branch.ts";
import { resolveBranch } from "../../src/leadership/branch-name.ts";
import { MemoryBucket, MemoryStore } from "../../src/objects/memory.ts";
import { MeteredStore } from "../../src/objects/metered.ts";
import { hostOn, runtime } from "../engine/open-host.ts";
import { del, put } from "../engine/requests.ts";

export { runtime };
export const request = { timeoutMs: 5000 };
export const newest: Moment = { kind: "newest" };
export const atRevision = (revision: number): Moment => ({ kind: "revision", revision });

/** A repository in memory, with a node that serves its branches. */
export class TestRepository {
  readonly bucket: MemoryBucket;
  readonly store: MemoryStore;
  readonly host: Host;
  readonly #served = new Map<string, ServedBranch>();

  private constructor(bucket: MemoryBucket, store: MemoryStore, host: Host) {
    this.bucket = bucket;
    this.store = store;
    this.host = host;
  }

  static async open(more: Partial<BranchSettings> = {}, bucket = new MemoryBucket()): Promise<TestRepository> {
    const { branch } = defaultHostSettings(new MemoryStore(runtime, bucket));
    const leadership = { ...(more.leadership ?? branch.leadership), durability: "object" } as const;
    const host = await hostOn(bucket, { branch: { ...branch, ...more, leadership } });
    return new TestRepository(bucket, new MemoryStore(runtime, bucket), host);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.host.close(AbortSignal.timeout(10_000));
  }

  async serve(name: string): Promise<ServedBranch> {
    const there = this.#served.get(name);
    if (there !== undefined) return there;
    const served = await this.host.serve(name);
    await served.opened();
    this.#served.set(name, served);
    return served;
  }

  async database(name: string): Promise<Database> {
    return (await this.serve(name)).database;
  }

  async idOf(name: string): Promise<BranchId> {
    return (await resolveBranch(this.store, name, runtime, request)).branch;
  }

  async cut(name: string, from = "main", moment = newest): Promise<Database> {
    const { store } = this;
    const { window } = this.host.repository;
    const parent = await this.idOf(from);
    const point = (references: Parameters<typeof cutPointAt>[1]) =>
      cutPointAt({ store, window, request, moment }, references);
    await cutBranch({ store, runtime, parent, name, point, request });
    return this.database(name);
  }

  /** As a tool sees the bucket, with what it asks counted. */
  reader(): PastOptions & { readonly store: MeteredStore } {
    return { store: new MeteredStore(new MemoryStore(runtime, this.bucket), runtime.clock), runtime, request };
  }
}

export const write = (database: Database, key: string, value: string | null) =>
  value === null ? database.deleteRange(del(key)) : database.put(put(key, value));

/** Small, so that a test has many of each. */
export const smallTables = (branch: BranchSettings["tree"]): BranchSettings["tree"] => ({
  ...branch,
  tableBytes: 8 << 10,
  blockBytes: 600,
  runsMax: 3,
});

export function readings(store: MeteredStore): { gets: number; bytes: number; tableBytes: number } {
  let [gets, bytes, tableBytes] = [0, 0, 0];
  for (const series of store.series()) {
    if (series.operation !== "get") continue;
    gets += series.count;
    bytes += series.bytes;
    if (series.object === "table") tableBytes += series.bytes;
  }
  return { gets, bytes, tableBytes };
}
