import type { EtcdClient } from "./client.ts";
import { bytes } from "./client.ts";
import { RpcFailure } from "./endpoint.ts";

/** Numbers that follow from a seed. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** From 0 to below `sides`. */
  roll(sides: number): number {
    this.#state = (Math.imul(this.#state, 1103515245) + 12345) & 0x7fffffff;
    return Math.floor(this.#state / 65536) % sides;
  }
}

export interface History {
  /** The newest, and the compact one (−1: none). */
  readonly revision: number;
  readonly compacted: number;
}

type Ask = (client: EtcdClient) => Promise<{ header?: { revision: bigint } | undefined }>;

const put = (key: string, value: string) => ({
  request: { case: "requestPut" as const, value: { key: bytes(key), value: bytes(value) } },
});
const remove = (key: string, end = "") => ({
  request: { case: "requestDeleteRange" as const, value: { key: bytes(key), rangeEnd: bytes(end) } },
});
const nested = (op: ReturnType<typeof put> | ReturnType<typeof remove>) => ({
  request: { case: "requestTxn" as const, value: { success: [op] } },
});

/**
 * The same random changes of a few keys to several stores, which all answer the same: puts, deletes of keys that are
 * there or not, transactions that change a key twice, leases with keys, compactions anywhere.
 */
export class RandomHistory implements History {
  revision = 1;
  compacted = -1;
  readonly #clients: readonly EtcdClient[];
  readonly #dice: Dice;
  readonly #valueBytes: number;
  #leases = 0;

  constructor(clients: readonly EtcdClient[], options: { seed: number; valueBytes: number }) {
    this.#clients = clients;
    this.#dice = new Dice(options.seed);
    this.#valueBytes = options.valueBytes;
  }

  async step(n: number): Promise<void> {
    const dice = this.#dice;
    const key = `k${dice.roll(8)}`;
    const kind = dice.roll(20);
    if (kind < 8) await this.#ask((client) => client.put(key, this.#value(n)));
    else if (kind < 12) await this.#ask((client) => client.del(key));
    else if (kind === 12) await this.#deleteMany(dice.roll(2) === 0 ? "l" : "k4");
    else if (kind < 15) await this.#ask((client) => client.txn(this.#txn(n)));
    else if (kind === 15) await this.#lease(key, n);
    else if (kind === 16 && dice.roll(3) === 0) await this.#compact();
  }

  async #deleteMany(end: string): Promise<void> {
    await this.#ask((client) => client.del("k", end));
  }

  #value(n: number): string {
    return "v".repeat(n % 3 === 0 ? this.#valueBytes : n % 5);
  }

  #txn(n: number) {
    return { success: [put("k1", this.#value(n)), remove("k2", "k4"), nested(put("k5", "n")), nested(remove("k5"))] };
  }

  async #lease(key: string, n: number): Promise<void> {
    const id = BigInt(++this.#leases);
    await this.#ask((client) => client.grant(1000, id));
    await this.#ask((client) => client.put(key, this.#value(n), { lease: id }));
    if (n % 2 === 0) await this.#ask((client) => client.revoke(id));
  }

  async #compact(): Promise<void> {
    const at = this.compacted + 1 + this.#dice.roll(this.revision - this.compacted);
    await this.#ask((client) => client.compact(at, true));
    this.compacted = at;
  }

  async #ask(ask: Ask): Promise<void> {
    const answers = await Promise.all(this.#clients.map((client) => ask(client)));
    const revisions = answers.map((answer) => answer.header!.revision);
    if (revisions.some((revision) => revision !== revisions[0])) throw new Error(`revisions ${revisions.join(", ")}`);
    this.revision = Number(revisions[0]);
  }

  /** A revision that every store answers alike: above the compact one, and sometimes in the future. */
  someRevision(): number {
    return Math.max(1, this.compacted + 1 + this.#dice.roll(this.revision - this.compacted + 1));
  }
}

/** An answer, or what it failed with, as text. */
export async function outcome(call: Promise<unknown>): Promise<string> {
  try {
    return JSON.stringify(await call, (_name, value) => (typeof value === "bigint" ? String(value) : value));
  } catch (error) {
    if (!(error instanceof RpcFailure)) throw error;
    return error.message;
  }
}
