import { spawn } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { assert } from "../../src/base/assert.ts";
import { freePort } from "../contract/free-port.ts";
import { type S3Server, startS3Server, storeUrlOf } from "../contract/s3-server.ts";
import { root, ServerProcess } from "../faults/server.ts";
import { boundsOf } from "./bounds.ts";
import { check, type Fingerprint, untilNoLeases, untilQuiet } from "./checks.ts";
import { type Flatness, judge } from "./flat.ts";
import { SoakLoad } from "./load.ts";
import { SeededRandom } from "./random.ts";
import { Sampler } from "./sampler.ts";
import { type Sample, treeOf } from "./samples.ts";
import type { Upkeep } from "./upkeep.ts";
import { Witness } from "./witness.ts";

export interface SoakOptions {
  readonly directory: string;
  readonly durability: "local" | "object";
  readonly minutes: number;
  readonly seed: number;
  /** Keys of the load; the rest of the load follows from it. */
  readonly keys: number;
  readonly workers: number;
  readonly pauseMs: number;
  readonly log: (line: string) => void;
}

export interface SoakResult {
  readonly durability: string;
  readonly seed: number;
  readonly minutes: number;
  readonly rounds: number;
  readonly revision: number;
  readonly acknowledged: number;
  readonly observed: number;
  readonly startMsMax: number;
  readonly fates: Record<string, number>;
  readonly done: Record<string, number>;
  /** Errors while nothing was broken on purpose. */
  readonly refused: Record<string, number>;
  /** And while something was. */
  readonly broken: Record<string, number>;
  readonly totals: Record<string, number>;
  readonly logged: Record<string, number>;
  readonly flat: readonly Flatness[];
  readonly faults: readonly string[];
  readonly samples: readonly Sample[];
}

/** How a round ends. */
type Fate = "goes on" | "kill -9" | "kill -9, disk lost" | "SIGTERM" | "SIGTERM, then kill -9" | "kill -9 twice";

const fates: Record<"local" | "object", Partial<Record<Fate, number>>> = {
  local: { "goes on": 12, "kill -9": 55, SIGTERM: 15, "SIGTERM, then kill -9": 8, "kill -9 twice": 10 },
  object: {
    "goes on": 10,
    "kill -9": 42,
    "kill -9, disk lost": 17,
    SIGTERM: 13,
    "SIGTERM, then kill -9": 8,
    "kill -9 twice": 10,
  },
};
const upkeeps: readonly (readonly [Upkeep, number])[] = [
  ["compact", 0.65],
  ["defragment", 0.07],
  ["snapshot", 0.1],
  ["status", 0.5],
];
/** The second half of the run, and not its end, is one life of the process: what leaks shows there. */
const LONG_LIFE_FROM = 0.5;
const LONG_LIFE_TO = 0.88;
const START_MS_MAX = 180_000;
const ERRORS_THAT_MAY_BE = [
  // Back-pressure, and a lease that a slow machine did not put under in time.
  /too many requests/,
  /requested lease not found/,
];

/** A machine that does much else: so many of the calls may find no answer in time, whatever the reason. */
const TIMEOUT = /request timed out|no answer within/;
const TIMEOUTS_SHARE_MAX = 1 / 1000;

/** Everything small, so that merging, checkpoints, eviction, thinning and collection are always under way. */
const settings = [
  "--memtable-bytes=1MiB",
  "--cache-memory-bytes=2MiB",
  "--cache-disk-bytes=6MiB",
  "--checkpoint-interval=3s",
  "--retain-log=10s",
  "--retain-checkpoints=20s:all,2m:minutely",
  "--collect-interval=4s",
  "--collect-grace=2s",
  "--session-term=6s",
];

/** One run, from an empty repository to the final table; faults are told in the result, not thrown. */
export async function soak(options: SoakOptions): Promise<SoakResult> {
  const s3 = options.durability === "object" ? await startS3Server() : null;
  const run = new Soak(options, s3, await freePort());
  try {
    return await run.play();
  } finally {
    await run.end();
    await s3?.stop();
  }
}

class Soak {
  readonly #options: SoakOptions;
  readonly #s3: S3Server | null;
  readonly #store: string;
  readonly #bucket: string;
  readonly #data: string;
  readonly #server: ServerProcess;
  readonly #random: SeededRandom;
  readonly #witness: Witness;
  readonly #sampler: Sampler;
  readonly #fates = new Map<string, number>();
  readonly #besides = new Set<Promise<void>>();
  readonly #begunMs = performance.now();
  #fingerprint: Fingerprint | null = null;
  #startMsMax = 0;
  #rounds = 0;
  #longLife = 0;
  /** What does not hold. The first one ends the run, but what was measured is told. */
  readonly #faults: string[] = [];

  constructor(options: SoakOptions, s3: S3Server | null, port: number) {
    this.#options = options;
    this.#s3 = s3;
    this.#data = join(options.directory, "data");
    const store = join(options.directory, "store");
    mkdirSync(options.directory, { recursive: true });
    this.#store = s3 === null ? `file://${store}` : storeUrlOf(s3);
    this.#bucket = s3 === null ? store : join(s3.directory, s3.bucket, "t4");
    this.#random = new SeededRandom(options.seed);
    this.#witness = new Witness(options.log);
    const args = [`--data-dir=${this.#data}`, `--store=${this.#store}`, `--durability=${options.durability}`];
    this.#server = new ServerProcess({ port, args: [...args, ...settings], ...(s3 === null ? {} : { env: s3.env }) });
    this.#sampler = new Sampler({ server: this.#server, data: this.#data, bucket: this.#bucket });
  }

  async play(): Promise<SoakResult> {
    try {
      await this.#start();
      this.#sampler.start();
      while (this.#share() < 1) await this.#round();
      await this.#ending();
    } catch (error) {
      this.#faults.push(String(error instanceof Error ? error.stack : error));
    }
    await this.#sampler.stop();
    return this.#result();
  }

  async end(): Promise<void> {
    await this.#server.stop("SIGKILL");
    await Promise.all(this.#besides);
    rmSync(this.#options.directory, { recursive: true, force: true });
  }

  /** Of the time that was asked for, how much is over. */
  #share(): number {
    return (performance.now() - this.#begunMs) / (this.#options.minutes * 60_000);
  }

  async #start(): Promise<void> {
    this.#sampler.life++;
    const startMs = await this.#server.start([], START_MS_MAX);
    this.#startMsMax = Math.max(this.#startMsMax, startMs);
  }

  async #round(): Promise<void> {
    const random = this.#random;
    const isLong = this.#share() >= LONG_LIFE_FROM && this.#share() < LONG_LIFE_TO;
    if (isLong) this.#longLife ||= this.#sampler.life;
    const fate = isLong ? "goes on" : random.choose(fates[this.#options.durability] as Record<Fate, number>);
    const lastsMs = Math.min(4 + 2 * this.#options.minutes, isLong ? 20 : 15) * 1000 * (0.1 + 0.9 * random.next());
    this.#witness.trouble = false;
    const load = new SoakLoad({
      endpoint: this.#server.endpoint,
      witness: this.#witness,
      random,
      space: { keys: this.#options.keys, valueBytesMean: 1800 },
      round: this.#rounds,
      workers: this.#options.workers,
      pauseMs: this.#options.pauseMs,
      upkeep: upkeeps.filter(([, probability]) => random.chance(probability)).map(([what]) => what),
    });
    if (random.chance(0.12)) this.#beside(random.chance(0.5) ? ["verify"] : ["verify", "--quick"]);
    if (random.chance(0.08)) this.#beside(["gc", "--collect-grace", "0", "--rate", "0"]);
    const untilMs = performance.now() + lastsMs;
    if (this.#s3 !== null && !isLong && random.chance(0.1)) await this.#pauseStore(this.#s3);
    while (performance.now() < untilMs && !load.hasFailed) await sleep(Math.min(50, untilMs - performance.now() + 1));
    await this.#meet(fate, load);
    const whole = fate === "kill -9, disk lost" || random.chance(0.25);
    const { endpoint } = this.#server;
    this.#fingerprint = await check({ endpoint, witness: this.#witness, random, whole, before: this.#fingerprint });
    if (fate === "goes on") await untilQuiet(this.#server.url);
    this.#rounds++;
    this.#fates.set(fate, (this.#fates.get(fate) ?? 0) + 1);
    this.#progress(fate);
  }

  async #pauseStore(s3: S3Server): Promise<void> {
    this.#witness.trouble = true;
    this.#witness.done.add("store paused");
    s3.pause();
    await sleep(this.#random.between(200, 3000));
    s3.resume();
  }

  async #meet(fate: Fate, load: SoakLoad): Promise<void> {
    const server = this.#server;
    if (fate === "goes on") return load.stop();
    this.#witness.trouble = true;
    if (fate === "SIGTERM") {
      const code = await server.stop("SIGTERM");
      assert(code === 0, `a clean stop ends with 0, not ${code}: ${server.errors}`);
    } else if (fate === "SIGTERM, then kill -9") {
      server.signal("SIGTERM");
      await sleep(this.#random.between(0, 600));
      await server.stop("SIGKILL");
    } else await server.stop("SIGKILL");
    this.#sampler.gather();
    await load.stop();
    if (fate === "kill -9, disk lost") rmSync(this.#data, { recursive: true, force: true });
    if (fate === "kill -9 twice") {
      server.launch();
      await sleep(this.#random.between(0, 1500));
      await server.stop("SIGKILL");
      this.#sampler.gather();
    }
    await this.#start();
  }

  /** A command on the store beside the server. */
  #beside(args: string[]): void {
    const running = this.#t4(args)
      .then(() => this.#witness.done.add(`t4 ${args[0]} beside the server`))
      .catch((error: unknown) => {
        this.#faults.push(String(error));
      })
      .finally(() => this.#besides.delete(running));
    this.#besides.add(running);
  }

  /** Resolves with its output. */
  async #t4(args: string[]): Promise<string> {
    const child = spawn(join(root, "bin/t4"), [...args, "--store", this.#store], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...this.#s3?.env },
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk));
    const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
    assert(code === 0, `t4 ${args.join(" ")} ends with ${code}: ${output.slice(0, 4000)}`);
    return output;
  }

  /**
   * All at rest: leases gone, a clean stop, a store without a fault, and all of it read by a node with another disk.
   */
  async #ending(): Promise<void> {
    const { endpoint, url } = this.#server;
    this.#witness.trouble = false;
    await Promise.all(this.#besides);
    await untilNoLeases(endpoint);
    await untilQuiet(url);
    await this.#sampler.sample();
    await this.#sampler.stop();
    const code = await this.#server.stop("SIGTERM");
    assert(code === 0, `a clean stop ends with 0, not ${code}: ${this.#server.errors}`);
    this.#options.log(lastLine(await this.#t4(["verify"])));
    const left: string[] = [];
    treeOf(this.#data, (path, bytes) => left.push(`${path} ${bytes}`));
    this.#options.log(`left in the data directory: ${left.sort().join(", ")}`);
    rmSync(this.#data, { recursive: true, force: true });
    await this.#start();
    const { endpoint: anew } = this.#server;
    const before = this.#fingerprint;
    await check({ endpoint: anew, witness: this.#witness, random: this.#random, whole: true, before });
    assert((await this.#server.stop("SIGTERM")) === 0, this.#server.errors);
    await this.#t4(["gc", "--collect-grace", "0", "--rate", "0"]);
    this.#options.log(lastLine(await this.#t4(["verify"])));
  }

  #progress(fate: Fate): void {
    const { journal } = this.#witness;
    const { rssMiB, objects, mebibytes } = this.#sampler.newest();
    const minutes = ((performance.now() - this.#begunMs) / 60_000).toFixed(1);
    this.#options.log(
      `${minutes} min, round ${this.#rounds}, ${fate}: revision ${journal.verifiedTo} (compacted ` +
        `${this.#witness.compactedTo}), ${rssMiB} MiB, ${objects} objects of ${mebibytes} MiB`,
    );
    if (this.#faults.length > 0) throw new Error("a command beside the server has failed");
  }

  #result(): SoakResult {
    const { journal, done, refused, broken } = this.#witness;
    const { samples, totals, logged } = this.#sampler;
    const bounds = boundsOf({ minutes: this.#options.minutes, starts: this.#sampler.life });
    // Without a run to its end there is nothing to be judged.
    const flat = this.#faults.length > 0 ? [] : bounds.map((bound) => judge(bound, samples, this.#longLife));
    const counts = Object.entries(refused.toJSON());
    const timeouts = counts.reduce((sum, [text, count]) => sum + (TIMEOUT.test(text) ? count : 0), 0);
    const mayBe = timeouts <= done.total * TIMEOUTS_SHARE_MAX ? [...ERRORS_THAT_MAY_BE, TIMEOUT] : ERRORS_THAT_MAY_BE;
    const refusals = counts.map(([text]) => text).filter((text) => !mayBe.some((one) => one.test(text)));
    return {
      durability: this.#options.durability,
      seed: this.#options.seed,
      minutes: this.#options.minutes,
      rounds: this.#rounds,
      revision: journal.verifiedTo,
      acknowledged: journal.acknowledgedTotal,
      observed: journal.observedTotal,
      startMsMax: this.#startMsMax,
      fates: Object.fromEntries(this.#fates),
      done: done.toJSON(),
      refused: refused.toJSON(),
      broken: broken.toJSON(),
      totals: totals.toJSON(),
      logged: logged.toJSON(),
      flat,
      faults: [
        ...this.#faults,
        ...refusals.map((text) => `refused while nothing was wrong: ${text}`),
        ...flat.flatMap(({ fault }) => (fault === null ? [] : [fault])),
      ],
      samples,
    };
  }
}

const lastLine = (output: string): string => output.trimEnd().split("\n").at(-1)!;
