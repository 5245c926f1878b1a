import { setTimeout as sleep } from "node:timers/promises";
import { assert } from "../../src/base/assert.ts";
import type { EtcdClient } from "../../src/cli/client.ts";
import { KV, Watch } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { type Event, Event_EventType, type KeyValue } from "../../src/gen/mvccpb/kv_pb.ts";
import type { Written } from "../faults/journal.ts";
import type { SeededRandom } from "./random.ts";
import type { Witness } from "./witness.ts";
import { behind, folderName, keyName, type WorkerOptions } from "./writers.ts";

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

export const writtenOf = ({ kv, type }: Event): Written => ({
  revision: Number(kv!.modRevision),
  key: textOf(kv!.key),
  value: type === Event_EventType.DELETE ? null : textOf(kv!.value),
});

/** Reads that hold what they are shown against what was acknowledged before they began. */
export class Reader {
  readonly #options: WorkerOptions;

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  async get(): Promise<void> {
    const { client, witness, random, space } = this.#options;
    const key = keyName(random.between(0, space.keys));
    const least = witness.newest(key);
    const answer = await client.unary(KV.method.range, { key: Buffer.from(key) });
    const revision = Number(answer.header!.revision);
    assert(revision >= least, `a read of ${key} is as of ${revision}, acknowledged is ${least}`);
    const kv = answer.kvs[0];
    if (kv === undefined) return;
    const shown = Number(kv.modRevision);
    assert(shown >= least, `a read of ${key} shows ${shown}, acknowledged is ${least}`);
    witness.journal.observe({ revision: shown, key, value: textOf(kv.value) });
  }

  /** A folder, or a page of all, at the head. */
  async range(): Promise<void> {
    const { client, witness, random, space } = this.#options;
    const prefix = random.chance(0.7) ? folderName(random.between(0, Math.ceil(space.keys / 20))) : "k/";
    const limit = random.between(1, 60);
    const range = { key: Buffer.from(prefix), rangeEnd: behind(prefix), limit: BigInt(limit) };
    const answer = await client.unary(KV.method.range, range);
    const all = Number(answer.count);
    assert(answer.kvs.length === Math.min(limit, all), `${answer.kvs.length} of ${all} rows, the limit is ${limit}`);
    assert(answer.more === all > limit, "more is told when there is more");
    inOrder(answer.kvs, Number(answer.header!.revision));
    this.#observe(witness, answer.kvs);
  }

  /** A whole range in pieces; at times left in the middle. */
  async stream(): Promise<void> {
    const { client, random, witness } = this.#options;
    const leaveAfter = random.chance(0.4) ? random.between(1, 4) : Number.POSITIVE_INFINITY;
    const call = await client.stream(KV.method.rangeStream);
    call.send({ key: Buffer.from("k/"), rangeEnd: behind("k/") });
    call.finish();
    const rows: KeyValue[] = [];
    let count = 0;
    let messages = 0;
    try {
      for await (const { rangeResponse } of call.messages()) {
        rows.push(...rangeResponse!.kvs);
        count = Math.max(count, Number(rangeResponse!.count));
        if (++messages === leaveAfter) break;
      }
    } finally {
      call.cancel();
    }
    inOrder(rows, Number.MAX_SAFE_INTEGER);
    if (messages < leaveAfter) assert(rows.length === count, `a stream of ${rows.length} rows counts ${count}`);
    this.#observe(witness, rows.slice(0, 50));
  }

  #observe(witness: Witness, kvs: readonly KeyValue[]): void {
    for (const kv of kvs) {
      witness.journal.observe({ revision: Number(kv.modRevision), key: textOf(kv.key), value: textOf(kv.value) });
    }
  }
}

function inOrder(kvs: readonly KeyValue[], revision: number): void {
  for (let n = 0; n < kvs.length; n++) {
    assert(Number(kvs[n]!.modRevision) <= revision, "no row is newer than its answer");
    if (n > 0) assert(Buffer.compare(kvs[n - 1]!.key, kvs[n]!.key) < 0, "rows are in order, each once");
  }
}

export interface WatchOptions {
  readonly client: EtcdClient;
  readonly witness: Witness;
  readonly from: number;
  /** Of each message: one that reads slowly falls behind. */
  readonly pauseMs: number;
}

/** Everything from a revision on, each revision whole, in order, none left out, until the stream ends or is left. */
export async function watchEverything(options: WatchOptions, isOver: () => boolean): Promise<void> {
  const { client, witness, from, pauseMs } = options;
  const call = await client.stream(Watch.method.watch);
  const value = { key: Buffer.of(0), rangeEnd: Buffer.of(0), startRevision: BigInt(from) };
  call.send({ requestUnion: { case: "createRequest", value } });
  let last = from - 1;
  try {
    for await (const response of call.messages()) {
      if (isOver()) return;
      assert(!response.canceled, `a watch from ${from} was cancelled: ${response.cancelReason}`);
      let previous = last;
      for (const event of response.events) {
        const written = writtenOf(event);
        const follows = written.revision === previous || written.revision === previous + 1;
        assert(follows, `a watch was told ${written.revision} after ${previous}`);
        previous = written.revision;
        witness.journal.observe(written);
      }
      // A revision is never in two messages, unless the client asks for that.
      assert(response.events.length === 0 || Number(response.events[0]!.kv!.modRevision) > last, "a revision is whole");
      last = previous;
      if (pauseMs > 0) await sleep(pauseMs);
    }
  } finally {
    call.cancel();
  }
}

const WATCHERS_MAX = 40;

/** Many watchers on one stream that begin anywhere in history; some are cancelled, all are left soon. */
export async function watchBriefly(client: EtcdClient, witness: Witness, random: SeededRandom): Promise<void> {
  const call = await client.stream(Watch.method.watch);
  const watchers = random.between(1, WATCHERS_MAX);
  for (let n = 0; n < watchers; n++) {
    const back = random.chance(0.5) ? 0 : random.between(1, 2000);
    const startRevision =
      back === 0 ? 0n : BigInt(Math.max(witness.compactedTo + 1, witness.journal.verifiedTo - back));
    const prefix = folderName(random.between(0, 40));
    const range = { key: Buffer.from(prefix), rangeEnd: behind(prefix) };
    call.send({
      requestUnion: { case: "createRequest", value: { ...range, startRevision, prevKv: random.chance(0.3) } },
    });
  }
  const messagesMax = watchers + random.between(1, 30);
  const timer = setTimeout(() => call.cancel(), random.between(50, 1500));
  let messages = 0;
  try {
    for await (const response of call.messages()) {
      for (const event of response.events) witness.journal.observe(writtenOf(event));
      if (response.created && random.chance(0.3)) {
        call.send({ requestUnion: { case: "cancelRequest", value: { watchId: response.watchId } } });
      }
      if (++messages >= messagesMax) break;
    }
  } finally {
    clearTimeout(timer);
    call.cancel();
  }
}
