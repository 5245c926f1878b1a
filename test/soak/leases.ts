import { setTimeout as sleep } from "node:timers/promises";
import { assert } from "../../src/base/assert.ts";
import type { EtcdClient } from "../../src/cli/client.ts";
import { CommandError } from "../../src/cli/errors.ts";
import { KV, Lease } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { type WorkerOptions, Writer } from "./writers.ts";

const KEYS_MAX = 8;
const KEEP_ALIVES_MAX = 4;
export const LEASE_TTL_SECONDS_MAX = 4;

/** When what is known of a lease was asked for, and how long it holds. */
interface Proof {
  atMs: number;
  ttlMs: number;
}

/**
 * One lease from its grant to its end: keys under it, some keep-alives, then it is revoked, or left to expire. Until a
 * TTL after the last acknowledged keep-alive was sent its keys are there; after that it may be gone at any step.
 */
export async function leaseLife(options: WorkerOptions, isOver: () => boolean): Promise<void> {
  const proof: Proof = { atMs: performance.now(), ttlMs: Number.POSITIVE_INFINITY };
  try {
    await liveUnder(options, proof, isOver);
  } catch (error) {
    const hasExpired = error instanceof CommandError && error.message.includes("requested lease not found");
    if (!hasExpired || performance.now() - proof.atMs < proof.ttlMs) throw error;
  }
}

async function liveUnder(options: WorkerOptions, proof: Proof, isOver: () => boolean): Promise<void> {
  const { client, random, witness, id } = options;
  const writer = new Writer({ ...options, id: `${id}l` });
  const granted = await client.unary(Lease.method.leaseGrant, {
    TTL: BigInt(random.between(2, LEASE_TTL_SECONDS_MAX + 1)),
  });
  const ttlMs = Number(granted.TTL) * 1000;
  proof.ttlMs = ttlMs;
  const lease = granted.ID;
  const keys: string[] = [];
  for (let n = random.between(1, KEYS_MAX); n > 0; n--) {
    const key = `lease/${id}/${n}`;
    const value = writer.value();
    const put = { key: Buffer.from(key), value: Buffer.from(value), lease };
    const answer = await client.unary(KV.method.put, put);
    witness.acknowledge({ revision: Number(answer.header!.revision), key, value });
    keys.push(key);
  }
  for (let n = random.between(0, KEEP_ALIVES_MAX); n > 0 && !isOver(); n--) {
    await sleep(ttlMs * (0.2 + random.next() * 0.3));
    const sentMs = performance.now();
    if (sentMs - proof.atMs > ttlMs) return;
    const ttl = await keepAlive(client, lease);
    // Too late: the lease has expired.
    if (ttl === 0) return;
    proof.atMs = sentMs;
    const key = keys[random.between(0, keys.length)]!;
    const read = await client.unary(KV.method.range, { key: Buffer.from(key) });
    const isInTime = performance.now() - proof.atMs < ttlMs;
    assert(
      !isInTime || read.kvs.length === 1,
      `${key} is gone ${Math.round(performance.now() - proof.atMs)} ms after a
      keep-alive of its lease of ${ttlMs} ms`,
    );
  }
  if (random.chance(0.3)) await client.unary(Lease.method.leaseRevoke, { ID: lease });
}

/** The TTL that it was given, in seconds; 0: there is no such lease any more. */
async function keepAlive(client: EtcdClient, lease: bigint): Promise<number> {
  const call = await client.stream(Lease.method.leaseKeepAlive);
  const timer = setTimeout(() => call.cancel(), 10_000);
  try {
    call.send({ ID: lease });
    for await (const answer of call.messages()) return Number(answer.TTL);
    return 0;
  } finally {
    clearTimeout(timer);
    call.cancel();
  }
}
