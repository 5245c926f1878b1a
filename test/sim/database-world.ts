import { deepEqual, ok } from "node:assert/strict";
import { branchId } from "../../src/base/ids.ts";
import { parseKey } from "../../src/objects/keys.ts";
import { MemoryBucket, MemoryStore } from "../../src/objects/memory.ts";
import { ReadOnlyStore } from "../../src/objects/read-only.ts";
import { verifyRepository } from "../../src/readers/verify.ts";
import { everything, range } from "../engine/requests.ts";
import { Caller, Recorder } from "./database-calls.ts";
import { type Changes, DatabaseNode, type NodeSettings, smallSettings } from "./database-node.ts";
import { type Known, Requests } from "./database-requests.ts";
import { trouble } from "./database-trouble.ts";
import { trueRecords } from "./database-truth.ts";
import { DatabaseWatcher } from "./database-watcher.ts";
import type { Call, ClientRequest, History, TrueRecord } from "./history.ts";
import type { SimMachine } from "./machine.ts";
import { noStoreFaults, SimStorage, someStoreFaults } from "./object-store.ts";
import type { SimRandom } from "./random.ts";
import type { Story } from "./scenario-database.ts";
import { SettingsKeeper } from "./settings-keeper.ts";
import type { Simulation } from "./simulation.ts";

const CLIENTS = 4;
const WATCHERS = 3;
/** A process that ended by itself is started again after so long. */
const RESTART_MS = 3000;

/** A machine, and the process that runs on it when all is well. */
export interface Place {
  machine: SimMachine;
  node: DatabaseNode | null;
  forced: boolean;
}

export class DatabaseWorld {
  readonly simulation: Simulation;
  readonly story: Story;
  readonly random: SimRandom;
  readonly storage: SimStorage;
  readonly recorder: Recorder;
  readonly places: Place[] = [];
  leasesInTheEnd: bigint[] = [];
  settledMs = 0;
  readonly #changes: Changes;
  readonly #caller: Caller;
  readonly #known: Known = { revision: 1, leases: [], leasesMade: 0 };
  readonly #watchers: DatabaseWatcher[] = [];
  readonly #settings: NodeSettings;
  #clientsRun = true;
  #watchersRun = true;
  #running: Promise<void>[] = [];
  /** Calls that were answered since all was healed, by client. */
  readonly #succeeded = new Array<number>(CLIENTS).fill(0);
  #machines = 0;
  #stopping = false;
  /** Clients wait for better times. */
  #paused = false;
  /** All clients ask this one. */
  #asked: DatabaseNode | null = null;
  #loss: History["loss"] = null;
  readonly #keeper: SettingsKeeper | null;
  #keeping: Promise<void> = Promise.resolve();

  /** `settings`: users, roles, alarms and members are changed, too. */
  constructor(simulation: Simulation, story: Story, { changes, settings }: { changes: Changes; settings: boolean }) {
    this.simulation = simulation;
    this.story = story;
    this.#changes = changes;
    this.random = simulation.random.fork("world");
    this.storage = new SimStorage(simulation);
    this.recorder = new Recorder(simulation);
    this.#caller = new Caller(simulation, this.recorder);
    const probe = this.storage.storeOf(simulation.machine("nobody").start());
    const durability = story === "local" ? "local" : "object";
    const anyNode = (random: SimRandom) => this.#anyNode(random);
    const call = (at: DatabaseNode, request: ClientRequest) => this.#call(at, request);
    this.#keeper = settings ? new SettingsKeeper(simulation, { anyNode, call }) : null;
    const { typicalMs } = this.storage;
    this.#settings = smallSettings(this.random.fork("settings"), { store: probe, typicalMs, durability });
  }

  /** Resolves when somebody leads: the test of a store, which is many requests, takes its time where each may fail. */
  async begin(): Promise<void> {
    this.simulation.note("world", JSON.stringify({ ...this.#settings, typicalMs: this.storage.typicalMs }));
    for (let n = 0; n < (this.story === "object" ? 1 : 2); n++) this.#startAnew();
    for (let n = 0; n < CLIENTS; n++) this.#running.push(this.#client(n));
    for (let n = 0; n < WATCHERS; n++) {
      const watcher = new DatabaseWatcher(this.simulation, this.recorder, `watcher ${n}`);
      this.#watchers.push(watcher);
      this.#running.push(this.#watch(watcher));
    }
    for (let n = 0; n < 600 && this.leading.length === 0; n++) await this.simulation.sleep(100);
    ok(this.leading.length === 1, "with nothing in the way somebody leads");
    if (this.#keeper !== null) this.#keeping = this.#keeper.run();
  }

  trouble(durationMs: number): Promise<void> {
    if (this.random.chance(0.8))
      Object.assign(this.storage.faults, { ...someStoreFaults, silence: 0.01, late: 0.02, slowMsMax: 1000 });
    return trouble(this, durationMs);
  }

  // --- processes ---

  /** Another machine, with an empty disk. */
  #startAnew(forced = false): Place {
    const name = String.fromCharCode("a".charCodeAt(0) + this.#machines++);
    const random = this.random.fork(`clock of ${name}`);
    const machine = this.simulation.machine(name, {
      clockRate: random.pick([0.999, 1, 1.001]),
      wallAheadMs: random.between(-10_000, 10_000),
    });
    const place: Place = { machine, node: null, forced };
    this.places.push(place);
    this.start(place);
    return place;
  }

  /** Starts the program where no process runs; one that ends by itself is started again. */
  start(place: Place): void {
    if (this.#stopping || !this.places.includes(place) || place.machine.nodes.length > 0) return;
    const options = { settings: this.#settings, changes: this.#changes, forceTakeover: place.forced };
    place.node = new DatabaseNode(place.machine, this.storage, options);
    place.node.node.onKilled.push(() => this.simulation.schedule(RESTART_MS, null, "restart", () => this.start(place)));
  }

  /** The machine is gone for ever; another one takes its place. */
  replace(place: Place): void {
    place.machine.crash();
    this.places.splice(this.places.indexOf(place), 1);
    this.#startAnew();
  }

  get leading(): Place[] {
    return this.places.filter(({ node }) => node?.isOpen);
  }

  // --- clients ---

  async #client(index: number): Promise<void> {
    const random = this.random.fork(`client ${index}`);
    const requests = new Requests(random, this.#known);
    const paceMs = random.pick([5, 40, 200]);
    let at = this.places[0]!.node!;
    while (this.#clientsRun) {
      await this.simulation.sleep(this.#paused ? 5000 : random.between(0, random.chance(0.05) ? 1000 : paceMs));
      if (this.#paused) continue;
      if (!at.node.alive || random.chance(0.1)) at = this.#anyNode(random) ?? at;
      if (this.#asked !== null && random.chance(0.7)) at = this.#asked;
      const call = await this.#call(at, requests.next(this.recorder.nextCall));
      if (call.outcome.kind === "answered" || call.outcome.kind === "refused") this.#succeeded[index]!++;
      else {
        at = this.#anyNode(random) ?? at;
        await this.simulation.sleep(random.between(0, 400));
      }
    }
  }

  #anyNode(random: SimRandom): DatabaseNode | null {
    const nodes = this.places.flatMap(({ node }) => (node?.node.alive ? [node] : []));
    return nodes.length === 0 ? null : random.pick(nodes);
  }

  async #call(at: DatabaseNode, request: ClientRequest): Promise<Call> {
    const call = await this.#caller.call(at, request);
    const { outcome } = call;
    if (outcome.kind !== "answered") return call;
    this.#known.revision = Math.max(this.#known.revision, outcome.revision);
    if (request.kind === "grant") {
      this.#known.leases.push(request.id);
      if (this.#known.leases.length > 8) this.#known.leases.shift();
    }
    return call;
  }

  async #watch(watcher: DatabaseWatcher): Promise<void> {
    const random = this.random.fork("watching");
    while (this.#watchersRun) {
      const node = this.#paused ? null : this.#anyNode(random);
      if (node !== null) await watcher.watch(node, random.between(100, random.pick([1000, 30_000])));
      await this.simulation.sleep(this.#paused ? 10_000 : random.between(0, 300));
    }
  }

  // --- the end ---

  heal(): void {
    this.simulation.note("world", "all is healed");
    Object.assign(this.storage.faults, noStoreFaults);
  }

  /** With everything healed every client succeeds before long. */
  async allSucceed(withinMs: number): Promise<void> {
    this.#succeeded.fill(0);
    const endMs = this.simulation.nowMs + withinMs;
    while (Math.min(...this.#succeeded) < 10 && this.simulation.nowMs < endMs) await this.simulation.sleep(100);
    ok(
      Math.min(...this.#succeeded) >= 10,
      `with everything healed clients succeed: ${this.#succeeded} calls in ${withinMs} ms`,
    );
    await this.simulation.sleep(3000);
  }

  /** No more calls; leases run out, watchers get to the end. */
  async settle(durationMs: number): Promise<void> {
    this.#clientsRun = false;
    this.#keeper?.stop();
    await this.simulation.sleep(durationMs);
    await this.#keeping;
    if (this.#keeper !== null) ok(this.#keeper.changes > 0, "settings were changed");
    const [leader] = this.leading;
    ok(leader !== undefined, "somebody leads");
    const leases = await this.#answered(leader.node!, { kind: "leases" });
    this.leasesInTheEnd = (JSON.parse(leases.answer) as { ids: string[] }).ids.map(BigInt);
    this.settledMs = this.simulation.nowMs;
    const { revision } = leases;
    for (let n = 0; n < 30 && this.#watchers.some(({ through }) => through < revision); n++)
      await this.simulation.sleep(1000);
    deepEqual(
      this.#watchers.map(({ through }) => Math.min(through, revision)),
      this.#watchers.map(() => revision),
      "every watcher gets to the end",
    );
    this.#watchersRun = false;
  }

  async #answered(at: DatabaseNode, request: ClientRequest): Promise<{ answer: string; revision: number; call: Call }> {
    const call = await this.#call(at, request);
    const { outcome } = call;
    if (outcome.kind !== "answered") throw new Error(`${request.kind} at ${at.node.name}: ${JSON.stringify(outcome)}`);
    return { answer: outcome.answer, revision: outcome.revision, call };
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    for (const { node } of this.places) {
      if (node === null || !node.node.alive) continue;
      const led = node.isOpen;
      const clean = await node.stop();
      ok(clean || !led, `${node.node.name} stops cleanly`);
    }
    await this.simulation.sleep(30_000);
    await Promise.all(this.#running);
  }

  /** A node with an empty disk on a copy of the bucket answers everything as the history says. */
  async rebuild(): Promise<void> {
    const copy = new SimStorage(this.simulation);
    for (const [key, { body }] of this.storage.bucket.objects)
      copy.bucket.put(key, body, { kind: "none" }, { atMs: this.simulation.nowMs, by: "copy", wallMs: copy.wallMs() });
    const fresh = new DatabaseNode(this.simulation.machine("fresh"), copy, { settings: this.#settings });
    for (let n = 0; n < 100 && !fresh.isOpen && fresh.node.alive; n++) await this.simulation.sleep(100);
    ok(fresh.isOpen, `a fresh node opens a copy of the bucket: ${fresh.refused}`);
    const { revision } = await this.#answered(fresh, range(...everything));
    const compacted = fresh.database!.status().compactRevision;
    for (let at = Math.max(1, compacted); at <= revision; at += Math.ceil((revision - compacted) / 40)) {
      await this.#answered(fresh, range(...everything, { revision: at }));
      await this.#answered(fresh, range("many/0", "many/1", { revision: at, countOnly: true }));
    }
    if (compacted > 1) await this.#call(fresh, range(...everything, { revision: compacted - 1 }));
    await this.#answered(fresh, { kind: "leases" });
    for (const id of this.#known.leases) await this.#answered(fresh, { kind: "timeToLive", id, keys: true });
    await this.#keeper?.check(fresh.database!);
    await this.#readHistory(fresh, Math.max(1, compacted), revision);
    await this.#verify(fresh);
  }

  /** Every object of the bucket is whole and fits the others; of what is named nothing is missing. */
  async #verify(reader: DatabaseNode): Promise<void> {
    const bucket = new MemoryBucket();
    for (const [key, { body, etag, modifiedMs }] of this.storage.bucket.objects) {
      bucket.set(key, { body, etag, modifiedMs });
    }
    const { runtime } = reader.node;
    const store = new ReadOnlyStore(new MemoryStore(runtime, bucket));
    const options = { store, runtime, request: { timeoutMs: 60_000 }, quick: false, onProgress: () => {} };
    const { findings, branches } = await verifyRepository(options);
    deepEqual(findings.faults, [], "the bucket has no faults");
    ok(branches.length > 0 && branches.every(({ segments }) => segments > 0), "what was verified is there");
  }

  async #readHistory(fresh: DatabaseNode, from: number, to: number): Promise<void> {
    const watcher = new DatabaseWatcher(this.simulation, this.recorder, "watcher of the rebuilt", { from });
    void watcher.watch(fresh, 60_000);
    for (let n = 0; n < 60 && watcher.through < to; n++) await this.simulation.sleep(1000);
    ok(watcher.through >= to, "the history is there to its end");
  }

  // --- takeover: the leader stalls for hours ---

  /** Somebody else leads meanwhile; when it wakes, its clients ask it at once. */
  async stallLong(): Promise<void> {
    for (let n = 0; n < 300 && this.leading.length === 0; n++) await this.simulation.sleep(100);
    const [stalled] = this.leading;
    ok(stalled !== undefined, "somebody leads");
    const { node } = stalled.node!;
    node.stall();
    await this.simulation.sleep(this.random.between(8000, 20_000));
    this.#paused = true;
    await this.simulation.sleep(this.random.between(0, this.random.pick([60_000, 3_600_000])));
    this.#paused = false;
    await this.simulation.sleep(this.random.between(5000, 12_000));
    node.resume();
    this.#asked = stalled.node;
    await this.simulation.sleep(200);
    this.#asked = null;
  }

  // --- local: the disk is lost ---

  /** Every disk that has led is lost. Another node is refused; forced, it serves what was uploaded. */
  async loseDisk(): Promise<void> {
    this.simulation.note("world", "all disks are lost");
    this.#keeper?.lost();
    const uploaded = this.#records().length;
    for (const place of [...this.places]) {
      place.machine.crash();
      this.places.splice(this.places.indexOf(place), 1);
    }
    // What the lost ones had answered has arrived by then.
    await this.simulation.sleep(100);
    const at = this.recorder.moment();

    const other = this.#startAnew();
    await this.simulation.sleep(20_000);
    // What was given up cleanly may be led by anyone, and has lost nothing.
    if (this.leading.includes(other)) return;
    ok(other.node!.refused === null || /force-takeover/.test(other.node!.refused), `${other.node!.refused}`);
    other.forced = true;
    for (let n = 0; n < 600 && !this.leading.includes(other); n++) await this.simulation.sleep(100);
    ok(this.leading.includes(other), `forced, another node leads: ${other.node!.refused}`);
    other.forced = false;
    // What was under way may have come to the bucket before the other one's fence.
    const forced = other.node!.database!.epoch;
    const kept = this.#records().filter(({ epoch }) => epoch < forced);
    ok(kept.length >= uploaded, `${uploaded} records were uploaded, ${kept.length} are kept`);
    const revision = kept.at(-1)?.revision ?? 1;
    this.#loss = { at, revision };
    for (const watcher of this.#watchers) watcher.lost(revision);
    this.#known.revision = revision;
  }

  #records(): TrueRecord[] {
    for (const key of this.storage.bucket.objects.keys()) {
      const name = parseKey(key);
      if (name?.kind === "leader") return trueRecords(this.storage.bucket, branchId(name.branch));
    }
    return [];
  }

  history(): History {
    const { calls, watches } = this.recorder;
    return { calls, watches, records: this.#records(), loss: this.#loss };
  }
}
