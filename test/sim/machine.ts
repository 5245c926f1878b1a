import { assert } from "../../src/base/assert.ts";
import { SimNode } from "./node.ts";
import type { SimRandom } from "./random.ts";
import { type Simulation, START_WALL_MS } from "./simulation.ts";
import { Volume } from "./volume.ts";

export interface MachineOptions {
  /** How fast its clocks go: 1.001 gains a millisecond a second. */
  clockRate?: number;
  /** What its wall clock is ahead of the true time. */
  wallAheadMs?: number;
  fileSystem?: string;
  diskBytesMax?: number;
}

/** What goes wrong with a disk; each a probability of one operation. A scenario changes them as it goes. */
export interface DiskFaults {
  readError: number;
  writeError: number;
  /** The kernel drops what it could not write: a later sync succeeds and does not bring it back. */
  syncError: number;
}

/** A computer: clocks, a disk, a kernel that boots; processes start on it and die. */
export class SimMachine {
  readonly simulation: Simulation;
  readonly name: string;
  readonly random: SimRandom;
  readonly volume: Volume;
  readonly diskFaults: DiskFaults = { readError: 0, writeError: 0, syncError: 0 };
  /** Time of a typical disk operation. By the seed: from a fast SSD to a slow network disk. */
  readonly diskMs: number;
  /** The part of writes that is done before `write` returns. */
  readonly diskBlocking: number;
  readonly fileSystem: string;
  readonly #clockRate: number;
  #wallAheadMs: number;
  #bootedMs: number;
  #bootId: string;
  #starts = 0;
  #node: SimNode[] = [];

  constructor(simulation: Simulation, name: string, options: MachineOptions) {
    this.simulation = simulation;
    this.name = name;
    this.random = simulation.random.fork(`machine ${name}`);
    this.diskMs = this.random.pick([0.05, 0.1, 1, 8]);
    this.diskBlocking = this.random.pick([0, 0.5, 1]);
    this.fileSystem = options.fileSystem ?? "ext";
    this.volume = new Volume(this.random.fork("volume"), {
      bytesMax: options.diskBytesMax ?? Number.MAX_SAFE_INTEGER,
      wallMs: () => this.wallMs(),
    });
    this.#clockRate = options.clockRate ?? 1;
    this.#wallAheadMs = options.wallAheadMs ?? 0;
    this.#bootedMs = simulation.nowMs - this.random.between(0, 1e7);
    this.#bootId = this.random.bytes(16).toString("hex");
  }

  get bootId(): string {
    return this.#bootId;
  }

  /** The processes that live. */
  get nodes(): readonly SimNode[] {
    return this.#node.filter((node) => node.alive);
  }

  /** Starts a process; several may run side by side. */
  start(): SimNode {
    const node = new SimNode(this, `${this.name}#${++this.#starts}`);
    this.#node = [...this.nodes, node];
    this.simulation.note(node.name, "started");
    return node;
  }

  /**
   * The power fails: all processes end, the disk keeps what was synced and, by the seed, some of the rest. Up again at
   * once, in a new boot.
   */
  crash(): void {
    this.simulation.note(this.name, "crash");
    for (const node of this.nodes) node.losePower();
    this.#node = [];
    this.volume.crash();
    this.#bootId = this.random.bytes(16).toString("hex");
    this.#bootedMs = this.simulation.nowMs;
  }

  monotonicMs(): number {
    return (this.simulation.nowMs - this.#bootedMs) * this.#clockRate;
  }

  wallMs(): number {
    return Math.floor(START_WALL_MS + this.#wallAheadMs + this.simulation.nowMs * this.#clockRate);
  }

  /** Somebody sets the wall clock. */
  jumpWallClock(byMs: number): void {
    assert(Number.isFinite(byMs), "a jump is a number of milliseconds");
    this.simulation.note(this.name, `wall clock jumps by ${byMs} ms`);
    this.#wallAheadMs += byMs;
  }

  /** True time that passes while this machine's clocks count `localMs`. */
  trueMs(localMs: number): number {
    return localMs / this.#clockRate;
  }
}
