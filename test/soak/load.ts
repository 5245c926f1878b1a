import { setTimeout as sleep } from "node:timers/promises";
import type { EtcdClient } from "../../src/cli/client.ts";
import { connect } from "../faults/load.ts";
import { leaseLife } from "./leases.ts";
import type { SeededRandom } from "./random.ts";
import { Reader, watchBriefly, watchEverything } from "./readers.ts";
import { type Upkeep, upkeep } from "./upkeep.ts";
import type { Witness } from "./witness.ts";
import { type KeySpace, type WorkerOptions, Writer } from "./writers.ts";

export interface SoakLoadOptions {
  readonly endpoint: string;
  readonly witness: Witness;
  readonly random: SeededRandom;
  readonly space: KeySpace;
  readonly round: number;
  readonly workers: number;
  /** Between two calls of a worker, on average. */
  readonly pauseMs: number;
  readonly upkeep: readonly Upkeep[];
}

const steps = { put: 30, txn: 22, remove: 10, swap: 8, get: 14, range: 10, stream: 1, watch: 2 };
const SLOW_WATCH_PAUSE_MS = 40;

/** The load of one round: until `stop`, whatever becomes of the server meanwhile. */
export class SoakLoad {
  readonly #options: SoakLoadOptions;
  readonly #clients: EtcdClient[] = [];
  readonly #tasks: Promise<unknown>[] = [];
  #stopped = false;
  /** The first thing that does not hold; `stop` throws it. */
  #failure: unknown = null;

  constructor(options: SoakLoadOptions) {
    this.#options = options;
    const { workers, round } = options;
    for (let n = 0; n < workers; n++) this.#run(() => this.#work(this.#worker(`${round}w${n}`)));
    for (let n = 0; n < 2; n++) this.#run(() => this.#leases(`${round}e${n}`));
    this.#run(() => this.#watch(0));
    this.#run(() => this.#watch(SLOW_WATCH_PAUSE_MS));
    for (const what of options.upkeep) this.#run(() => this.#keepUp(what));
  }

  get hasFailed(): boolean {
    return this.#failure !== null;
  }

  /** Waits for what is under way; with the server gone that is over at once. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const closing = sleep(CALM_MS_MAX, undefined, { ref: false }).then(() => this.#close());
    await Promise.race([Promise.all(this.#tasks), closing.then(() => Promise.all(this.#tasks))]);
    await this.#close();
    if (this.#failure !== null) throw this.#failure;
  }

  #close(): Promise<unknown> {
    return Promise.all(this.#clients.map((client) => client.close()));
  }

  /** A fault that is found ends the round, and the soak with it. */
  #run(task: () => Promise<void>): void {
    this.#tasks.push(
      task().catch((error: unknown) => {
        this.#failure ??= error;
        this.#stopped = true;
      }),
    );
  }

  #connect(): EtcdClient {
    const client = connect(this.#options.endpoint);
    this.#clients.push(client);
    return client;
  }

  #worker(id: string): WorkerOptions {
    const { witness, random, space } = this.#options;
    return { client: this.#connect(), witness, random, space, id };
  }

  async #work(worker: WorkerOptions): Promise<void> {
    const { random, witness, pauseMs } = this.#options;
    const writer = new Writer(worker);
    const reader = new Reader(worker);
    const play: Record<keyof typeof steps, () => Promise<void>> = {
      put: () => writer.put(),
      txn: () => writer.txn(),
      remove: () => writer.remove(),
      swap: () => writer.compareAndSwap(),
      get: () => reader.get(),
      range: () => reader.range(),
      stream: () => reader.stream(),
      watch: () => watchBriefly(worker.client, witness, random),
    };
    while (!this.#stopped) {
      const step = random.choose(steps);
      await witness.attempt(step, play[step]);
      await sleep(random.next() * 2 * pauseMs);
    }
  }

  async #leases(id: string): Promise<void> {
    const worker = this.#worker(id);
    for (let n = 0; !this.#stopped; n++) {
      const one = { ...worker, id: `${id}-${n}` };
      await this.#options.witness.attempt("lease", () => leaseLife(one, () => this.#stopped));
      await sleep(this.#options.random.between(10, 300));
    }
  }

  async #watch(pauseMs: number): Promise<void> {
    const { witness } = this.#options;
    const from = witness.journal.verifiedTo + 1;
    const client = this.#connect();
    // The messages of a quiet server end with it or with the client: the round's end closes it.
    const over = this.#over().then(() => client.close());
    await Promise.race([
      witness.attempt("long watch", () => watchEverything({ client, witness, from, pauseMs }, () => this.#stopped)),
      over,
    ]);
  }

  async #over(): Promise<void> {
    while (!this.#stopped) await sleep(50);
  }

  async #keepUp(what: Upkeep): Promise<void> {
    const { witness, random } = this.#options;
    await sleep(random.between(0, 4000));
    if (this.#stopped) return;
    const client = this.#connect();
    await witness.attempt(what, () => upkeep(what, client, witness, random));
  }
}

/** What is under way when a round ends may take so long. */
const CALM_MS_MAX = 60_000;
