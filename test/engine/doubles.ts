import { assert } from "../../src/base/assert.ts";
import { DbError } from "../../src/base/errors.ts";
import { branchId, epoch, type RecordNumber, recordNumber, revision, slot } from "../../src/base/ids.ts";
import type { MaybePromise } from "../../src/base/maybe-promise.ts";
import type { CommittedRevision } from "../../src/engine/changes.ts";
import type { BranchDatabase } from "../../src/engine/database.ts";
import type { WatchPort } from "../../src/engine/database-options.ts";
import type { Identity, WatchStream } from "../../src/engine/engine.ts";
import { openDatabase } from "../../src/engine/open-database.ts";
import { applyRecord } from "../../src/engine/record.ts";
import { defaultEngineSettings, type EngineSettings } from "../../src/engine/settings.ts";
import type { Leadership } from "../../src/leadership/leadership.ts";
import type { LogPosition, LogRecord, LogWriter, LogWriterStats } from "../../src/log/log.ts";
import { passwordsHere } from "../../src/runtime/passwords-here.ts";
import type { Clock, Random, Timer, Timers } from "../../src/runtime/runtime.ts";
import { createMemoryTree } from "../../src/storage/memory-tree.ts";
import type { Entry, Tree, Walk } from "../../src/storage/storage.ts";

/** Time that stands still until it is told to pass. */
export class ManualTime {
  #nowMs = 1000;
  #timers: { atMs: number; fire: () => void }[] = [];

  readonly clock: Clock = { monotonicMs: () => this.#nowMs, wallMs: () => 1_700_000_000_000 + this.#nowMs };

  readonly timers: Timers = {
    set: (delayMs, fire): Timer => {
      assert(delayMs >= 0 && delayMs < 2 ** 31, "a timer's delay is one that Node knows");
      const timer = { atMs: this.#nowMs + delayMs, fire };
      this.#timers.push(timer);
      return { cancel: () => void (this.#timers = this.#timers.filter((other) => other !== timer)) };
    },
    defer: (fire) => void setImmediate(fire),
  };

  get timersSet(): number {
    return this.#timers.length;
  }

  /** Fires what is due on the way, each at its time, and lets promises settle in between. */
  async pass(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const due = this.#timers.filter((timer) => timer.atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== due);
      this.#nowMs = Math.max(this.#nowMs, due.atMs);
      due.fire();
      await settle();
    }
    this.#nowMs = untilMs;
    await settle();
  }
}

/** Everything that can run without time passing has run. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A log that becomes durable when it is told to, or at once (in a microtask, as it never may from within append). */
export class FakeLog implements LogWriter {
  readonly records: LogRecord[] = [];
  onDurable: (durable: RecordNumber) => void = () => {};
  onFailed: (error: DbError) => void = () => {};
  refused: DbError | null = null;
  auto: boolean;
  durable = recordNumber(0);
  readonly trouble = null;
  #scheduled = false;
  #isClosed = false;

  constructor(options: { auto: boolean }) {
    this.auto = options.auto;
  }

  get head(): RecordNumber {
    return recordNumber(this.records.length);
  }

  append({ payload, revision: after }: { payload: Uint8Array; revision: number }): RecordNumber {
    assert(!this.#isClosed && this.refused === null, "nothing is appended to a log that refuses");
    const number = recordNumber(this.records.length + 1);
    const wallMs = 0;
    this.records.push({ number, epoch: epoch(1), wallMs, revision: revision(after), payload: Buffer.from(payload) });
    if (this.auto && !this.#scheduled) {
      this.#scheduled = true;
      queueMicrotask(() => {
        this.#scheduled = false;
        if (this.auto) this.commit();
      });
    }
    return number;
  }

  /** All up to `number` is durable. */
  commit(number: number = this.records.length): void {
    this.durable = recordNumber(number);
    this.onDurable(this.durable);
  }

  fail(error: DbError): void {
    this.#isClosed = true;
    this.onFailed(error);
  }

  refusal(): DbError | null {
    return this.refused;
  }

  cut(): Promise<LogPosition> {
    return Promise.reject(new DbError("unimplemented"));
  }

  drain(): Promise<LogPosition> {
    return Promise.reject(new DbError("unimplemented"));
  }

  stats(): LogWriterStats {
    return {
      nextSlot: slot(1),
      slotsInFlight: 0,
      uploadedRecord: this.durable,
      pendingRecords: 0,
      pendingBytes: 0,
      pendingAgeMs: 0,
      segmentsWritten: 0,
      bytesUploaded: 0,
      localSyncs: 0,
      localBytes: 0,
      localSyncMs: 0,
    };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

export class FakeLeadership implements Leadership {
  readonly branch = branchId("0".repeat(32));
  readonly epoch;
  readonly durability = "object" as const;
  /** What a read is answered with; a promise where the proof takes time. */
  answer: MaybePromise<DbError | null> = null;
  unproven: DbError | null = null;
  proofs = 0;
  onLost: (error: DbError) => void = () => {};
  onRegained: () => void = () => {};

  constructor(number = 1) {
    this.epoch = epoch(number);
  }

  proof(): MaybePromise<DbError | null> {
    this.proofs++;
    return this.answer;
  }

  unprovenBecause(): DbError | null {
    return this.unproven;
  }

  release(): Promise<void> {
    return Promise.resolve();
  }

  bury(): Promise<void> {
    return Promise.resolve();
  }

  abandon(): Promise<void> {
    return Promise.resolve();
  }
}

/** Notes what watchers would be told. */
export class FakeWatch implements WatchPort {
  readonly revisions: CommittedRevision[] = [];
  readonly compactions: number[] = [];
  failed: DbError | null = null;
  readonly stats = { streams: 0, watchers: 0 };
  readonly changed = { puts: 0, deletes: 0 };

  open(): WatchStream {
    throw new DbError("unimplemented");
  }

  committed(revisions: readonly CommittedRevision[]): void {
    this.revisions.push(...revisions);
  }

  compacted(to: number): void {
    this.compactions.push(to);
  }

  fail(error: DbError): void {
    assert(this.failed === null, "watchers fail once");
    this.failed = error;
  }
}

/** A tree that gives promises, as one does whose blocks are in a bucket: `isAway` says of each read whether it does. */
export class SlowTree implements Tree {
  readonly inner: Tree = createMemoryTree();
  isAway: (what: string) => boolean = () => false;
  /** When reads that are away are answered. */
  arrival: () => Promise<void> = () => Promise.resolve();
  reads = 0;

  readonly get: Tree["get"] = (...of) => this.#give("get", () => this.inner.get(...of));
  readonly scan: Tree["scan"] = (...of) => this.#give("scan", () => this.inner.scan(...of));
  readonly count: Tree["count"] = (...of) => this.#give("count", () => this.inner.count(...of));
  readonly walk: Tree["walk"] = (...of) => this.#slowWalk(this.inner.walk(...of));
  readonly versions: Tree["versions"] = (...of) => this.inner.versions(...of);

  apply(entry: Entry): void {
    this.inner.apply(entry);
  }

  applyKept(entry: Entry): void {
    this.inner.applyKept(entry);
  }

  applyAllKept(entries: readonly Entry[]): void {
    this.inner.applyAllKept(entries);
  }

  /** What is away is not known at once. */
  isEmptyBetween(first: string, last: string): boolean {
    return !this.isAway("between") && this.inner.isEmptyBetween(first, last);
  }

  #slowWalk(walk: Walk): Walk {
    return {
      next: (...of) => this.#give("scan", () => walk.next(...of)),
      get ended() {
        return walk.ended;
      },
      again: () => this.#slowWalk(walk.again()),
    };
  }

  #give<T>(what: string, read: () => MaybePromise<T>): MaybePromise<T> {
    this.reads++;
    const answer = read();
    return this.isAway(what) ? this.arrival().then(() => answer) : answer;
  }
}

/** Any bytes for a test, the same in each run. */
export class CountingRandom implements Random {
  #count = 0;

  uint32(): number {
    return this.#count++;
  }

  float(): number {
    return (this.#count++ % 1000) / 1000;
  }

  bytes(count: number): Buffer {
    return Buffer.alloc(count, 0x80 + (this.#count++ % 100));
  }
}

export const identity: Identity = { clusterId: 7n, memberId: 8n, name: "node", branchName: "main" };

export interface Rig {
  readonly database: BranchDatabase;
  readonly log: FakeLog;
  readonly tree: SlowTree;
  readonly time: ManualTime;
  readonly leadership: FakeLeadership;
  readonly watch: FakeWatch;
  readonly ends: DbError[];
}

/** A database whose surroundings do as they are told. `replay`: the records of an earlier one. */
export async function openRig(
  options: {
    auto?: boolean;
    settings?: Partial<EngineSettings>;
    replay?: readonly LogRecord[];
    epoch?: number;
    time?: ManualTime;
    physical?: () => Promise<void>;
    storageRefusal?: () => DbError | null;
    /** Of the quota. */
    bytesInUse?: () => number;
  } = {},
): Promise<Rig> {
  const time = options.time ?? new ManualTime();
  const log = new FakeLog({ auto: options.auto ?? true });
  const tree = new SlowTree();
  const leadership = new FakeLeadership(options.epoch ?? 1);
  const watch = new FakeWatch();
  const ends: DbError[] = [];
  let last = 1;
  for (const record of options.replay ?? []) {
    applyRecord(tree, record, last);
    last = record.revision;
    log.records.push(record);
  }
  log.durable = log.head;
  const stats = {
    bytes: 0,
    bytesInUse: 0,
    memtableBytes: 0,
    cacheMemoryBytes: 0,
    cacheMemoryBytesMax: 0,
    cacheMemoryHits: 0,
    cacheMemoryMisses: 0,
    cacheDiskBytes: 0,
    cacheDiskBytesMax: 0,
    cacheDiskFiles: 0,
    cacheDiskHits: 0,
    cacheDiskMisses: 0,
    cacheDiskWritten: 0,
    cacheDiskDropped: 0,
    cacheDiskBad: 0,
    tables: 0,
    checkpointAgeMs: null,
    checkpointSlot: null,
    errors: [],
  };
  const database = await openDatabase({
    tree,
    log,
    leadership,
    runtime: { clock: time.clock, timers: time.timers, random: new CountingRandom(), passwords: passwordsHere },
    identity,
    settings: { ...defaultEngineSettings, ...options.settings },
    storage: {
      refusal: () => options.storageRefusal?.() ?? null,
      room: () => null,
      stats: () => ({ ...stats, bytesInUse: options.bytesInUse?.() ?? 0 }),
      compacted: () => options.physical?.(),
      defragment: async () => {},
    },
    revision: revision(last),
    watch: () => watch,
    onEnd: (error) => ends.push(error),
  });
  return { database, log, tree, time, leadership, watch, ends };
}
