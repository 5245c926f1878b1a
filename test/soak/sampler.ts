import { setTimeout as sleep } from "node:timers/promises";
import type { ServerProcess } from "../faults/server.ts";
import { Counts } from "./counts.ts";
import { shown } from "./flat.ts";
import { Bucket, metricsOf, processOf, type Sample, treeOf } from "./samples.ts";

const EVERY_MS = 2000;
const MiB = 2 ** 20;

export interface SamplerOptions {
  readonly server: ServerProcess;
  readonly data: string;
  readonly bucket: string;
}

/** Looks every two seconds at the process, its directory and the bucket. */
export class Sampler {
  readonly samples: Sample[] = [];
  /** Over all lives of the process. */
  readonly totals = new Counts();
  /** Lines of its log, by their sentence. */
  readonly logged = new Counts();
  /** How often the process has been started. */
  life = 0;
  readonly #options: SamplerOptions;
  readonly #bucket: Bucket;
  #present = new Map<string, number>();
  #running: Promise<void> | null = null;
  #stopped = false;

  constructor(options: SamplerOptions) {
    this.#options = options;
    this.#bucket = new Bucket(options.bucket);
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
    this.gather();
  }

  /** At the end of a life: its counters, and what it said. */
  gather(): void {
    for (const [name, value] of this.#present) this.totals.add(name, value);
    this.#present = new Map();
    for (const line of this.#options.server.lines) {
      const match = /^\S+ (warn|error)\s+(.*?)(?: {2}|$)/.exec(line);
      if (match !== null) this.logged.add(`${match[1]} ${match[2]!.replaceAll(/\d+/g, "N")}`);
      else this.logged.add(`other: ${line.slice(0, 200).replaceAll(/\d+/g, "N")}`);
    }
  }

  async sample(): Promise<void> {
    const { server, data } = this.#options;
    const life = this.life;
    const { gauges, counters } = await metricsOf(server.url);
    const { pid } = server;
    // Between two lives, or while it starts, there is nothing to compare.
    if (pid === undefined || life !== this.life || counters.size === 0) return;
    this.#present = counters;
    const tree = treeOf(data);
    this.samples.push({
      atMs: performance.now(),
      life,
      ...processOf(pid),
      ...gauges,
      "data.files": tree.files,
      "data.MiB": tree.bytes / MiB,
      ...this.#bucket.look(),
    } as Sample);
  }

  newest(): { rssMiB: string; objects: string; mebibytes: string } {
    const last = this.samples.at(-1);
    return {
      rssMiB: shown(Math.round(last?.["process.rssMiB"] ?? 0)),
      objects: shown(last?.["bucket.objects"] ?? 0),
      mebibytes: shown((last?.["bucket.bytes"] ?? 0) / MiB),
    };
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await this.sample();
      await sleep(EVERY_MS);
    }
  }
}
