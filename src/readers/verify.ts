import type { BranchId, ObjectKey, Slot } from "../base/ids.ts";
import { decodeOrigin } from "../leadership/origin.ts";
import { MAIN, type Repository } from "../leadership/repository.ts";
import type { LogPosition } from "../log/log.ts";
import { decodeSegment } from "../log/segment-codec.ts";
import { checkpointKey, parseKey, prefixes, segmentKey } from "../objects/keys.ts";
import type { ObjectStore, RequestOptions } from "../objects/objects.ts";
import type { RetryRuntime } from "../objects/retry.ts";
import { decodeCheckpoint } from "../storage/checkpoint-codec.ts";
import { newestCheckpoint, readCheckpoint } from "../storage/checkpoint-store.ts";
import { type CheckedCheckpoints, checkCheckpoints } from "./check-checkpoints.ts";
import { branchOfFolder, ControlCheck } from "./check-control.ts";
import { type CheckedLog, checkLog } from "./check-log.ts";
import { checkState, effectsOf } from "./check-state.ts";
import { checkTable } from "./check-table.ts";
import { Findings } from "./faults.ts";
import { inOrder, listFolders, listObjects } from "./list-objects.ts";
import { NamedTables } from "./named-tables.ts";
import { TableMissing, type TableSource } from "./table-file.ts";

/**
 * Holds every object of a repository against its own checksums and against all that names it.
 *
 *   tables listed ─► repository, names ─► each branch: origin, leader, checkpoints, log ─► tables ─► states
 *     ─► sessions, collections, probes, foreign objects ─► what was missing, once more
 *
 * 1. It only reads, and a server may go on meanwhile. Tables are listed before what names them is read, so one that is
 *    written meanwhile is not called litter; what is named and missing is looked for again at the end, together with
 *    what names it, so one that was collected meanwhile is no fault.
 * 2. A fault does not end it: what can still be checked is.
 * 3. Memory: one page of a list, a few windows of tables, and what the checkpoints say of each table.
 * 4. What it cannot see: that the last segment or the newest checkpoint is missing (nothing names it yet: it looks like
 *    a moment before), and in durability local what is on a node's disk alone.
 */
export interface VerifyOptions {
  readonly store: ObjectStore;
  readonly runtime: RetryRuntime;
  readonly request: RequestOptions;
  /** Everything but the data blocks of tables. */
  readonly quick: boolean;
  readonly onProgress: (progress: Progress) => void;
}

export interface Progress {
  readonly phase: string;
  /** Bytes; the total is what is known so far. */
  readonly done: number;
  readonly total: number;
}

export interface BranchReport {
  readonly id: BranchId;
  readonly names: readonly string[];
  readonly epoch: number;
  readonly durability: "object" | "local" | null;
  readonly revision: number | null;
  readonly checkpoints: number;
  readonly retained: number;
  readonly segments: number;
  readonly logBytes: number;
  readonly records: number;
  readonly tables: number;
  readonly tableBytes: number;
  /** Live keys as of the newest checkpoint. */
  readonly keys: number | null;
}

export interface VerifyReport {
  readonly store: string;
  readonly repository: string | null;
  readonly quick: boolean;
  readonly branches: readonly BranchReport[];
  readonly objects: number;
  readonly bytes: number;
  readonly tables: { readonly named: number; readonly unnamed: number; readonly bytes: number };
  readonly duplicateBytes: number;
  readonly duplicates: readonly { tables: readonly string[]; bytes: number }[];
  readonly findings: Findings;
}

/** Of a repository whose own is damaged: the default. */
const WINDOW = 8;
/** Tables read at once; of each, windows alone are in memory. */
const TABLES_AT_ONCE = 2;

export const verifyRepository = (options: VerifyOptions): Promise<VerifyReport> => new Verification(options).run();

interface BranchParts {
  readonly id: BranchId;
  readonly checkpoints: CheckedCheckpoints;
  readonly log: CheckedLog;
}

class Verification {
  readonly #options: VerifyOptions;
  readonly #source: TableSource & { onRead: (bytes: number) => void };
  readonly #findings = new Findings();
  readonly #control: ControlCheck;
  readonly #named = new NamedTables(this.#findings);
  /** Sizes of all tables that exist. */
  readonly #listed = new Map<ObjectKey, number>();
  readonly #branches: BranchReport[] = [];
  readonly #parts: BranchParts[] = [];
  readonly #sessions = new Set<string>();
  #repository: Repository | null = null;
  /** False: what is named is not known, so nothing is called litter. */
  #complete = true;
  #phase = "";
  #done = 0;
  #total = 0;
  #objects = 0;
  #bytes = 0;

  constructor(options: VerifyOptions) {
    const { store, request } = options;
    this.#options = options;
    this.#control = new ControlCheck(options, this.#findings);
    this.#source = { store, request, onRead: (bytes) => this.#read(bytes) };
  }

  async run(): Promise<VerifyReport> {
    const { store, request } = this.#options;
    this.#begin("listing tables");
    for await (const { key, bytes } of listObjects(store, prefixes.tables, request)) {
      if (parseKey(key)?.kind === "table") this.#listed.set(key, bytes);
      else this.#findings.fault(key, "is not named as a table is");
    }
    this.#begin("names");
    this.#repository = await this.#control.repository();
    const names = await this.#control.names();
    await this.#checkBranches(names);
    await this.#checkTables();
    if (!this.#options.quick) await this.#checkStates();
    this.#begin("sessions");
    await this.#control.sessions(this.#repository, this.#sessions);
    await this.#control.collections();
    await this.#control.probes();
    await this.#checkForeign();
    this.#begin("looking again for what is missing");
    await this.#settleMissing();
    return this.#report();
  }

  #begin(phase: string, total = 0): void {
    this.#options.request.signal?.throwIfAborted();
    this.#phase = phase;
    this.#done = 0;
    this.#total = total;
    this.#read(0);
  }

  #read(bytes: number): void {
    this.#done += bytes;
    this.#options.onProgress({ phase: this.#phase, done: this.#done, total: this.#total });
  }

  async #checkBranches(names: Map<BranchId, string[]>): Promise<void> {
    const { store, request } = this.#options;
    const found = new Set<BranchId>();
    for await (const { name, object } of listFolders(store, prefixes.branches, request)) {
      const branch = branchOfFolder(name);
      if (branch === null) this.#findings.fault(object.key, "is no object of a branch");
      else found.add(branch);
    }
    for (const [branch, called] of names) {
      if (!found.has(branch))
        this.#findings.fault(`name/${called[0]}`, `names branch ${branch}, of which nothing exists`);
    }
    for (const branch of found) await this.#checkBranch(branch, names.get(branch) ?? []);
  }

  async #checkBranch(id: BranchId, names: readonly string[]): Promise<void> {
    const findings = this.#findings;
    this.#begin(`branch ${names[0] ?? id}`);
    const { store, request } = this.#options;
    for await (const { name, folder, object } of listFolders(store, prefixes.branch(id), request)) {
      const known = folder ? /\/(log|checkpoint)\/$/.test(name) : parseKey(object.key) !== null;
      if (!known) findings.fault(object.key, "is no object of a branch");
    }
    const leader = await this.#control.leader(id);
    const record = leader === "damaged" ? null : leader;
    if (record !== null) this.#sessions.add(record.session);
    if (record?.tombstone === true) return this.#checkDeleted(id, names);
    const origin = await this.#control.origin(id);
    if (names.length === 0) findings.notice(`branch ${id} exists and no name points to it`);
    const checkpoints = await checkCheckpoints(this.#source, { id, origin, tables: this.#named }, findings);
    this.#complete &&= checkpoints.complete;
    const start = startOfLog(checkpoints, origin?.position ?? null);
    if (start === "unknown") {
      findings.fault(
        checkpoints.newestKey!,
        `keeps the log from slot ${checkpoints.newest!.firstLogSlot} on, and retains no checkpoint that begins there`,
      );
    }
    const log = await checkLog(
      this.#source,
      {
        branch: id,
        window: this.#repository?.window ?? WINDOW,
        start: start === "unknown" ? null : start,
        covered: (checkpoints.newest?.point.position.nextSlot ?? 1) as Slot,
        positions: checkpoints.positions,
        released: record?.released === true,
      },
      findings,
    );
    const epoch = Math.max(log.highestEpoch, checkpoints.newest?.epoch ?? 0);
    if (leader === null && epoch > 0) findings.fault(`branch/${id}/leader`, `is missing, and epoch ${epoch} has led`);
    if (record !== null && record.epoch < epoch)
      findings.fault(`branch/${id}/leader`, `epoch ${record.epoch}, and epoch ${epoch} has written`);
    if (origin !== null && checkpoints.newest === null) await this.#checkOrigin(origin);
    this.#parts.push({ id, checkpoints, log });
    const runs = checkpoints.newest?.runs ?? [];
    this.#objects += checkpoints.count + log.segments;
    this.#bytes += checkpoints.bytes + log.bytes;
    this.#branches.push({
      id,
      names,
      epoch: record?.epoch ?? epoch,
      durability: record?.durability ?? null,
      revision: log.end?.revision ?? null,
      checkpoints: checkpoints.count,
      retained: checkpoints.newest?.retained.length ?? 0,
      segments: log.segments,
      logBytes: log.bytes,
      records: log.records,
      tables: runs.flat().length,
      tableBytes: runs.flat().reduce((sum, { bytes }) => sum + bytes, 0),
      keys: checkpoints.newest === null ? null : (effectsOf(runs).get(0) ?? 0),
    });
  }

  /** What is left of a branch that is deleted is whole, and goes when it is collected; its fences and record stay. */
  async #checkDeleted(id: BranchId, names: readonly string[]): Promise<void> {
    const { store, request } = this.#options;
    for (const name of names) this.#findings.fault(`name/${name}`, `names branch ${id}, which is deleted`);
    for await (const { key, bytes } of listObjects(store, prefixes.branch(id), request)) {
      const name = parseKey(key);
      if (name === null || name.kind === "leader") continue;
      const body = (await store.get(key, request))?.body ?? null;
      this.#read(bytes);
      this.#objects++;
      this.#bytes += bytes;
      if (body === null) continue;
      let fence = false;
      try {
        if (name.kind === "segment") fence = decodeSegment(key, body).header.fence;
        else if (name.kind === "checkpoint") decodeCheckpoint(key, body);
        else if (name.kind === "origin") decodeOrigin(id, body);
      } catch (error) {
        this.#findings.thrown(key, error);
      }
      if (!fence) this.#findings.unnamed(key, bytes, "is of a branch that is deleted");
    }
  }

  /** What a branch begins with, while it has no checkpoint of its own. */
  async #checkOrigin(origin: NonNullable<Awaited<ReturnType<ControlCheck["origin"]>>>): Promise<void> {
    const { store, request } = this.#options;
    const key = `branch/${origin.branch}/origin`;
    if (origin.checkpoint !== null) {
      const name = checkpointKey(origin.checkpoint.branch, origin.checkpoint.nextSlot, origin.checkpoint.n);
      const checkpoint = await readCheckpoint(store, origin.checkpoint, request).catch(() => null);
      if (checkpoint === null) this.#findings.fault(key, `begins with ${name}, which cannot be read`);
      else if (checkpoint.id !== origin.checkpoint.sha256)
        this.#findings.fault(name, `SHA-256 ${checkpoint.id}, ${key} expects ${origin.checkpoint.sha256}`);
      else this.#named.add(name, checkpoint.runs);
    }
    for (const run of origin.runs) {
      let next: number = run.first;
      for await (const object of listObjects(store, prefixes.segments(run.branch), request, keyBefore(run))) {
        const name = parseKey(object.key);
        if (next > run.last || name?.kind !== "segment" || name.slot !== next) break;
        next++;
      }
      if (next <= run.last)
        this.#findings.fault(key, `replays ${segmentKey(run.branch, next as Slot)}, which is missing`);
    }
  }

  async #checkTables(): Promise<void> {
    const { quick } = this.#options;
    const all = new Set([...this.#named.tables.keys(), ...this.#listed.keys()]);
    let total = 0;
    for (const [key, bytes] of this.#listed) {
      total += quick ? 0 : bytes;
      this.#bytes += bytes;
      if (this.#complete && !this.#named.tables.has(key)) {
        this.#findings.unnamed(key, bytes, "is in no checkpoint: uploaded just now, or left over");
      }
    }
    this.#objects += this.#listed.size;
    this.#begin(quick ? "indexes of tables" : "tables", total);
    const tables = (async function* () {
      for (const key of all) yield { key, bytes: 0 };
    })();
    const check = ({ key }: { key: ObjectKey }) => {
      const listed = this.#named.tables.get(key)?.ref ?? null;
      return checkTable(key, { ...this.#source, findings: this.#findings, listed, body: !quick });
    };
    for await (const { item, result } of inOrder(tables, { requests: TABLES_AT_ONCE, bytes: 0 }, check)) {
      if (result === "missing") this.#missingTables.add(item.key);
      else if (result !== null) this.#goodTables.add(item.key);
    }
  }

  readonly #missingTables = new Set<ObjectKey>();
  readonly #goodTables = new Set<ObjectKey>();

  async #checkStates(): Promise<void> {
    const states: Parameters<typeof checkState>[1][] = [];
    for (const { id: branch, checkpoints } of this.#parts) {
      const { newest, newestKey } = checkpoints;
      const runs = newest?.runs ?? [];
      // Of a table that is damaged its own fault is told; its entries would only repeat it.
      if (newestKey === null || !runs.flat().every(({ key }) => this.#goodTables.has(key))) continue;
      states.push({ branch, key: newestKey, runs });
    }
    this.#begin("counts of live keys");
    for (const state of states) {
      try {
        await checkState(this.#source, state, this.#findings);
      } catch (error) {
        // Whether it might go is settled below.
        if (error instanceof TableMissing) this.#missingTables.add(error.key);
        else this.#findings.thrown(state.key, error);
      }
    }
  }

  async #checkForeign(): Promise<void> {
    const { store, request } = this.#options;
    const known: ReadonlySet<string> = new Set(Object.values(prefixes).filter((prefix) => typeof prefix === "string"));
    for await (const { name, folder, object } of listFolders(store, "", request)) {
      if (folder ? known.has(name) : parseKey(name)?.kind === "repository") continue;
      this.#findings.unnamed(object.key, object.bytes, "is not one of t4's objects");
    }
  }

  /** What was named and missing: a fault if it is still both. */
  async #settleMissing(): Promise<void> {
    for (const part of this.#parts) await this.#settleBranch(part);
    if (this.#missingTables.size === 0) return;
    const named = new Map<ObjectKey, ObjectKey>();
    for (const { id } of this.#parts) await this.#nameTables(id, named);
    for (const key of this.#missingTables) {
      const by = named.get(key);
      if (by !== undefined && !(await this.#exists(key))) this.#findings.fault(key, `is missing, and ${by} lists it`);
    }
  }

  async #settleBranch({ id, checkpoints, log }: BranchParts): Promise<void> {
    if (checkpoints.missing.length === 0 && log.missing.length === 0) return;
    const { store, request } = this.#options;
    const newest = await newestCheckpoint(store, id, request).catch(() => null);
    for (const { branch, nextSlot, n } of checkpoints.missing) {
      const key = checkpointKey(branch, nextSlot, n);
      const still = newest?.retained.some((each) => each.nextSlot === nextSlot && each.n === n) ?? true;
      if (still && !(await this.#exists(key)))
        this.#findings.fault(key, `is missing, and the newest checkpoint retains it`);
    }
    for (const { slot, what } of log.missing) {
      const key = segmentKey(id, slot);
      const still = newest === null || newest.firstLogSlot <= slot;
      if (still && !(await this.#exists(key))) this.#findings.fault(key, what);
    }
  }

  /** Which checkpoint names each table, as of now. */
  async #nameTables(branch: BranchId, named: Map<ObjectKey, ObjectKey>): Promise<void> {
    const { store, request } = this.#options;
    const newest = await newestCheckpoint(store, branch, request).catch(() => null);
    if (newest === null) {
      for (const [key, { by }] of this.#named.tables) named.set(key, by);
      return;
    }
    const all = [{ branch, nextSlot: newest.point.position.nextSlot, n: newest.n }, ...newest.retained];
    for (const name of all) {
      const checkpoint = await readCheckpoint(store, name, request).catch(() => null);
      const by = checkpointKey(name.branch, name.nextSlot, name.n);
      for (const { key } of checkpoint?.runs.flat() ?? []) named.set(key, by);
    }
  }

  async #exists(key: ObjectKey): Promise<boolean> {
    const { store, request } = this.#options;
    return (await store.get(key, { ...request, range: { suffix: 1 } })) !== null;
  }

  #report(): VerifyReport {
    const { groups, bytes } = this.#named.duplicates();
    const unnamed = [...this.#listed.keys()].filter((key) => !this.#named.tables.has(key)).length;
    let tableBytes = 0;
    for (const size of this.#listed.values()) tableBytes += size;
    return {
      store: this.#options.store.name,
      repository: this.#repository?.id ?? null,
      quick: this.#options.quick,
      branches: this.#branches.sort((a, b) => Number(b.names.includes(MAIN)) - Number(a.names.includes(MAIN))),
      objects: this.#objects + this.#control.objects,
      bytes: this.#bytes + this.#control.bytes,
      tables: { named: this.#named.tables.size, unnamed, bytes: tableBytes },
      duplicateBytes: bytes,
      duplicates: groups,
      findings: this.#findings,
    };
  }
}

/** Null: nothing says where it begins (a branch without origin and checkpoint). */
function startOfLog(checkpoints: CheckedCheckpoints, origin: LogPosition | null): LogPosition | null | "unknown" {
  const { newest } = checkpoints;
  if (newest === null) return checkpoints.complete ? origin : null;
  const at = checkpoints.positions.get(newest.firstLogSlot)?.[0];
  if (at !== undefined) return at.position;
  if (origin?.nextSlot === newest.firstLogSlot) return origin;
  return checkpoints.missing.some(({ nextSlot }) => nextSlot === newest.firstLogSlot) ? null : "unknown";
}

const keyBefore = ({ branch, first }: { branch: BranchId; first: Slot }): ObjectKey | undefined =>
  first > 1 ? segmentKey(branch, (first - 1) as Slot) : undefined;
