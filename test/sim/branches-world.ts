import { equal, ok } from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { isDbError } from "../../src/base/errors.ts";
import type { BranchId } from "../../src/base/ids.ts";
import { Collector } from "../../src/collector/collector.ts";
import type { CreateBranch } from "../../src/engine/branches/branches.ts";
import type { MergePage, MergeSummary } from "../../src/engine/branches/history.ts";
import type { Moment } from "../../src/engine/branches/moment.ts";
import type { Database } from "../../src/engine/engine.ts";
import { defaultBranchSetSettings } from "../../src/engine/host/branch-set.ts";
import { Host } from "../../src/engine/host/host.ts";
import type { Notices } from "../../src/engine/host/notices.ts";
import { OfflineBranches } from "../../src/engine/host/offline-branches.ts";
import { clusterId } from "../../src/leadership/identity.ts";
import type { Repository } from "../../src/leadership/repository.ts";
import type { ObjectStore } from "../../src/objects/objects.ts";
import { del, everything, put, range, txn } from "../engine/requests.ts";
import { SettingsOperator } from "./branch-settings.ts";
import { digestOfRows } from "./branch-truth.ts";
import { type NodeSettings, smallSettings, WINDOW } from "./database-node.ts";
import type { SimMachine } from "./machine.ts";
import type { SimNode } from "./node.ts";
import { SimStorage } from "./object-store.ts";
import type { SimRandom } from "./random.ts";
import type { Simulation } from "./simulation.ts";

const BRANCHES_MAX = 6;
const RESTART_MS = 2000;
/** What a deleted branch keeps its data for. */
export const GRACE_MS = 4000;
const CLIENTS = 3;
const EVERY_KEY = { from: "", to: null };

/** A write that was acknowledged, to the branch of this cluster id. */
export interface Acknowledged {
  readonly cluster: string;
  readonly revision: number;
  readonly key: string;
  /** Null: deleted. */
  readonly value: string | null;
}

/** A range of everything that was answered. */
export interface Observed {
  readonly cluster: string;
  readonly revision: number;
  readonly digest: string;
}

/** What was answered by a name: its header's revision, and when the call began and ended. */
export interface Answered {
  readonly name: string;
  readonly revision: number;
  readonly begun: number;
  readonly ended: number;
}

/** A promotion that was asked for, whatever came of it. */
export interface Asked {
  readonly name: string;
  readonly over: string;
}

/** The process in which a call is carried out. */
export const inProcess = new AsyncLocalStorage<SimNode>();

/** What a simulated program may be given other than what is right: for mutants. */
export interface BranchesChanges {
  collectorStore?: (store: ObjectStore) => ObjectStore;
}

/** Processes that serve the branches of one repository, and those who call them. */
export class BranchesWorld {
  readonly simulation: Simulation;
  readonly storage: SimStorage;
  readonly settings: NodeSettings;
  readonly durability: "object" | "local";
  readonly acknowledged: Acknowledged[] = [];
  readonly observed: Observed[] = [];
  readonly answered: Answered[] = [];
  readonly promotions: Asked[] = [];
  readonly settingsOperator = new SettingsOperator();
  readonly done: Record<string, number> = {};
  stopped = false;
  repository: Repository | null = null;
  /** Whether every process serves main from its start on, as servers do. */
  readonly #pins: boolean;
  readonly #pace: number;
  /** No clock makes it safe to take the origin of a cut that is under way. */
  readonly #cutMsMax: number;
  readonly #changes: BranchesChanges;
  #names: string[] = ["main"];
  #made = 0;
  #written = 0;
  #order = 0;

  constructor(simulation: Simulation, durability: "object" | "local", changes: BranchesChanges) {
    this.simulation = simulation;
    this.#changes = changes;
    this.durability = durability;
    this.storage = new SimStorage(simulation);
    const probe = this.storage.storeOf(simulation.machine("nobody").start());
    const { typicalMs } = this.storage;
    const random = simulation.random.fork("settings");
    this.settings = smallSettings(random, { store: probe, typicalMs, durability });
    this.#pins = random.fork("pins").chance(0.6);
    this.#pace = random.fork("pace").pick([80, 300]);
    this.#cutMsMax = random.fork("cuts").pick([-1000, 0, 3000]);
  }

  get begun(): boolean {
    return this.acknowledged.length > 0;
  }

  // --- processes ---

  start(machine: SimMachine): void {
    if (this.stopped) return;
    const node = machine.start();
    node.onKilled.push(() =>
      this.simulation.schedule(RESTART_MS, null, "restart", () => {
        if (machine.nodes.length === 0) this.start(machine);
      }),
    );
    void this.#serve(node);
  }

  async #serve(node: SimNode): Promise<void> {
    const host = await this.opened(node);
    if (host === null) return;
    this.repository = host.repository;
    if (this.#pins) void host.serve("main").catch(ordinary);
    for (let n = 0; n < CLIENTS; n++) {
      this.#repeat(node, `client ${n}`, this.#pace, (random) => this.#call(host, random));
    }
    this.#repeat(node, "operator", 600, (random) => this.#operate(host, random));
    this.#repeat(node, "tool", 3000, (random) => this.#useTool(node, host, random));
    this.#repeat(node, "collector", 4000, () => this.collect(node, host));
    this.#repeat(node, "looker", 100, async () => heldOnce(host));
  }

  /** Null: the process has ended. */
  async opened(node: SimNode, { idleMs = 20_000 } = {}): Promise<Host | null> {
    try {
      return await Host.open({
        ...this.settings,
        runtime: node.runtime,
        store: this.storage.storeOf(node),
        // Its lock tells a restart that whoever led before is gone.
        dataDirectory: "/data",
        name: null,
        window: WINDOW,
        diskCache: null,
        branches: { ...defaultBranchSetSettings, idleMs, graceMs: GRACE_MS, cutMsMax: this.#cutMsMax },
        notices: this.#noticesOf(node),
      });
    } catch (error) {
      ordinary(error);
      this.simulation.note(node.name, `ends: ${(error as Error).message}`);
      node.kill();
      return null;
    }
  }

  #repeat(node: SimNode, what: string, paceMs: number, work: (random: SimRandom) => Promise<void>): void {
    const random = node.random.fork(what);
    const again = async (): Promise<void> => {
      while (!this.stopped) {
        await sleep(node, random.between(0, 2 * paceMs));
        try {
          await work(random);
        } catch (error) {
          ordinary(error);
          this.simulation.note(node.name, `${what}: ${(error as Error).message}`);
        }
      }
    };
    void inProcess.run(node, again);
  }

  #noticesOf(node: SimNode): Notices {
    const tell = (sentence: string, facts?: Readonly<Record<string, unknown>>): void =>
      this.simulation.note(node.name, `says: ${sentence} ${facts === undefined ? "" : JSON.stringify(facts)}`);
    // Nobody waits for it: so it ends the run.
    const bug = (cause: unknown) => void Promise.reject(cause);
    return { debug: tell, info: tell, warn: tell, error: tell, bug };
  }

  // --- clients ---

  async #call(host: Host, random: SimRandom): Promise<void> {
    const name = random.chance(0.4) ? "main" : random.pick(this.#names);
    const begun = ++this.#order;
    const database = await host.database(name);
    const revision = await (random.chance(0.7) ? this.#write(database, random) : this.#observe(database, random));
    this.answered.push({ name, revision, begun, ended: ++this.#order });
  }

  async #write(database: Database, random: SimRandom): Promise<number> {
    const cluster = database.identity.clusterId.toString(16);
    const key = `k/${random.integer(0, 40)}`;
    const value = `${++this.#written} ${"v".repeat(random.integer(0, random.pick([10, 300])))}`;
    const draw = random.float();
    if (draw < 0.15) {
      const { revision, deleted } = await database.deleteRange(del(key));
      if (deleted > 0) this.acknowledged.push({ cluster, revision, key, value: null });
      return revision;
    }
    if (draw < 0.3) {
      const other = `k/${random.integer(41, 60)}`;
      const { revision } = await database.txn(txn([put(key, value), put(other, value)]));
      for (const each of [key, other]) this.acknowledged.push({ cluster, revision, key: each, value });
      return revision;
    }
    const { revision } = await database.put(put(key, value));
    this.acknowledged.push({ cluster, revision, key, value });
    if (draw > 0.99) await database.compact({ revision, physical: false });
    return revision;
  }

  async #observe(database: Database, random: SimRandom): Promise<number> {
    const cluster = database.identity.clusterId.toString(16);
    const { committed } = database;
    const past = random.chance(0.3) ? Math.max(1, committed - random.integer(0, 30)) : 0;
    const { rows, revision } = await database.range(range(...everything, { revision: past }));
    this.observed.push({ cluster, revision: past === 0 ? revision : past, digest: digestOfRows(rows) });
    return revision;
  }

  // --- operators ---

  async #operate(host: Host, random: SimRandom): Promise<void> {
    const { branches } = host;
    const found = (await branches.list({ deleted: false })).map(({ name }) => name);
    // None yet, while the repository is being founded.
    if (found.length === 0) return;
    this.#names = found;
    const name = random.pick(this.#names);
    const over = random.chance(0.5) ? "main" : random.pick(this.#names);
    const kind = this.#names.length >= BRANCHES_MAX ? random.pick(FULL) : random.pick(OPERATIONS);
    switch (kind) {
      case "create":
        await this.#create(host, name, random);
        break;
      case "merge":
        await this.#merge(host, name, over, random);
        break;
      case "promote":
        await this.#promote(host, { name, over }, random);
        break;
      case "revoke":
        await branches.promote({ ...random.pick(this.#promoted(over)), keepAs: null, revoke: true });
        break;
      case "delete":
        await branches.delete(name);
        break;
      case "undelete": {
        const gone = (await branches.list({ deleted: true })).filter(({ deleted }) => deleted);
        if (gone.length > 0) await branches.undelete(random.pick(gone).name);
        break;
      }
      case "protect":
        await branches.update({ name, protected: random.chance(0.3) });
        break;
      case "protect from writes":
        await branches.update({ name, writeProtected: random.chance(0.3) });
        break;
      case "users":
        await this.settingsOperator.changeUsers(await host.database(name), random);
        break;
      case "retention":
        await this.settingsOperator.changeRetention(host, name, random);
        break;
      case "restore":
        await this.#restore(host, name, random);
    }
    this.#count(kind);
  }

  /** Mostly one that was asked for before, so that what a crash has stopped is gone on with. */
  async #promote(host: Host, asked: Asked, random: SimRandom): Promise<void> {
    const before = random.chance(0.5) ? random.pick(this.#promoted(asked.over)) : asked;
    this.promotions.push(before);
    await host.branches.promote({ ...before, keepAs: null, revoke: false });
  }

  /** What a crash has stopped is a promotion then, which is gone on with as one. */
  async #restore(host: Host, name: string, random: SimRandom): Promise<void> {
    const { committed } = await host.database(name);
    const moment = momentOf(committed, this.storage.wallMs(), random);
    this.promotions.push({ name: `${name}-restore`, over: name });
    const { restored } = await host.branches.restore({ name, moment, keepAs: null });
    if (moment.kind === "revision") equal(restored.forkRevision, moment.revision, `${name} was put back to that`);
  }

  #promoted(over: string): Asked[] {
    const asked = this.promotions.filter((each) => each.over === over).slice(-3);
    return asked.length > 0 ? asked : [{ name: `${over}-none`, over }];
  }

  async #create(host: Host, from: string, random: SimRandom): Promise<void> {
    const parent = await host.database(from);
    const cluster = parent.identity.clusterId.toString(16);
    const told = this.#toldOf(cluster);
    const moment = momentOf(parent.committed, this.storage.wallMs(), random);
    const made = await host.branches.create(newBranch(this.#newName(random), from, moment, random));
    this.#checkCut(host.repository, made, { moment, cluster, told });
  }

  /** The newest revision of the branch that anybody was told to be written. */
  #toldOf(cluster: string): number {
    return this.acknowledged.reduce(
      (most, each) => (each.cluster === cluster ? Math.max(most, each.revision) : most),
      1,
    );
  }

  #newName(random: SimRandom): string {
    return random.chance(0.3) ? `b${random.integer(1, Math.max(1, this.#made))}` : `b${++this.#made}`;
  }

  #checkCut(
    { id }: Repository,
    made: { branch: { parentId: BranchId | null }; revision: number },
    { moment, cluster, told }: { moment: Moment; cluster: string; told: number },
  ): void {
    const isParent = clusterId(id, made.branch.parentId!).toString(16) === cluster;
    if (moment.kind === "newest" && isParent) ok(made.revision >= told, `cut at ${made.revision}, ${told} was told`);
    if (moment.kind === "revision") equal(made.revision, moment.revision);
  }

  async #merge(host: Host, source: string, into: string, random: SimRandom): Promise<void> {
    const onConflict = random.pick(["fail", "ours", "theirs"] as const);
    const merging = host.history.merge({ source, into, range: EVERY_KEY, onConflict, apply: true });
    let step: IteratorResult<MergePage, MergeSummary>;
    do step = await merging.next();
    while (!step.done);
  }

  /** On the bucket alone, beside whoever serves. */
  async #useTool(node: SimNode, host: Host, random: SimRandom): Promise<void> {
    const { repository } = host;
    const { requestTimeoutMs } = this.settings.branch;
    const tool = new OfflineBranches({
      store: this.storage.storeOf(node),
      runtime: node.runtime,
      repository,
      request: { timeoutMs: requestTimeoutMs },
      dataDirectory: null,
      graceMs: GRACE_MS,
      notices: this.#noticesOf(node),
    });
    const name = random.pick(this.#names);
    const kind = random.pick(["create", "create", "delete", "undelete"] as const);
    if (kind !== "create") await tool[kind](name);
    else await tool.create(newBranch(this.#newName(random), name, { kind: "newest" }, random));
    this.#count(`tool: ${kind}`);
  }

  async collect(node: SimNode, host: Host): Promise<void> {
    const { purged, expired } = await host.branches.sweep();
    this.done["purged"] = (this.done["purged"] ?? 0) + purged.length;
    this.done["expired"] = (this.done["expired"] ?? 0) + expired.length;
    const plain = this.storage.storeOf(node);
    const store = this.#changes.collectorStore?.(plain) ?? plain;
    const { requestTimeoutMs } = this.settings.branch;
    // No grace: it carries no safety.
    const options = { store, runtime: node.runtime, requestTimeoutMs, graceMs: -3_600_000, deletesPerSecond: 0 };
    await new Collector(options).collect();
  }

  #count(kind: string): void {
    this.done[kind] = (this.done[kind] ?? 0) + 1;
  }
}

const OPERATIONS = [
  "create",
  "create",
  "merge",
  "promote",
  "promote",
  "revoke",
  "delete",
  "undelete",
  "protect",
  "protect from writes",
  "users",
  "users",
  "retention",
  "restore",
] as const;
const FULL = ["delete", "delete", "promote", "merge", "users", "retention"] as const;

const newBranch = (name: string, from: string, moment: Moment, random: SimRandom): CreateBranch => ({
  ...{ name, from, moment },
  expiresInMs: random.chance(0.2) ? 6000 : null,
  stripAuth: random.chance(0.1),
  stripLeases: random.chance(0.1),
});

function momentOf(committed: number, nowMs: number, random: SimRandom): Moment {
  const draw = random.float();
  if (draw < 0.5) return { kind: "newest" };
  if (draw < 0.8) return { kind: "revision", revision: Math.max(1, committed - random.integer(0, 60)) };
  return { kind: "time", wallMs: nowMs - random.integer(0, 10_000) };
}

/** At most one database of a branch is open in a process, by whatever name. */
function heldOnce(host: Host): void {
  const open = host.open.filter(({ openState }) => openState !== null).map(({ id }) => id);
  equal(new Set(open).size, open.length, `a branch is open once: ${open}`);
}

/** What the program calls corrupt is never ordinary. */
export function ordinary(error: unknown): void {
  if (!isDbError(error) || error.kind === "corrupt") throw error;
}

export const sleep = (node: SimNode, ms: number): Promise<void> =>
  new Promise((resolve) => node.runtime.timers.set(ms, resolve));
