import type { ObjectKey } from "../base/ids.ts";
import { readDecoded } from "../objects/checked-read.ts";
import { collectionKey } from "../objects/keys.ts";
import type { ObjectStore, RequestOptions } from "../objects/objects.ts";
import { decodeCollection } from "./collection.ts";
import type { CollectionLedger } from "./ledger.ts";
import type { Candidate } from "./survey.ts";

/** Looked at in one survey; the rest in the next ones. */
const LOOKED_AT_MAX = 20;
const NAMES_AT_ONCE = 16;

/**
 * Tells which of the collections that were abandoned have nothing left to warn of: nothing that they name exists.
 *
 * Its maker may be alive, only slow, and send each of its deletes still. But a name that was announced was there, and
 * never is again as something that is needed: tables have salted names, slots and checkpoints below the newest
 * checkpoint are nobody's. So whoever cuts a branch meets none of it whether or not the collection is there to say so.
 */
export class SpentCollections {
  readonly #store: ObjectStore;
  /** Of those that still have something, what: it is looked for first. */
  readonly #left = new Map<number, ObjectKey>();

  constructor(store: ObjectStore) {
    this.#store = store;
  }

  async among(abandoned: CollectionLedger["abandoned"], request: RequestOptions): Promise<Candidate[]> {
    const spent: Candidate[] = [];
    for (const { n, key, bytes } of abandoned.slice(0, LOOKED_AT_MAX)) {
      const left = this.#left.get(n);
      if (left !== undefined && (await this.#exists(left, request))) continue;
      const first = await this.firstLeft(n, request);
      if (first !== null) this.#left.set(n, first);
      else {
        this.#left.delete(n);
        spent.push({ key, bytes, why: "spent collection" });
      }
    }
    return spent;
  }

  /** Something that it names and that exists; null: nothing. */
  async firstLeft(n: number, request: RequestOptions): Promise<ObjectKey | null> {
    const found = await readDecoded(this.#store, collectionKey(n), request, ({ body }) => decodeCollection(n, body));
    if (found === null) return null;
    const { names } = found;
    for (let at = 0; at < names.length; at += NAMES_AT_ONCE) {
      const some = names.slice(at, at + NAMES_AT_ONCE);
      const there = await Promise.all(some.map((name) => this.#exists(name, request)));
      const found = there.indexOf(true);
      if (found >= 0) return some[found]!;
    }
    return null;
  }

  async #exists(key: ObjectKey, request: RequestOptions): Promise<boolean> {
    return (await this.#store.get(key, { ...request, range: { start: 0, end: 1 } })) !== null;
  }
}
