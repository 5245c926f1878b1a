import { setTimeout as sleep } from "node:timers/promises";
import { assert } from "../../src/base/assert.ts";
import type { EtcdClient } from "../../src/cli/client.ts";
import { KV, Lease, Watch } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import type { KeyValue } from "../../src/gen/mvccpb/kv_pb.ts";
import type { Written } from "../faults/journal.ts";
import { connect } from "../faults/load.ts";
import type { SeededRandom } from "./random.ts";
import { writtenOf } from "./readers.ts";
import { metricsOf } from "./samples.ts";
import { hashAt } from "./upkeep.ts";
import type { Witness } from "./witness.ts";

const EVERYTHING = { key: Buffer.of(0), rangeEnd: Buffer.of(0) };
const LONG_MS = 60_000;

/** What the content was as of a revision, by HashKV: the same for ever, until history is compacted. */
export interface Fingerprint {
  readonly revision: number;
  readonly hash: number;
  readonly compacted: number;
}

export interface CheckOptions {
  readonly endpoint: string;
  readonly witness: Witness;
  readonly random: SeededRandom;
  /** All that was verified before is read once more. */
  readonly whole: boolean;
  readonly before: Fingerprint | null;
}

/**
 * Between two rounds, with no load: the history since the last check has all that was acknowledged and seen, and the
 * keys at the head and at an older revision are what the history leaves.
 */
export async function check(options: CheckOptions): Promise<Fingerprint> {
  const { endpoint, witness, random, whole, before } = options;
  const { journal } = witness;
  const client = connect(endpoint);
  try {
    const { revision: head, state } = await stateAt(client, 0);
    journal.verify(await historyOf(client, journal.verifiedTo + 1, head), head, { whole: false });
    journal.trim(witness.compactedTo);
    if (whole) journal.verify(await historyOf(client, journal.trimmedTo + 1, head), head, { whole });
    same(state, journal.state(), `at the head, ${head}`);
    const older = random.between(witness.compactedTo, head + 1);
    same((await stateAt(client, older)).state, journal.state(older), `at revision ${older}`);
    if (before !== null) await sameHash(client, before, witness);
    return { revision: head, ...(await hashAt(client, head)) };
  } finally {
    await client.close();
  }
}

async function sameHash(client: EtcdClient, before: Fingerprint, witness: Witness): Promise<void> {
  // Compacted beyond it there is no telling.
  if (before.revision < witness.compactedTo) return;
  const now = await hashAt(client, before.revision);
  if (now.compacted !== before.compacted) return;
  assert(now.hash === before.hash, `the hash as of revision ${before.revision} was ${before.hash}, is ${now.hash}`);
  witness.done.add("hashes compared");
}

/** `revision` 0: the head. Counted as well, and counted alone. */
async function stateAt(client: EtcdClient, revision: number) {
  const range = { ...EVERYTHING, revision: BigInt(revision) };
  const answer = await client.unary(KV.method.range, range, LONG_MS);
  const at = revision === 0 ? Number(answer.header!.revision) : revision;
  const counted = await client.unary(
    KV.method.range,
    { ...EVERYTHING, revision: BigInt(at), countOnly: true },
    LONG_MS,
  );
  assert(Number(answer.count) === answer.kvs.length, `${answer.kvs.length} rows are counted as ${answer.count}`);
  assert(counted.count === answer.count, `${answer.count} rows are counted as ${counted.count} without them`);
  return { revision: at, state: new Map(answer.kvs.map(pair)) };
}

const pair = ({ key, value }: KeyValue): [string, string] => [
  Buffer.from(key).toString(),
  Buffer.from(value).toString(),
];

/** Every event from one revision to another. */
async function historyOf(client: EtcdClient, from: number, to: number): Promise<Written[]> {
  const history: Written[] = [];
  if (from > to) return history;
  const call = await client.stream(Watch.method.watch);
  const value = { ...EVERYTHING, startRevision: BigInt(from) };
  const timer = setTimeout(() => call.cancel(), LONG_MS);
  try {
    call.send({ requestUnion: { case: "createRequest", value } });
    for await (const response of call.messages()) {
      assert(!response.canceled, `the watch of history from ${from} was cancelled: ${response.cancelReason}`);
      history.push(...response.events.map(writtenOf));
      if ((history.at(-1)?.revision ?? 0) >= to) return history.filter(({ revision }) => revision <= to);
    }
    throw new Error(`history from ${from} to ${to} ended at ${history.at(-1)?.revision ?? "nothing"}`);
  } finally {
    clearTimeout(timer);
    call.cancel();
  }
}

function same(found: ReadonlyMap<string, string>, expected: ReadonlyMap<string, string>, where: string): void {
  for (const [key, value] of expected) {
    const there = found.get(key);
    const differs = `${key} ${where} is ${there?.slice(0, 40)}, the history leaves ${value.slice(0, 40)}`;
    assert(there === value, differs);
  }
  for (const key of found.keys()) assert(expected.has(key), `${key} ${where} is there, the history leaves none`);
}

const QUIET_MS_MAX = 15_000;

/** Once clients have gone nothing of theirs is left. */
export async function untilQuiet(url: string): Promise<void> {
  const left = ["server.watchers", "server.watchStreams", "server.streams"];
  const begunMs = performance.now();
  for (;;) {
    const { gauges } = await metricsOf(url);
    const busy = left.filter((name) => gauges[name] !== 0);
    // The scrape itself is a connection.
    if (busy.length === 0 && gauges["server.connections"]! <= 2) return;
    const told = [...left, "server.connections"].map((name) => `${name} ${gauges[name]}`).join(", ");
    assert(performance.now() - begunMs < QUIET_MS_MAX, `left over of clients that have gone: ${told}`);
    await sleep(100);
  }
}

const EXPIRY_MS_MAX = 45_000;

/** Leases that nobody keeps alive end, and their keys with them. */
export async function untilNoLeases(endpoint: string): Promise<void> {
  const client = connect(endpoint);
  const begunMs = performance.now();
  try {
    for (;;) {
      const { leases } = await client.unary(Lease.method.leaseLeases, {});
      const range = { key: Buffer.from("lease/"), rangeEnd: Buffer.from("lease0"), countOnly: true };
      const { count } = await client.unary(KV.method.range, range);
      if (leases.length === 0 && count === 0n) return;
      const told = `${leases.length} leases and ${count} keys of theirs are left`;
      assert(performance.now() - begunMs < EXPIRY_MS_MAX, told);
      await sleep(200);
    }
  } finally {
    await client.close();
  }
}
