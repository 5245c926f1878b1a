import { setTimeout as sleep } from "node:timers/promises";
import { EtcdClient } from "../../src/cli/client.ts";
import { CommandError } from "../../src/cli/errors.ts";
import {
  Compare_CompareTarget as CompareTarget,
  KV,
  RangeRequest_SortTarget as SortTarget,
  Watch,
} from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { type Event, Event_EventType } from "../../src/gen/mvccpb/kv_pb.ts";
import type { Journal, Written } from "./journal.ts";

const EVERYTHING = { key: Buffer.of(0), rangeEnd: Buffer.of(0) };
const KEYS_A_WORKER = 10;

export const connect = (endpoint: string): EtcdClient =>
  new EtcdClient({ endpoints: [endpoint], commandTimeoutMs: 10_000, dialTimeoutMs: 5000 });

const writtenOf = (event: Event): Written => ({
  revision: Number(event.kv!.modRevision),
  key: Buffer.from(event.kv!.key).toString(),
  value: event.type === Event_EventType.DELETE ? null : Buffer.from(event.kv!.value).toString(),
});

/** Writers, readers and a watcher that write down what they saw until the server is gone or `stop` is called. */
export class Load {
  readonly #journal: Journal;
  readonly #clients: EtcdClient[] = [];
  readonly #tasks: Promise<void>[] = [];
  #stopped = false;

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  start(endpoint: string, options: { round: number; workers: number }): void {
    for (let worker = 0; worker < options.workers; worker++) {
      const client = connect(endpoint);
      this.#clients.push(client);
      this.#tasks.push(this.#work(client, `w${worker}`, options.round));
    }
    const watching = connect(endpoint);
    this.#clients.push(watching);
    this.#tasks.push(this.#watch(watching));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const client of this.#clients) await client.close();
    await Promise.all(this.#tasks);
  }

  async #work(client: EtcdClient, worker: string, round: number): Promise<void> {
    for (let n = 0; !this.#stopped; n++) {
      try {
        await this.#step(client, `${worker}/k${n % KEYS_A_WORKER}`, `${round}-${worker}-${n}`, n);
      } catch (error) {
        // An outcome that is not known: the history will tell whether it was carried out. Errors of this file are not
        // swallowed.
        if (!(error instanceof CommandError)) throw error;
        await sleep(5);
      }
    }
  }

  async #step(client: EtcdClient, key: string, value: string, n: number): Promise<void> {
    const name = Buffer.from(key);
    if (n % 11 === 10) {
      const answer = await client.unary(KV.method.deleteRange, { key: name });
      if (answer.deleted > 0n)
        this.#journal.acknowledge({ revision: Number(answer.header!.revision), key, value: null });
    } else if (n % 5 === 4) await this.#compareAndSwap(client, key, value);
    else if (n % 7 === 6) await this.#read(client, key);
    else {
      const answer = await client.unary(KV.method.put, { key: name, value: Buffer.from(value) });
      this.#journal.acknowledge({ revision: Number(answer.header!.revision), key, value });
    }
  }

  async #compareAndSwap(client: EtcdClient, key: string, value: string): Promise<void> {
    const name = Buffer.from(key);
    const modRevision = BigInt(this.#journal.newestAcknowledged(key));
    const answer = await client.unary(KV.method.txn, {
      compare: [{ key: name, target: CompareTarget.MOD, targetUnion: { case: "modRevision", value: modRevision } }],
      success: [{ request: { case: "requestPut", value: { key: name, value: Buffer.from(value) } } }],
      failure: [{ request: { case: "requestRange", value: { key: name } } }],
    });
    if (answer.succeeded) this.#journal.acknowledge({ revision: Number(answer.header!.revision), key, value });
  }

  /** A linearizable read shows nothing older than what was acknowledged before it began. */
  async #read(client: EtcdClient, key: string): Promise<void> {
    const least = this.#journal.newestAcknowledged(key);
    const answer = await client.unary(KV.method.range, { key: Buffer.from(key) });
    if (Number(answer.header!.revision) < least)
      throw new Error(`a read went back: ${answer.header!.revision} < ${least}`);
    const kv = answer.kvs[0];
    if (kv === undefined) return;
    if (Number(kv.modRevision) < least)
      throw new Error(`a read of ${key} shows ${kv.modRevision}, acknowledged is ${least}`);
    this.#journal.observe({ revision: Number(kv.modRevision), key, value: Buffer.from(kv.value).toString() });
  }

  async #watch(client: EtcdClient): Promise<void> {
    try {
      for await (const event of events(client, this.#journal.verifiedTo + 1)) this.#journal.observe(event);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
    }
  }
}

async function* events(client: EtcdClient, startRevision: number): AsyncGenerator<Written> {
  const stream = await client.stream(Watch.method.watch);
  stream.send({
    requestUnion: { case: "createRequest", value: { ...EVERYTHING, startRevision: BigInt(startRevision) } },
  });
  try {
    for await (const response of stream.messages()) {
      if (response.canceled) throw new Error(`the watch was cancelled: ${response.cancelReason}`);
      for (const event of response.events) yield writtenOf(event);
    }
  } finally {
    stream.cancel();
  }
}

/** The head, the whole history from `first` to it, and the live keys at it. */
export async function readBack(
  endpoint: string,
  first: number,
): Promise<{ head: number; history: Written[]; state: Map<string, string> }> {
  const client = connect(endpoint);
  try {
    const all = await client.unary(KV.method.range, { ...EVERYTHING, sortTarget: SortTarget.KEY });
    const head = Number(all.header!.revision);
    const state = new Map(all.kvs.map((kv) => [Buffer.from(kv.key).toString(), Buffer.from(kv.value).toString()]));
    const history: Written[] = [];
    if (head >= first) {
      for await (const event of events(client, first)) {
        history.push(event);
        if (event.revision >= head) break;
      }
    }
    return { head, history, state };
  } finally {
    await client.close();
  }
}
