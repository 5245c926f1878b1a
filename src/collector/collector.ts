import { hash } from "node:crypto";
import { assert } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import { createOnce } from "../objects/conditional.ts";
import { collectionDoneKey, collectionKey, parseKey } from "../objects/keys.ts";
import type { ObjectStore, RequestOptions } from "../objects/objects.ts";
import { sleep } from "../objects/retry.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { KnownCheckpoints } from "./branch-references.ts";
import { encodeCollection, encodeCollectionDone, NAMES_MAX } from "./collection.ts";
import { type CollectionLedger, readLedger } from "./ledger.ts";
import { OldSegments } from "./old-segments.ts";
import { type References, readReferences } from "./references.ts";
import { SpentCollections } from "./spent-collections.ts";
import { type Candidate, type CandidateReason, survey } from "./survey.ts";

export interface CollectorOptions {
  readonly store: ObjectStore;
  readonly runtime: Pick<Runtime, "clock" | "timers" | "random">;
  readonly requestTimeoutMs: number;
  /** What was needed so recently is left alone. Makes conflicts rare and carries no safety. */
  readonly graceMs: number;
  /** 0: as fast as the store takes them. */
  readonly deletesPerSecond: number;
}

export const defaultCollectorSettings: Pick<CollectorOptions, "graceMs" | "deletesPerSecond"> = {
  graceMs: 3_600_000,
  deletesPerSecond: 200,
};

export interface Tally {
  objects: number;
  bytes: number;
}

export interface CollectionReport {
  /** Numbers of the collections made. */
  readonly collections: number[];
  /** Deleted, or in a dry run what would be. */
  readonly byReason: Partial<Record<CandidateReason, Tally>>;
  objects: number;
  bytes: number;
  /** Announced, and needed again when the references were read anew. */
  kept: number;
  /** Told to end before the end. */
  interrupted: boolean;
}

export interface CollectRun {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: CollectProgress) => void;
  readonly onDeleted?: (candidate: Candidate) => void;
}

export interface CollectProgress {
  readonly deleted: number;
  /** Of what is known so far. */
  readonly of: number;
}

interface Announced {
  readonly n: number;
  readonly sha256: string;
}

/** Beyond, a clock is wrong: what it takes for old may be new. */
const SKEW_MS_MAX = 60_000;
const DELETES_AT_ONCE = 16;
/** Collections of one run; the next run goes on. */
const COLLECTIONS_MAX = 1000;
/** Others that took the number meanwhile. */
const NUMBER_ATTEMPTS_MAX = 20;

/**
 * Deletes what no branch needs (DESIGN: deleting). Anyone may run it, any number at a time, while branches are written
 * and cut.
 *
 *   survey ─► create collector/N with the exact names ─► read all references anew ─► delete what is still unneeded,
 *   each delete confirmed ─► mark N as done
 *
 * 1. Whoever cuts a branch creates its origin, then reads the collections that are not done. So either it meets the
 *    names here, or the origin is met when the references are read anew.
 * 2. A number is used once: whoever finds a greater one beside its own has created it too late (the earlier one of that
 *    number may have been done, and collected), and deletes nothing by it.
 * 3. Only its creator marks a collection as done, once each delete that it sent is confirmed: one that was not could
 *    still take effect. An abandoned one stays open; what it left is found by the next survey, and when nothing is left
 *    that it names it is collected itself (spent-collections.ts).
 * 4. Fences, void segments, leader records, names, origins and sessions are never named.
 *
 * It does not look for what only clocks can tell, and needs none: names of tables are never used twice.
 */
export class Collector {
  private readonly options: CollectorOptions;
  private readonly segments: OldSegments;
  private readonly spent: SpentCollections;

  constructor(options: CollectorOptions) {
    this.options = options;
    this.segments = new OldSegments(options.store);
    this.spent = new SpentCollections(options.store);
  }

  /** What `collect` would delete now, at most `max` of it. */
  async plan(max: number, run: CollectRun = {}): Promise<{ candidates: Candidate[]; more: boolean }> {
    const request = this.request(run.signal);
    const ledger = await readLedger(this.options.store, request);
    return await this.survey(ledger, request, max);
  }

  /** Throws `storeUnavailable` when a delete is not confirmed: calling again goes on with the rest. */
  async collect(run: CollectRun = {}): Promise<CollectionReport> {
    const report = emptyReport();
    const request = this.request(run.signal);
    for (let made = 0; made < COLLECTIONS_MAX; made++) {
      const ledger = await readLedger(this.options.store, request);
      const { candidates, more } = await this.survey(ledger, request, NAMES_MAX);
      if (candidates.length === 0) return report;
      const finished = await this.collectOnce(candidates, ledger, report, run);
      if (!finished) report.interrupted = true;
      if (!finished || !more) return report;
    }
    return report;
  }

  /** Whether anyone has made, or ended, a collection so recently. */
  async ranWithin(durationMs: number, signal?: AbortSignal): Promise<boolean> {
    const { store, runtime } = this.options;
    const { newestMs } = await readLedger(store, this.request(signal));
    return newestMs !== null && newestMs > runtime.clock.wallMs() + trustedSkewMs(store) - durationMs;
  }

  private async survey(ledger: CollectionLedger, request: RequestOptions, candidatesMax: number) {
    const { store, graceMs, runtime } = this.options;
    const graceFromMs = runtime.clock.wallMs() + trustedSkewMs(store) - graceMs;
    const reading = { store, request, graceFromMs, known: new KnownCheckpoints() };
    const references = await readReferences(reading);
    return survey({ ...reading, references, segments: this.segments, spent: this.spent, ledger, candidatesMax });
  }

  /** False: told to end. */
  private async collectOnce(
    candidates: readonly Candidate[],
    ledger: CollectionLedger,
    report: CollectionReport,
    run: CollectRun,
  ): Promise<boolean> {
    const announced = await this.announce(ledger.next, candidates);
    // Dying from here on leaves the collection open: its names are refused to whoever cuts a branch.
    if (announced === null) return true;
    report.collections.push(announced.n);
    const needless = await this.stillNeedless(announced, candidates, run);
    report.kept += candidates.length - needless.length;
    const before = { ...report };
    const finished = await this.deleteAll(needless, report, run);
    await this.markDone(announced, { objects: report.objects - before.objects, bytes: report.bytes - before.bytes });
    return finished;
  }

  private async stillNeedless(
    announced: Announced,
    candidates: readonly Candidate[],
    run: CollectRun,
  ): Promise<Candidate[]> {
    try {
      const references = await this.referencesAnew(this.request(run.signal));
      return candidates.filter(({ key }) => !isNeeded(key, references));
    } catch (error) {
      // No delete was sent and none will be: that is all that an open collection warns of.
      await this.markDone(announced, { objects: 0, bytes: 0 });
      throw error;
    }
  }

  /** Step 1. Null: too late for its number (rule 2), nothing may be deleted. */
  async announce(from: number, candidates: readonly Candidate[]): Promise<Announced | null> {
    const { store, runtime, requestTimeoutMs } = this.options;
    const names = candidates.map(({ key }) => key).sort();
    const collection = { creator: runtime.random.bytes(16).toString("hex"), wallMs: runtime.clock.wallMs(), names };
    for (let n = from; n < from + NUMBER_ATTEMPTS_MAX; n++) {
      const bytes = encodeCollection(n, collection);
      const outcome = await createOnce(store, collectionKey(n), bytes, { runtime, timeoutMs: requestTimeoutMs });
      if (outcome.kind === "exists") continue;
      const announced = { n, sha256: hash("sha256", bytes, "hex") };
      const { next } = await readLedger(store, this.request());
      if (next === n + 1) return announced;
      await this.markDone(announced, { objects: 0, bytes: 0 });
      return null;
    }
    throw new DbError("storeUnavailable", `${NUMBER_ATTEMPTS_MAX} other collections began meanwhile`);
  }

  /** Step 2: from the store, all of it. What was seen before the names were announced proves nothing. */
  referencesAnew(request: RequestOptions): Promise<References> {
    const { store } = this.options;
    const known = new KnownCheckpoints();
    return readReferences({ store, request, graceFromMs: Number.POSITIVE_INFINITY, known });
  }

  /** Step 3. False: told to end; then what was sent is confirmed all the same. */
  async deleteAll(candidates: readonly Candidate[], report: CollectionReport, run: CollectRun): Promise<boolean> {
    const { clock } = this.options.runtime;
    const { deletesPerSecond } = this.options;
    let sent = 0;
    for (const phase of phases(candidates)) {
      for (let at = 0; at < phase.length; at += DELETES_AT_ONCE) {
        if (run.signal?.aborted) return false;
        const startMs = clock.monotonicMs();
        const some = phase.slice(at, at + DELETES_AT_ONCE);
        await this.deleteSome(some);
        for (const candidate of some) {
          count(report, candidate);
          run.onDeleted?.(candidate);
        }
        sent += some.length;
        run.onProgress?.({ deleted: sent, of: candidates.length });
        const restMs =
          deletesPerSecond === 0 ? 0 : startMs + (some.length * 1000) / deletesPerSecond - clock.monotonicMs();
        if (restMs > 0) await sleep(this.options.runtime, restMs, run.signal);
      }
    }
    return true;
  }

  /** All are waited for, so that none is under way when a failure is told. */
  private async deleteSome(candidates: readonly Candidate[]): Promise<void> {
    const { store } = this.options;
    for (const { key } of candidates) assert(isCollectable(key), `${key} is of a kind that is collected`);
    const settled = await Promise.allSettled(candidates.map(({ key }) => store.delete(key, this.request())));
    for (const one of settled) if (one.status === "rejected") throw one.reason;
  }

  /** Step 4. */
  async markDone({ n, sha256 }: Announced, deleted: Tally): Promise<void> {
    const { store, runtime, requestTimeoutMs } = this.options;
    const { objects, bytes } = deleted;
    const done = { collection: sha256, deleted: objects, bytes, wallMs: runtime.clock.wallMs() };
    await createOnce(store, collectionDoneKey(n), encodeCollectionDone(n, done), {
      runtime,
      timeoutMs: requestTimeoutMs,
    });
  }

  /** What is sent after the names are announced is not given up halfway: only `signal` of reading is heeded. */
  private request(signal?: AbortSignal): RequestOptions {
    return { timeoutMs: this.options.requestTimeoutMs, ...(signal && { signal }) };
  }
}

/** The store's clock minus ours. Throws `storeRefused` while they differ too much for either to be believed. */
export function trustedSkewMs(store: ObjectStore): number {
  const skewMs = store.clockSkewMs === undefined ? 0 : store.clockSkewMs();
  if (skewMs !== null && Math.abs(skewMs) <= SKEW_MS_MAX) return skewMs;
  const by = skewMs === null ? "it is not known how" : `by ${Math.round(skewMs / 1000)} s`;
  throw new DbError(
    "storeRefused",
    `this machine's clock and that of ${store.name} differ (${by}): nothing is deleted`,
  );
}

const isCollectable = (key: ObjectKey): boolean =>
  ["segment", "table", "checkpoint", "collection", "collectionDone"].includes(parseKey(key)?.kind ?? "");

/** Done collections are needed by nobody, whatever the references are. */
function isNeeded(key: ObjectKey, references: References): boolean {
  const name = parseKey(key);
  assert(name !== null, `${key} is a name of ours`);
  return name.kind !== "collection" && name.kind !== "collectionDone" && references.has(name);
}

/** Each is confirmed before the next begins: checkpoints tell of the tables, a mark stands behind what it marks. */
function phases(candidates: readonly Candidate[]): Candidate[][] {
  const of = (...kinds: string[]): Candidate[] => candidates.filter(({ key }) => kinds.includes(parseKey(key)!.kind));
  return [of("segment", "table"), of("checkpoint"), of("collection"), of("collectionDone")];
}

export const emptyReport = (): CollectionReport => ({
  collections: [],
  byReason: {},
  objects: 0,
  bytes: 0,
  kept: 0,
  interrupted: false,
});

/** Adds one more to a report. */
export function count(report: CollectionReport, { why, bytes }: Candidate): void {
  const tally = (report.byReason[why] ??= { objects: 0, bytes: 0 });
  tally.objects++;
  tally.bytes += bytes;
  report.objects++;
  report.bytes += bytes;
}
