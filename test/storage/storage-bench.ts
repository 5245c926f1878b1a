import type { DbError } from "../../src/base/errors.ts";
import { branchId, type Epoch, type RecordNumber, type Revision, type Slot } from "../../src/base/ids.ts";
import { MemoryBucket, MemoryStore } from "../../src/objects/memory.ts";
import { createNodeRuntime } from "../../src/runtime/node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { BlockCache } from "../../src/storage/block-cache.ts";
import type { Checkpoint, CheckpointPosition } from "../../src/storage/checkpoint.ts";
import { defaultRetention } from "../../src/storage/checkpoint-retention.ts";
import { CheckpointWriter, newestCheckpoint } from "../../src/storage/checkpoint-store.ts";
import type { Scratch } from "../../src/storage/scratch.ts";
import { type CheckpointPoint, type Effect, KEYS, type Space } from "../../src/storage/storage.ts";
import { type BranchTree, defaultTreeSettings, openTree, type TreeSettings } from "../../src/storage/tree.ts";

export const BRANCH = branchId("0123456789abcdef0123456789abcdef");

interface Written {
  space: Space;
  key: string;
  main: number;
  sub: number;
  tombstone: boolean;
  value: string;
  effect: Effect;
}

/** A tree over a store in memory, with as much of a log as it takes to persist and to open it again. */
export class StorageBench {
  /** What the tree is told of who leads its branch. */
  deposed: DbError | null = null;
  readonly bucket = new MemoryBucket();
  readonly runtime: Runtime = createNodeRuntime();
  readonly store = new MemoryStore(this.runtime, this.bucket);
  readonly cache: BlockCache;
  readonly #settings: Partial<TreeSettings>;
  readonly #scratch: Scratch | null;
  tree: BranchTree;
  revision = 1;
  record = 0;
  #epoch = 1;
  #slot = 1;
  /** Where the log was cut when the tree was frozen last. */
  #cut: { revision: number; record: number } = { revision: 1, record: 0 };
  #wallMs = 1_000_000;

  constructor(options: { cacheBytes: number; settings: Partial<TreeSettings>; scratch?: Scratch }) {
    this.#settings = options.settings;
    this.#scratch = options.scratch ?? null;
    this.cache = new BlockCache({ bytesMax: options.cacheBytes });
    this.tree = this.#open(null);
  }

  /** A new record; a new revision too if it changes keys. */
  begin(changesKeys: boolean): { revision: number; record: number } {
    this.record++;
    if (changesKeys) this.revision++;
    return { revision: this.revision, record: this.record };
  }

  freeze(): void {
    this.tree.freeze();
    this.#cut = { revision: this.revision, record: this.record };
  }

  /** `early`: tables are begun before it is known where the log was cut. */
  async persist(compactRevision: number, how: { early: boolean } = { early: false }): Promise<Checkpoint> {
    this.freeze();
    if (how.early) this.tree.writeFrozen(Math.min(compactRevision, this.#cut.revision));
    return this.tree.persist(this.point(compactRevision));
  }

  point(compactRevision: number): CheckpointPoint<CheckpointPosition> {
    this.#slot++;
    this.#wallMs += 60_000;
    const position: CheckpointPosition = {
      nextSlot: this.#slot as Slot,
      highestEpoch: this.#epoch as Epoch,
      lastHash: "ab".repeat(32),
      lastRecord: this.#cut.record as RecordNumber,
      lastRecordEpoch: this.#epoch as Epoch,
      revision: this.#cut.revision as Revision,
      wallMs: this.#wallMs,
    };
    const compact = Math.min(compactRevision, this.#cut.revision);
    return { position, compactRevision: compact < 0 ? -1 : (compact as Revision), wallMs: this.#wallMs };
  }

  /** As after a crash: the newest checkpoint, and the log (`entries`) from there on. */
  async reopen(entries: readonly Written[]): Promise<void> {
    await this.tree.close();
    const newest = await newestCheckpoint(this.store, BRANCH, { timeoutMs: 1000 });
    this.#epoch++;
    this.tree = this.#open(newest);
    const covered = newest?.point.position ?? { revision: 1, lastRecord: 0 };
    for (const entry of entries) {
      if (entry.main <= (entry.space === KEYS ? covered.revision : covered.lastRecord)) continue;
      const bytes = Buffer.from(entry.value, "latin1");
      this.tree.apply({ ...entry, bytes, start: 0, end: bytes.length });
    }
  }

  async close(): Promise<void> {
    await this.tree.close();
  }

  #open(checkpoint: Checkpoint | null): BranchTree {
    const { store, runtime, cache } = this;
    const settings = { ...defaultTreeSettings, ...this.#settings };
    const parts = { store, runtime, branch: BRANCH, cache, scratch: this.#scratch, checkpoint, settings };
    const tree = openTree({ ...parts, whyMissing: () => this.deposed });
    tree.lead(
      new CheckpointWriter({
        store,
        runtime,
        branch: BRANCH,
        epoch: this.#epoch as Epoch,
        newest: checkpoint,
        firstSlot: 1 as Slot,
        retention: defaultRetention,
        timeoutMs: 10_000,
      }),
    );
    return tree;
  }
}
