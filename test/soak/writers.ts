import { assert } from "../../src/base/assert.ts";
import type { EtcdClient } from "../../src/cli/client.ts";
import { KV, Compare_CompareTarget as Target } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import type { SeededRandom } from "./random.ts";
import type { Witness } from "./witness.ts";

export interface KeySpace {
  /** Keys of the load; leases have others. */
  readonly keys: number;
  readonly valueBytesMean: number;
}

export interface WorkerOptions {
  readonly client: EtcdClient;
  readonly witness: Witness;
  readonly random: SeededRandom;
  readonly space: KeySpace;
  /** In no other round and of no other worker: values are told apart by it. */
  readonly id: string;
}

const FOLDER_KEYS = 20;
const TXN_PUTS_MAX = 20;
const LARGE_BYTES = 200_000;
/** Bytes that do not pack, of which values are pieces. */
const noise = Buffer.alloc(1 << 20);
{
  let state = 1;
  for (let at = 0; at < noise.length; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    noise[at] = 33 + ((state >>> 16) % 90);
  }
}

export const keyName = (n: number): string =>
  `k/${String(Math.floor(n / FOLDER_KEYS)).padStart(5, "0")}/${String(n % FOLDER_KEYS).padStart(2, "0")}`;
export const folderName = (n: number): string => `k/${String(n).padStart(5, "0")}/`;
/** The first name behind all that begin so. */
export const behind = (prefix: string): Buffer => {
  const end = Buffer.from(prefix);
  end[end.length - 1]!++;
  return end;
};

/** Puts, transactions and deletions, each written down as soon as it is acknowledged. */
export class Writer {
  readonly #options: WorkerOptions;
  #writes = 0;

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  async put(): Promise<void> {
    const { client, witness } = this.#options;
    const key = this.#key();
    const value = this.value();
    const answer = await client.unary(KV.method.put, { key: Buffer.from(key), value: Buffer.from(value) });
    witness.acknowledge({ revision: Number(answer.header!.revision), key, value });
  }

  /** Puts of several keys at one revision; at times with a deletion of others beside them. */
  async txn(): Promise<void> {
    const { client, witness, random, space } = this.#options;
    const written = new Map<string, string>();
    for (let n = random.between(2, TXN_PUTS_MAX); n > 0; n--) written.set(this.#key(), this.value());
    const puts = [...written].map(([key, value]) => put(key, value));
    const deleted = random.chance(0.2) ? keyName(random.between(0, space.keys)) : null;
    const deletes =
      deleted === null || written.has(deleted)
        ? []
        : [
            {
              request: { case: "requestDeleteRange" as const, value: { key: Buffer.from(deleted), prevKv: true } },
            },
          ];
    const answer = await client.unary(KV.method.txn, { success: [...puts, ...deletes] });
    assert(answer.succeeded, "a transaction without comparisons succeeds");
    const revision = Number(answer.header!.revision);
    for (const [key, value] of written) witness.acknowledge({ revision, key, value });
    const last = answer.responses.at(-1)!.response;
    if (last.case === "responseDeleteRange" && last.value.deleted > 0n) {
      witness.acknowledge({ revision, key: deleted!, value: null });
    }
  }

  async compareAndSwap(): Promise<void> {
    const { client, witness } = this.#options;
    const key = this.#key();
    const value = this.value();
    const name = Buffer.from(key);
    const modRevision = BigInt(witness.newest(key));
    const answer = await client.unary(KV.method.txn, {
      compare: [{ key: name, target: Target.MOD, targetUnion: { case: "modRevision", value: modRevision } }],
      success: [put(key, value)],
      failure: [{ request: { case: "requestRange", value: { key: name } } }],
    });
    if (answer.succeeded) witness.acknowledge({ revision: Number(answer.header!.revision), key, value });
  }

  /** One key, or up to a folder of them. */
  async remove(): Promise<void> {
    const { client, witness, random, space } = this.#options;
    const first = random.between(0, space.keys);
    const key = Buffer.from(keyName(first));
    const range = random.chance(0.4) ? { rangeEnd: Buffer.from(keyName(first + random.between(2, FOLDER_KEYS))) } : {};
    const answer = await client.unary(KV.method.deleteRange, { key, ...range, prevKv: true });
    assert(Number(answer.deleted) === answer.prevKvs.length, "each deleted key is told with its value");
    const revision = Number(answer.header!.revision);
    for (const kv of answer.prevKvs) {
      assert(Number(kv.modRevision) < revision, "what was deleted is older than the deletion");
      witness.acknowledge({ revision, key: Buffer.from(kv.key).toString(), value: null });
    }
  }

  /** Unique, mostly small, at times large. */
  value(): string {
    const { random, space, id } = this.#options;
    const bytes = random.chance(0.002)
      ? random.between(0, LARGE_BYTES)
      : Math.floor(-Math.log(1 - random.next()) * space.valueBytesMean);
    const from = random.between(0, noise.length - LARGE_BYTES);
    return `${id}-${this.#writes++}:${noise.toString("latin1", from, from + bytes)}`;
  }

  /** A tenth of the keys is written half of the time. */
  #key(): string {
    const { random, space } = this.#options;
    return keyName(random.between(0, random.chance(0.5) ? Math.ceil(space.keys / 10) : space.keys));
  }
}

const put = (key: string, value: string) => ({
  request: { case: "requestPut" as const, value: { key: Buffer.from(key), value: Buffer.from(value) } },
});
