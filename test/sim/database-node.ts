import { isDbError } from "../../src/base/errors.ts";
import { BackgroundCollector } from "../../src/collector/background.ts";
import { Collector } from "../../src/collector/collector.ts";
import type { Database } from "../../src/engine/engine.ts";
import { defaultBranchSetSettings } from "../../src/engine/host/branch-set.ts";
import { defaultHostSettings } from "../../src/engine/host/default-settings.ts";
import { Host, type HostOptions } from "../../src/engine/host/host.ts";
import type { Notices } from "../../src/engine/host/notices.ts";
import type { ServedBranch } from "../../src/engine/host/served-branch.ts";
import type { ObjectStore } from "../../src/objects/objects.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import type { SimMachine } from "./machine.ts";
import type { SimNode } from "./node.ts";
import type { SimStorage } from "./object-store.ts";
import type { SimRandom } from "./random.ts";

const DIRECTORY = "/data";
export const CACHE_DIRECTORY = `${DIRECTORY}/cache`;
const STOP_MS = 20_000;
const COLLECT_MS = 5_000;
export const WINDOW = 4;

/** What a simulated program may be given other than what is right: for mutants. */
export interface Changes {
  store?: (store: ObjectStore, node: SimNode) => ObjectStore;
  runtime?: (runtime: Runtime) => Runtime;
  /** Called when the run is over, before anything is judged. */
  mend?: () => void;
}

export type NodeSettings = Pick<HostOptions, "cacheBytes" | "diskCache" | "session" | "branch">;

/** Everything small and short, by the seed, so that flushes, merges, checkpoints and openings happen all the time. */
export function smallSettings(
  random: SimRandom,
  { store, typicalMs, durability }: { store: ObjectStore; typicalMs: number; durability: "object" | "local" },
): NodeSettings {
  const { branch } = defaultHostSettings(store);
  // The test of the store at the start is many requests within this time.
  const requestTimeoutMs = typicalMs < 20 ? random.pick([1000, 3000]) : random.pick([4000, 8000]);
  const uploadBytes = random.pick([2 << 10, 16 << 10]);
  const alone = random.pick([
    { termMs: 2000, renewalMs: 700 },
    { termMs: 6000, renewalMs: 2000 },
  ]);
  return {
    cacheBytes: random.pick([16 << 10, 1 << 20]),
    diskCache: random
      .fork("disk cache")
      .pick([
        null,
        { bytesMax: 100_000, pieceBytes: 2000, piecesPerFile: 10 },
        { bytesMax: 1 << 20, pieceBytes: 8 << 10, piecesPerFile: 16 },
      ]),
    session: {
      alone,
      challenged: { termMs: 1000, renewalMs: 300 },
      marginMs: 100,
      challengeMs: 10_000,
      requestTimeoutMs,
    },
    branch: {
      requestTimeoutMs,
      leadership: {
        ...branch.leadership,
        durabilityDefault: durability,
        readProof: random.pick(["term", "bucket"]),
        requestTimeoutMs,
      },
      log: {
        ...branch.log,
        segmentBytes: random.pick([500, 8000]),
        segmentAgeMs: random.pick([2, 20]),
        putIntervalMinMs: random.pick([0, 0, 50]),
        uploadAgeMs: random.pick([50, 1000, 4000]),
        uploadBytes,
        uploadBytesMax: uploadBytes * random.pick([2, 16]),
        requestTimeoutMs,
      },
      tree: {
        tableBytes: random.pick([4 << 10, 32 << 10]),
        blockBytes: random.pick([400, 2000]),
        runsMax: random.pick([2, 4]),
        runsHardMax: 8,
        mergeInputsMax: random.pick([2, 4]),
        levelBytes: random.pick([8 << 10, 64 << 10]),
        levelRatio: random.pick([2, 10]),
        mergeBytesMax: random.pick([32 << 10, 1 << 20]),
        sortWindowBytes: random.pick([2000, 64 << 10]),
        requestTimeoutMs,
        putTimeoutMs: 2 * requestTimeoutMs,
      },
      retention: {
        logMs: random.pick([3000, 20_000]),
        tiers: [{ ageMs: random.pick([2000, 20_000]), everyMs: random.pick([0, 3000]) }],
        checkpointsMax: random.pick([2, 10]),
      },
      checkpointer: {
        memtableBytes: random.pick([8 << 10, 32 << 10]),
        logBytes: random.pick([16 << 10, 256 << 10]),
        logSegments: 200,
        intervalMs: random.pick([2000, 15_000]),
      },
      engine: { ...branch.engine, requestTimeoutMs: random.pick([2000, 5000]) },
      watch: {
        ...branch.watch,
        progressIntervalMs: 3000,
        fragmentBytes: 2000,
        recent: { revisionsMax: random.pick([4, 200]), bytesMax: 64 << 10 },
        readsMax: random.pick([1, 4]),
      },
    },
  };
}

export interface StartOptions {
  readonly settings: NodeSettings;
  readonly changes?: Changes;
  readonly forceTakeover?: boolean;
}

/** One process of the database: as `t4 run` does it, but for the ports. Ends itself where that does. */
export class DatabaseNode {
  readonly node: SimNode;
  /** Why the process has ended by itself; null while it has not. */
  refused: string | null = null;
  #host: Host | null = null;
  #branch: ServedBranch | null = null;
  #collector: BackgroundCollector | null = null;

  constructor(machine: SimMachine, storage: SimStorage, options: StartOptions) {
    this.node = machine.start();
    const { changes = {}, settings } = options;
    const plain = storage.storeOf(this.node);
    const store = changes.store?.(plain, this.node) ?? plain;
    const runtime = changes.runtime?.(this.node.runtime) ?? this.node.runtime;
    const { branch } = settings;
    const leadership = { ...branch.leadership, forceTakeover: options.forceTakeover === true };
    void this.#run({
      runtime,
      store,
      dataDirectory: DIRECTORY,
      name: null,
      window: WINDOW,
      cacheBytes: settings.cacheBytes,
      diskCache: settings.diskCache,
      session: settings.session,
      branch: { ...branch, leadership },
      branches: defaultBranchSetSettings,
      notices: this.#notices(),
    });
  }

  async #run(options: HostOptions): Promise<void> {
    try {
      this.#host = await Host.open(options);
      this.#branch = await this.#host.serve("main");
      await this.#branch.opened();
      this.#collector = this.#collecting(options);
    } catch (error) {
      if (!isDbError(error)) throw error;
      this.refused = `${error.kind}: ${error.message}`;
      this.node.simulation.note(this.node.name, `ends: ${this.refused}`);
      this.node.kill();
    }
  }

  /** All the time, and without a grace: that carries no safety. */
  #collecting({ store, runtime, branch }: HostOptions): BackgroundCollector {
    const { requestTimeoutMs } = branch;
    const collector = new Collector({ store, runtime, requestTimeoutMs, graceMs: -3_600_000, deletesPerSecond: 200 });
    const leads = (): boolean => this.isOpen;
    return new BackgroundCollector({ collector, runtime, intervalMs: COLLECT_MS, leads, tell: this.#notices() });
  }

  /** Throws `noLeader` and the like; undefined before there is anything to ask. */
  get database(): Database | undefined {
    return this.#branch?.database;
  }

  get isOpen(): boolean {
    return this.node.alive && this.#branch !== null && this.#branch.failure === null;
  }

  checkpoint(): void {
    void this.#branch?.checkpoint();
  }

  /** A clean stop, as by SIGTERM, after which the process has ended; resolves with whether it was clean. */
  stop(): Promise<boolean> {
    const { node } = this;
    if (!node.alive) return Promise.resolve(false);
    return new Promise((resolve) => {
      node.onKilled.push(() => resolve(false));
      node.simulation.schedule(0, node, "SIGTERM", () => {
        void this.#close().then((clean) => {
          resolve(clean);
          node.kill();
        });
      });
    });
  }

  async #close(): Promise<boolean> {
    const ended = new AbortController();
    this.node.runtime.timers.set(STOP_MS, () => ended.abort());
    try {
      await this.#collector?.close();
      await this.#host?.close(ended.signal);
      return this.#host !== null;
    } catch (error) {
      if (!isDbError(error)) throw error;
      this.node.simulation.note(this.node.name, `did not stop cleanly: ${error.kind}: ${error.message}`);
      return false;
    }
  }

  #notices(): Notices {
    const tell = (sentence: string, facts?: Readonly<Record<string, unknown>>): void =>
      this.node.simulation.note(
        this.node.name,
        `says: ${sentence} ${facts === undefined ? "" : JSON.stringify(facts)}`,
      );
    // Nobody waits for it: so it ends the run.
    const bug = (cause: unknown) => void Promise.reject(cause);
    return { debug: tell, info: tell, warn: tell, error: tell, bug };
  }
}
