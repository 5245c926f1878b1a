import { hash } from "node:crypto";
import type { Epoch, ObjectKey, Slot } from "../../src/base/ids.ts";
import { encodeCollection, encodeCollectionDone } from "../../src/collector/collection.ts";
import { defaultHostSettings } from "../../src/engine/host/default-settings.ts";
import { Host, type HostOptions } from "../../src/engine/host/host.ts";
import { noNotices } from "../../src/engine/host/notices.ts";
import type { ServedBranch } from "../../src/engine/host/served-branch.ts";
import { mainBranchId } from "../../src/leadership/identity.ts";
import { T4 } from "../../src/library/t4.ts";
import { decodeSegment } from "../../src/log/segment-codec.ts";
import { collectionDoneKey, collectionKey, parseKey, probeKey, segmentKey } from "../../src/objects/keys.ts";
import { MemoryBucket, MemoryStore } from "../../src/objects/memory.ts";
import { createNodeRuntime } from "../../src/runtime/node.ts";
import { at, sampleBytes } from "../log/samples.ts";

export const runtime = createNodeRuntime();
/** So far apart are slots that one leader may write at once. */
const WINDOW = 3;

/** A store whose node has lost its network: it never answers again. */
class CutStore extends MemoryStore {
  cut = false;

  override async put(...args: Parameters<MemoryStore["put"]>): ReturnType<MemoryStore["put"]> {
    if (this.cut) return { kind: "refused", cause: new Error("cut off"), retryable: false };
    return super.put(...args);
  }
}

export class SampleNode {
  readonly store: CutStore;
  readonly host: Host;
  readonly branch: ServedBranch;
  readonly db: T4;

  private constructor(store: CutStore, host: Host, branch: ServedBranch) {
    this.store = store;
    this.host = host;
    this.branch = branch;
    this.db = new T4(host, branch, runtime.timers);
  }

  static async start(bucket: MemoryBucket, name: string, more: { logMs?: number } = {}): Promise<SampleNode> {
    const store = new CutStore(runtime, bucket);
    const defaults = defaultHostSettings(store);
    const { branch } = defaults;
    const pace = { termMs: 150, renewalMs: 40 };
    const options: HostOptions = {
      ...defaults,
      runtime,
      store,
      dataDirectory: null,
      name,
      window: WINDOW,
      session: { ...defaults.session, alone: pace, challenged: pace, marginMs: 20 },
      branch: {
        ...branch,
        leadership: { ...branch.leadership, durability: "object" },
        tree: { ...branch.tree, tableBytes: 8 << 10, blockBytes: 600, runsMax: 3 },
        retention: { ...branch.retention, logMs: more.logMs ?? 3_600_000 },
      },
      notices: noNotices,
    };
    const host = await Host.open(options);
    const served = await host.serve("main");
    await served.opened();
    return new SampleNode(store, host, served);
  }

  /** As a crash would end it: nothing more is written. */
  async crash(): Promise<void> {
    this.store.cut = true;
    await this.host.close(AbortSignal.abort()).catch(() => {});
  }

  /** Several at once, so that segments have several records. */
  async fill(from: number, count: number): Promise<void> {
    const change = async (n: number): Promise<void> => {
      await this.db.put(`key/${n % 90}`, `value ${n} ${"x".repeat(n % 40)}`);
      if (n % 7 === 0) await this.db.delete(`key/${(n * 3) % 90}`);
    };
    const AT_ONCE = 10;
    for (let n = from; n < from + count; n += AT_ONCE) {
      await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => change(n + i)));
    }
  }
}

/**
 * A repository with one object of every kind and more: two leaderships, the first ended by a crash with a write of its
 * last turn left behind the fence, checkpoints retained and not, tables unnamed, a collection.
 */
export async function sampleBucket(): Promise<MemoryBucket> {
  const bucket = new MemoryBucket();
  const first = await SampleNode.start(bucket, "first", { logMs: 0 });
  await first.db.grantLease(60);
  for (let round = 0; round < 4; round++) {
    await first.fill(round * 100, 100);
    await first.branch.checkpoint();
  }
  await first.fill(400, 20);
  await first.crash();
  leaveVoidSegment(bucket, first.host.repository.id);
  const second = await SampleNode.start(bucket, "second");
  await second.fill(500, 100);
  await second.branch.checkpoint();
  await second.fill(600, 60);
  await second.db.close();
  const table = [...bucket.entries.keys()].find((key) => parseKey(key)?.kind === "table") as ObjectKey;
  const collection = encodeCollection(1, { creator: "ab".repeat(16), wallMs: 1, names: [table] });
  setObject(bucket, collectionKey(1), collection);
  const done = { collection: hash("sha256", collection), deleted: 0, bytes: 0, wallMs: 2 };
  setObject(bucket, collectionDoneKey(1), encodeCollectionDone(1, done));
  const probe = probeKey("0011223344556677", 0);
  setObject(bucket, probe, Buffer.from(`${probe} 0`));
  return bucket;
}

/** What a deposed leader's last PUT leaves that arrives late, two slots behind the end. */
function leaveVoidSegment(bucket: MemoryBucket, repositoryId: string): void {
  const branch = mainBranchId(repositoryId);
  const last = [...bucket.entries.keys()].filter((key) => parseKey(key)?.kind === "segment").at(-1)!;
  const { header } = decodeSegment(last as ObjectKey, bucket.entries.get(last)!.body);
  const slot = (header.slot + 2) as Slot;
  const position = at({ nextSlot: slot, lastHash: "ab".repeat(32), lastRecord: 5000, revision: 5000 });
  const body = sampleBytes(position, header.epoch as Epoch, [{ payload: "late" }], { branch });
  setObject(bucket, segmentKey(branch, slot), body);
}

export function setObject(bucket: MemoryBucket, key: string, body: Buffer): void {
  bucket.set(key, { body, etag: `"${hash("sha256", body).slice(0, 32)}"`, modifiedMs: runtime.clock.wallMs() });
}

export function copyOf(bucket: MemoryBucket): MemoryBucket {
  const copy = new MemoryBucket();
  for (const [key, entry] of bucket.entries) copy.set(key, entry);
  return copy;
}
