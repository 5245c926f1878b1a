import { deepEqual, equal, ok } from "node:assert/strict";
import { isDbError } from "../../src/base/errors.ts";
import type { BranchId, ObjectKey } from "../../src/base/ids.ts";
import { PURGING } from "../../src/engine/branches/name-changes.ts";
import type { Database } from "../../src/engine/engine.ts";
import type { Host } from "../../src/engine/host/host.ts";
import { type BranchName, decodeBranchName } from "../../src/leadership/branch-name.ts";
import { decodeLeaderRecord } from "../../src/leadership/leader-record.ts";
import { MAIN } from "../../src/leadership/repository.ts";
import { decodeEnvelope } from "../../src/objects/envelope.ts";
import { leaderKey, parseKey } from "../../src/objects/keys.ts";
import { MemoryBucket, MemoryStore } from "../../src/objects/memory.ts";
import { ReadOnlyStore } from "../../src/objects/read-only.ts";
import { verifyRepository } from "../../src/readers/verify.ts";
import { everything, put, range } from "../engine/requests.ts";
import { SettingsTruth } from "./branch-settings.ts";
import { BranchTruth, digestOfRows, keyEntries, versionText } from "./branch-truth.ts";
import { type Answered, type BranchesWorld, ordinary } from "./branches-world.ts";
import { CollectionJudge, lostFences } from "./collection-judge.ts";
import type { SimNode } from "./node.ts";
import { surely } from "./surely.ts";

/** Revisions of each branch that are held against the truth, besides the newest. */
const LOOKED_AT = 4;

/** Holds what clients were told, and what is left in the end, against what the bucket says of each branch. */
export class BranchesJudge {
  readonly #world: BranchesWorld;
  readonly #node: SimNode;
  readonly #host: Host;
  #known: { readonly changes: number; readonly truth: BranchTruth } | null = null;

  constructor(world: BranchesWorld, node: SimNode, host: Host) {
    this.#world = world;
    this.#node = node;
    this.#host = host;
  }

  /** As of now. */
  get #truth(): BranchTruth {
    const { history } = this.#world.storage.bucket;
    if (this.#known?.changes !== history.length) {
      this.#known = { changes: history.length, truth: new BranchTruth(history, this.#host.repository.id) };
    }
    return this.#known.truth;
  }

  /** Of all that was told while there was trouble. */
  told(): void {
    const truth = this.#truth;
    const alive = new Set([...this.#names().values()].flatMap((body) => (body.tombstone ? [] : [body.branch])));
    // What only the disk has of a branch that nobody opens any more stays there.
    const isUploaded = (branch: BranchId): boolean => this.#world.durability === "object" || alive.has(branch);
    for (const { cluster, revision, key, value } of this.#world.acknowledged) {
      const branch = truth.branchOf(cluster);
      if (!isUploaded(branch)) continue;
      const records = truth.own(branch).filter((record) => record.revision === revision);
      const kept = records.flatMap(keyEntries).find((entry) => entry.key === key);
      const text = kept === undefined ? undefined : versionText(kept);
      const found = kept !== undefined && (kept.tombstone ? value === null : text!.includes(hexOf(value ?? "gone")));
      ok(found, `branch ${branch}: ${key} was acknowledged at ${revision}, the bucket has ${text}`);
    }
    const byCluster = Map.groupBy(this.#world.observed, ({ cluster }) => cluster);
    for (const [cluster, observed] of byCluster) {
      const branch = truth.branchOf(cluster);
      if (!isUploaded(branch)) continue;
      const digests = truth.digests(
        branch,
        observed.map(({ revision }) => revision),
      );
      for (const { revision, digest } of observed) {
        equal(digest, digests.get(revision), `what branch ${branch} showed at ${revision}`);
      }
    }
    new SettingsTruth(truth).checkTold(this.#world.settingsOperator.userChanges, isUploaded);
    this.#neverBack();
  }

  /** By the name of main no revision is ever shown that is below one that was shown before. */
  #neverBack(): void {
    const answered = this.#world.answered.filter(({ name }) => name === MAIN);
    const byEnd = [...answered].sort((a, b) => a.ended - b.ended);
    let seen: Answered | null = null;
    let next = 0;
    for (const call of [...answered].sort((a, b) => a.begun - b.begun)) {
      for (; next < byEnd.length && byEnd[next]!.ended < call.begun; next++) {
        if (seen === null || byEnd[next]!.revision > seen.revision) seen = byEnd[next]!;
      }
      const before = seen?.revision ?? 0;
      ok(call.revision >= before, `${MAIN} answered with revision ${call.revision}, and before that with ${before}`);
    }
  }

  /** Whatever promotion was stopped halfway: the same command ends it, or takes it back. */
  async finishPromotions(): Promise<void> {
    const asked = new Map(this.#world.promotions.map((each) => [`${each.name} ${each.over}`, each]));
    for (const { name, over } of asked.values()) {
      const names = this.#names();
      const [swapped, place] = [names.get(name), names.get(over)];
      // The root gives its name up to another one that is promoted over it, and else never: it was refused.
      if (name === MAIN) continue;
      if (swapped === undefined || swapped.tombstone || swapped.branch !== place?.branch || name === over) continue;
      if (swapped.replacedBy !== undefined || place.tombstone) continue;
      ok(
        await this.#finish({ name, over, keepAs: null, revoke: false }),
        `${name} is promoted over ${over} to the end`,
      );
    }
    const overs = new Set([...asked.values()].map(({ over }) => over));
    for (const over of overs) {
      if ((await this.#open(over).catch(gone)) === null) continue;
      const place = this.#names().get(over)?.branch;
      const { openState } = this.#host.open.find((each) => each.id === place && each.openState !== null) ?? {};
      const replaced = openState?.settings.replaced;
      if (replaced?.name !== over) continue;
      const { by } = replaced;
      const names = [...this.#names()].filter(([, body]) => body.branch === by && !body.tombstone);
      const request = { name: names[0]?.[0] ?? "nobody", over, keepAs: null };
      const isFinished = await this.#finish({ ...request, revoke: names.length === 0 });
      if (!isFinished) ok(await this.#finish({ ...request, revoke: true }), `the promotion over ${over} is taken back`);
    }
  }

  async #finish(request: Parameters<Host["branches"]["promote"]>[0]): Promise<boolean> {
    let last: unknown = null;
    for (let tries = 0; tries < 20; tries++) {
      try {
        await this.#host.branches.promote(request);
        return true;
      } catch (error) {
        ordinary(error);
        last = error;
        if (isDbError(error, "branchRefuses")) return false;
      }
      await this.#world.simulation.sleep(500);
    }
    throw last;
  }

  #names(): Map<string, BranchName> {
    const names = new Map<string, BranchName>();
    for (const [key, { body }] of this.#world.storage.bucket.objects) {
      const name = parseKey(key);
      if (name?.kind !== "name") continue;
      names.set(name.name, decodeBranchName(decodeEnvelope(key as ObjectKey, body).body));
    }
    return names;
  }

  /** A branch that ever had a name has one, or was ended for ever, or can be brought back; and none has two. */
  named(): void {
    const all = this.#names();
    const bodies = [...all.values()];
    const had = new Set<BranchId>();
    for (const { key, kind, body } of this.#world.storage.bucket.history) {
      if (kind === "put" && parseKey(key)?.kind === "name") {
        had.add(decodeBranchName(decodeEnvelope(key as ObjectKey, body!).body).branch);
      }
    }
    for (const branch of had) {
      const names = bodies.filter((each) => each.branch === branch && !each.tombstone);
      const has = [...all].flatMap(([name, each]) => (names.includes(each) ? [name] : []));
      ok(names.length <= 1, `branch ${branch} has ${names.length} names: ${has}`);
      const isKept = bodies.some((each) => each.branch === branch && (each.purgeMs ?? PURGING) !== PURGING);
      const isPurging = bodies.some((each) => each.branch === branch && each.purgeMs === PURGING);
      const fate = `branch ${branch} has no name, and was not deleted`;
      ok(names.length === 1 || isKept || isPurging || this.#isEnded(branch), fate);
    }
  }

  #isEnded(branch: BranchId): boolean {
    const key = leaderKey(branch);
    const object = this.#world.storage.bucket.objects.get(key);
    return object !== undefined && decodeLeaderRecord(decodeEnvelope(key, object.body).body).tombstone;
  }

  /** A promoter that stalled has named what was ended for ever meanwhile. */
  #isLate({ branch, tombstone, replacedBy }: BranchName): boolean {
    return !tombstone && replacedBy !== undefined && this.#isEnded(branch);
  }

  /** Of late names a sweep leaves none. */
  swept(): void {
    const late = [...this.#names()].flatMap(([name, body]) => (this.#isLate(body) ? [name] : []));
    deepEqual(late, [], "names of branches that there are no more");
  }

  /** Every branch can be opened, and shows what it must, entry by entry. */
  async readable(): Promise<string[]> {
    const names = [...this.#names()].filter(([, body]) => !body.tombstone && !this.#isLate(body));
    for (const [name, { branch }] of names) {
      const database = await this.#open(name);
      await this.#uploaded(branch);
      const { committed, compactRevision } = database;
      const truth = this.#truth;
      equal(committed, truth.revision(branch), `${name} is at the end of its log`);
      const { lastRecord, revision } = truth.origin(branch).position;
      ok(truth.records(branch).some(({ number }) => number === lastRecord) || lastRecord === 0, `${name}: its cut`);
      const first = Math.max(1, compactRevision);
      const step = Math.max(1, Math.ceil((committed - first) / LOOKED_AT));
      const at = new Set([committed, Math.max(first, revision)]);
      for (let each = first; each < committed; each += step) at.add(each);
      const digests = truth.digests(branch, at);
      for (const each of at) {
        const { rows } = await database.range(range(...everything, { revision: each }));
        equal(digestOfRows(rows), digests.get(each), `${name} (${branch}) at revision ${each}`);
      }
      await new SettingsTruth(truth).check(this.#host, name, { branch, database });
      if (compactRevision === -1) deepEqual(await versionsOf(database), truth.versions(branch, committed), name);
    }
    return names.map(([name]) => name);
  }

  /** As soon as whoever led it before is known to be dead. */
  async #open(name: string): Promise<Database> {
    for (let tries = 0; ; tries++) {
      try {
        return await this.#host.branches.guardOf(name);
      } catch (error) {
        ordinary(error);
        if (tries === 100 || isDbError(error, "notFound")) throw error;
      }
      await this.#world.simulation.sleep(500);
    }
  }

  /** Deletes all but one: then nothing is left but what that one needs. */
  async leaveOne(names: readonly string[], kept: string): Promise<void> {
    const { branches } = this.#host;
    for (const name of names) await this.#surely(() => branches.update({ name, protected: false, expiresInMs: null }));
    // A promotion lifts what keeps the branch from writes.
    if (kept === MAIN) await this.#surely(() => branches.update({ name: MAIN, writeProtected: false }));
    if (kept !== MAIN) ok(await this.#finish({ name: kept, over: MAIN, keepAs: null, revoke: false }));
    for (const { name } of await branches.list({ deleted: false })) if (name !== MAIN) await branches.delete(name);
    await this.#world.simulation.sleep(60_000);
    const { failed } = await branches.sweep();
    deepEqual(failed, []);
    const branch = await this.#put("the last");
    // Whatever earlier leaderships left is known to be left once a later one has a checkpoint.
    await this.#host.leave(MAIN);
    await this.#put("the very last");
    await this.#checkpoint(branch);
    // One that goes on merging has another checkpoint soon.
    await this.#host.leave(MAIN);
    await this.#world.collect(this.#node, this.#host);
    await this.#world.collect(this.#node, this.#host);
    const judge = this.collections();
    deepEqual(judge.leftOver().slice(0, 10), []);
    this.#origins(branch);
    deepEqual(await this.readable(), [MAIN]);
  }

  /** Resolves with the branch that main is. */
  #put(key: string): Promise<BranchId> {
    return this.#surely(async () => {
      const main = await this.#open(MAIN);
      await main.put(put(key));
      return this.#truth.branchOf(main.identity.clusterId.toString(16));
    });
  }

  #surely<T>(work: () => Promise<T>): Promise<T> {
    return surely(this.#world.simulation, work, (error) => {
      ordinary(error);
      return true;
    });
  }

  /** What only a disk had is uploaded behind the opening. */
  async #uploaded(branch: BranchId): Promise<void> {
    for (const served of this.#host.open) if (served.id === branch) await served.leading.flush();
  }

  /** What crashed cuts, and requests that came late, have left is gone as well. */
  #origins(kept: BranchId): void {
    const left = [...this.#world.storage.bucket.objects.keys()].filter((key) => {
      const name = parseKey(key);
      return name?.kind === "origin" && name.branch !== kept && name.branch !== this.#truth.root;
    });
    deepEqual(left, [], "origins of branches that there are no more");
  }

  async #checkpoint(branch: BranchId): Promise<void> {
    for (const served of this.#host.open) if (served.id === branch) await served.checkpoint();
  }

  /** The collector never took what a branch needed. */
  collections(): CollectionJudge {
    const { bucket } = this.#world.storage;
    const judge = new CollectionJudge(this.#truth.root).follow(bucket.history);
    deepEqual(judge.problems.slice(0, 5), []);
    return judge;
  }

  async verify(): Promise<void> {
    const bucket = new MemoryBucket();
    for (const [key, { body, etag, modifiedMs }] of this.#world.storage.bucket.objects) {
      bucket.set(key, { body, etag, modifiedMs });
    }
    const { runtime } = this.#node;
    const store = new ReadOnlyStore(new MemoryStore(runtime, bucket));
    const options = { store, runtime, request: { timeoutMs: 60_000 }, quick: false, onProgress: () => {} };
    const { findings } = await verifyRepository(options);
    deepEqual(findings.faults, [], "the bucket has no faults");
  }

  /** Fences and void segments stay for ever. */
  fences(): void {
    const { bucket } = this.#world.storage;
    const truth = this.#truth;
    for (const branch of truth.branches) deepEqual(lostFences(bucket, branch, truth.origin(branch)), []);
  }
}

const hexOf = (text: string): string => Buffer.from(text, "latin1").toString("hex");

function gone(error: unknown): null {
  ordinary(error);
  return null;
}

async function versionsOf(database: Database): Promise<string[]> {
  const lines: string[] = [];
  const upTo = database.committed;
  for await (const versions of database.versionsInOrder({ after: 0, upTo, compacted: null })) {
    for (const version of versions) lines.push(versionText(version));
  }
  return lines;
}
