import { fromBinary } from "@bufbuild/protobuf";
import { isDbError } from "../../src/base/errors.ts";
import type { WatchMessage, WatchStream } from "../../src/engine/engine.ts";
import { Event_EventType, EventSchema, type KeyValue } from "../../src/gen/mvccpb/kv_pb.ts";
import { shownPair } from "../engine/naive-store.ts";
import type { Recorder } from "./database-calls.ts";
import { WAY_MS } from "./database-calls.ts";
import type { DatabaseNode } from "./database-node.ts";
import type { SeenEvent, WatchRun } from "./history.ts";
import type { SimRandom } from "./random.ts";
import type { Simulation } from "./simulation.ts";

const RANGES: readonly [string, string][] = [
  ["\0", "\0"],
  ["hot/", "hot0"],
  ["many/", "many0"],
  ["hot/3", ""],
  ["hot/2", "many/05"],
];

/**
 * A client that watches one range all the time: after each failure it goes on from the revision after the last that it
 * has seen.
 */
export class DatabaseWatcher {
  readonly #simulation: Simulation;
  readonly #recorder: Recorder;
  readonly #random: SimRandom;
  readonly #shape: Pick<WatchRun, "key" | "rangeEnd" | "prevKv" | "noPut" | "noDelete"> & { fragment: boolean };
  readonly #slow: boolean;
  readonly #name: string;
  #runs = 0;
  /** The first revision not yet seen; 0 before anything was. */
  #next: number;
  /** All up to here has been seen. */
  through = 0;

  /** `from`: watches everything from that revision on, instead of what the seed says. */
  constructor(simulation: Simulation, recorder: Recorder, name: string, options: { from?: number } = {}) {
    this.#simulation = simulation;
    this.#recorder = recorder;
    this.#name = name;
    const random = simulation.random.fork(name);
    this.#random = random;
    const [key, rangeEnd] = options.from === undefined ? random.pick(RANGES) : RANGES[0]!;
    const shape = { key, rangeEnd, prevKv: random.chance(0.6), fragment: random.chance(0.5) };
    const filtered = options.from === undefined && random.chance(0.2);
    this.#shape = { ...shape, noPut: filtered && random.chance(0.5), noDelete: filtered && random.chance(0.5) };
    this.#slow = random.chance(0.5);
    this.#next = options.from ?? random.pick([0, 1]);
  }

  /** Forgets what a lost disk has taken along. */
  lost(revision: number): void {
    this.#next = Math.min(this.#next, revision + 1);
    this.through = Math.min(this.through, revision);
  }

  /** Watches at a process for a while, or until the stream ends. Resolves when it is over. */
  watch(at: DatabaseNode, forMs: number): Promise<void> {
    const run: WatchRun = { name: `${this.#name}.${++this.#runs}`, start: this.#next, ...this.#shape, messages: [] };
    this.#recorder.watches.push(run);
    return new Promise((resolve) => {
      let open = true;
      const end = (): void => {
        open = false;
        resolve();
      };
      const mailbox = new Mailbox(this.#simulation, this.#random, (message) => {
        if (open && this.#take(run, message) === "over") end();
      });
      const { node } = at;
      if (!node.alive) return end();
      node.onKilled.push(end);
      const opened = { stream: null as WatchStream | null };
      this.#simulation.schedule(this.#random.latencyMs(WAY_MS), node, `${run.name} opens`, () => {
        try {
          const { database } = at;
          if (database === undefined) return end();
          opened.stream = this.#open(at, database.watch.bind(database), run, mailbox, end);
        } catch (error) {
          if (!isDbError(error)) throw error;
          end();
        }
      });
      this.#simulation.schedule(forMs, null, `${run.name} has seen enough`, () => {
        if (!open) return;
        end();
        this.#simulation.schedule(WAY_MS, node, `${run.name} closes`, () => opened.stream?.close());
      });
    });
  }

  #open(
    at: DatabaseNode,
    watch: (sink: { send(message: WatchMessage): boolean; fail(): void }) => WatchStream,
    run: WatchRun,
    mailbox: Mailbox,
    end: () => void,
  ): WatchStream {
    const { node } = at;
    const stream = watch({
      send: (message) => {
        mailbox.post(message);
        if (!this.#slow || message.kind !== "events" || this.#random.chance(0.7)) return true;
        const pauseMs = this.#random.between(0, this.#random.pick([50, 4000]));
        this.#simulation.schedule(pauseMs, node, `${run.name} takes more`, () => stream.resume());
        return false;
      },
      fail: () => this.#simulation.schedule(WAY_MS, null, `${run.name} fails`, end),
    });
    const again = (): void => {
      stream.progress();
      this.#simulation.schedule(2000, node, `${run.name} asks for progress`, again);
    };
    this.#simulation.schedule(1000, node, `${run.name} asks for progress`, again);
    stream.create({ ...this.#shape, startRevision: run.start, watchId: 0n, progressNotify: this.#random.chance(0.5) });
    return stream;
  }

  #take(run: WatchRun, message: WatchMessage): "goes on" | "over" {
    const at = this.#recorder.moment();
    switch (message.kind) {
      case "created":
        run.messages.push({ at, kind: "created", revision: message.revision });
        if (this.#next === 0) this.#next = message.revision + 1;
        return "goes on";
      case "canceled":
        run.messages.push({ at, kind: "canceled", compactRevision: message.compactRevision, reason: message.reason });
        this.#next = Math.max(this.#next, message.compactRevision);
        return "over";
      case "progress":
        run.messages.push({ at, kind: "progress", revision: message.revision });
        this.#seen(message.revision);
        return "goes on";
      case "events": {
        const { revision, more } = message;
        run.messages.push({ at, kind: "events", revision, more, events: message.events.map(seenEvent) });
        if (!more) this.#seen(revision);
        return "goes on";
      }
    }
  }

  #seen(revision: number): void {
    this.#next = Math.max(this.#next, revision + 1);
    this.through = Math.max(this.through, revision);
  }
}

/** Messages arrive in the order in which they were sent. */
class Mailbox {
  readonly #simulation: Simulation;
  readonly #random: SimRandom;
  readonly #take: (message: WatchMessage) => void;
  #lastMs = 0;

  constructor(simulation: Simulation, random: SimRandom, take: (message: WatchMessage) => void) {
    this.#simulation = simulation;
    this.#random = random;
    this.#take = take;
  }

  post(message: WatchMessage): void {
    const { nowMs } = this.#simulation;
    this.#lastMs = Math.max(this.#lastMs + 0.001, nowMs + this.#random.latencyMs(WAY_MS));
    this.#simulation.schedule(this.#lastMs - nowMs, null, "watch message", () => this.#take(message));
  }
}

function seenEvent(bytes: Uint8Array): SeenEvent {
  const event = fromBinary(EventSchema, bytes);
  const { kv, prevKv } = event;
  const key = Buffer.from(kv!.key).toString("latin1");
  const isPut = event.type === Event_EventType.PUT;
  return {
    key,
    pair: isPut ? shown(kv!) : null,
    mod: Number(kv!.modRevision),
    prev: prevKv === undefined ? null : shown(prevKv),
  };
}

const shown = (kv: KeyValue): string =>
  shownPair({
    key: Buffer.from(kv.key).toString("latin1"),
    create: Number(kv.createRevision),
    mod: Number(kv.modRevision),
    version: Number(kv.version),
    value: Buffer.from(kv.value).toString("latin1"),
    lease: kv.lease,
  });
