import { type LeaseId, leaseId } from "../../src/base/ids.ts";
import type { Compare, RequestOp } from "../../src/engine/engine.ts";
import { compareMod, compareValue, del, put, range, txn } from "../engine/requests.ts";
import { type ClientRequest, tagOf } from "./history.ts";
import type { SimRandom } from "./random.ts";

/** A few keys on which everything meets, and many that make for tables and counts. */
const HOT = Array.from({ length: 8 }, (_, n) => `hot/${n}`);
const MANY = Array.from({ length: 120 }, (_, n) => `many/${String(n).padStart(3, "0")}`);

/** What the clients know together: it makes their requests meet. */
export interface Known {
  /** The newest revision that anybody has seen. */
  revision: number;
  readonly leases: LeaseId[];
  leasesMade: number;
}

/** Draws the requests of one client. */
export class Requests {
  readonly #random: SimRandom;
  readonly #known: Known;

  constructor(random: SimRandom, known: Known) {
    this.#random = random;
    this.#known = known;
  }

  /** `call`: the number that the request will have; its values carry it. */
  next(call: number): ClientRequest {
    const random = this.#random;
    const draw = random.float();
    if (draw < 0.3) return this.#put(call, 0);
    if (draw < 0.37) return this.#delete();
    if (draw < 0.55) return this.#txn(call);
    if (draw < 0.83) return this.#range();
    if (draw < 0.85) return { kind: "compact", revision: Math.max(1, this.#known.revision - random.integer(-1, 60)) };
    if (draw < 0.89 || this.#known.leases.length === 0) return this.#grant();
    return this.#ofLease(random.pick(this.#known.leases));
  }

  #grant(): ClientRequest {
    const id = leaseId(BigInt(this.#random.pick([1, -1]) * ++this.#known.leasesMade));
    return { kind: "grant", id, ttlSeconds: this.#random.pick([2, 3, 6]) };
  }

  #ofLease(id: LeaseId): ClientRequest {
    const kind = this.#random.pick([
      "keepAlive",
      "keepAlive",
      "keepAlive",
      "timeToLive",
      "timeToLive",
      "leases",
      "revoke",
    ] as const);
    if (kind === "leases") return { kind };
    if (kind === "timeToLive") return { kind, id, keys: this.#random.chance(0.5) };
    if (kind === "revoke" && this.#random.chance(0.6)) return { kind: "keepAlive", id };
    return { kind, id };
  }

  #key(): string {
    return this.#random.pick(this.#random.chance(0.4) ? HOT : MANY);
  }

  #put(call: number, n: number, key = this.#key()): ReturnType<typeof put> {
    const random = this.#random;
    const lease = this.#known.leases.length > 0 && random.chance(0.2) ? random.pick(this.#known.leases) : leaseId(0n);
    const ignoreLease = lease === 0n && random.chance(0.1);
    if (random.chance(0.05)) return put(key, "", { lease, ignoreLease, ignoreValue: true });
    const size = random.pick([0, 20, 100, 100, 1500]);
    return put(key, `${tagOf(call)}${n} ${"x".repeat(random.integer(0, size))}`, {
      lease,
      ignoreLease,
      prevKv: random.chance(0.3),
    });
  }

  #delete(): ReturnType<typeof del> {
    const [key, end] = this.#random.chance(0.8) ? [this.#key(), ""] : this.#span();
    return del(key, end, this.#random.chance(0.5));
  }

  #span(): [string, string] {
    const from = this.#key();
    return [from, this.#random.chance(0.2) ? "\0" : `${from.slice(0, 6)}${this.#random.integer(0, 9)}`];
  }

  #range(): ReturnType<typeof range> {
    const random = this.#random;
    const [key, end] = random.chance(0.4)
      ? [this.#key(), ""]
      : random.pick<[string, string]>([["\0", "\0"], ["many/", "many0"], ["hot/", "hot0"], this.#span()]);
    return range(key, end, {
      limit: random.pick([0, 0, 1, 7]),
      revision: random.chance(0.3) ? Math.max(1, this.#known.revision - random.integer(-1, 100)) : 0,
      countOnly: random.chance(0.2),
      serializable: random.chance(0.15),
      ...(random.chance(0.1) ? { sortOrder: 2, sortTarget: random.pick([0, 3]) } : {}),
      ...(random.chance(0.05) ? { minModRevision: Math.max(1, this.#known.revision - 50) } : {}),
    });
  }

  #txn(call: number): ClientRequest {
    const random = this.#random;
    const compare: Compare[] = [];
    for (let n = random.integer(0, 2); n > 0; n--) {
      const key = random.pick(HOT);
      if (random.chance(0.7))
        compare.push(
          compareMod(
            key,
            random.integer(0, 3) === 0 ? 0 : this.#known.revision,
            random.pick(["less", "greater", "notEqual", "equal"]),
          ),
        );
      else compare.push(compareValue(key, tagOf(this.#random.integer(0, call)), random.pick(["less", "greater"])));
    }
    return txn(this.#ops(call, 0, 1), this.#ops(call, 100, 1), compare);
  }

  /** No key is put twice, and none that is put is deleted: such a transaction is refused. */
  #ops(call: number, first: number, depth: number, free = new Set([...HOT, ...MANY.slice(0, 20)])): RequestOp[] {
    const random = this.#random;
    const ops: RequestOp[] = [];
    for (let n = random.integer(0, 3); n > 0; n--) {
      const key = random.pick([...free]);
      const draw = random.float();
      if (draw < 0.5) {
        free.delete(key);
        ops.push(this.#put(call, first + ops.length + 10 * depth, key));
      } else if (draw < 0.65) {
        free.delete(key);
        ops.push(del(key, "", random.chance(0.5)));
      } else if (draw < 0.9 || depth === 0) ops.push(this.#range());
      else
        ops.push(
          txn(
            this.#ops(call, first + 20 + ops.length * 4, depth - 1, free),
            [],
            [compareMod(random.pick(HOT), this.#known.revision, "less")],
          ),
        );
    }
    return ops;
  }
}
