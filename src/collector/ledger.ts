import { DbError } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import { readDecoded } from "../objects/checked-read.ts";
import { collectionKey, parseKey, prefixes } from "../objects/keys.ts";
import { LIST_LIMIT_MAX, type ObjectStore, type RequestOptions } from "../objects/objects.ts";
import { type Collection, decodeCollection } from "./collection.ts";

/** The collections that there are, by their names alone. */
export interface CollectionLedger {
  /** Greater than every number in use. */
  readonly next: number;
  /** Numbers of those that no object marks as done. */
  readonly open: readonly number[];
  /** Of the newest of all, by the store's clock, ms since 1970; null where there is none. */
  readonly newestMs: number | null;
  /**
   * Done ones and their marks, the collection before its mark, that may go: all but the one with the greatest number,
   * so that no number is ever used again (collect.ts, rule 2).
   */
  readonly old: readonly ListedCollection[];
  /** Those that are not done, by number, but for the greatest one. Their makers may be at them, or gone. */
  readonly abandoned: readonly (ListedCollection & { readonly n: number })[];
}

interface ListedCollection {
  readonly key: ObjectKey;
  readonly bytes: number;
  readonly modifiedMs: number;
}

export async function readLedger(store: ObjectStore, request: RequestOptions): Promise<CollectionLedger> {
  const collections = new Map<number, ListedCollection>();
  const marks = new Map<number, ListedCollection>();
  let newestMs: number | null = null;
  let last: ObjectKey | undefined;
  for (;;) {
    const after = last === undefined ? {} : { startAfter: last };
    const page = await store.list(prefixes.collections, { ...request, ...after, limit: LIST_LIMIT_MAX });
    for (const { key, bytes, modifiedMs } of page.objects) {
      const name = parseKey(key);
      if (name?.kind === "collection") collections.set(name.n, { key, bytes, modifiedMs });
      else if (name?.kind === "collectionDone") marks.set(name.n, { key, bytes, modifiedMs });
      else throw new DbError("corrupt", `object ${key}: is foreign, expected only collections there`);
      newestMs = Math.max(newestMs ?? 0, modifiedMs);
    }
    if (!page.more || page.objects.length === 0) break;
    last = page.objects.at(-1)!.key;
  }
  const numbers = [...collections.keys(), ...marks.keys()];
  const greatest = numbers.reduce((most, n) => Math.max(most, n), -1);
  const open = [...collections.keys()].filter((n) => !marks.has(n));
  const old = [...marks]
    .filter(([n]) => n < greatest)
    .flatMap(([n, mark]) => [...(collections.has(n) ? [collections.get(n)!] : []), mark]);
  const abandoned = open.filter((n) => n < greatest).map((n) => ({ ...collections.get(n)!, n }));
  return { next: greatest + 1, open, newestMs, old, abandoned };
}

/** All collections that are not done: what they name must not be relied upon. Read by whoever cuts a branch. */
export async function readOpenCollections(store: ObjectStore, request: RequestOptions): Promise<Collection[]> {
  const { open } = await readLedger(store, request);
  const collections: Collection[] = [];
  for (const n of open) {
    const found = await readDecoded(store, collectionKey(n), request, ({ body }) => decodeCollection(n, body));
    // Marked as done, and collected itself, since it was listed.
    if (found !== null) collections.push(found);
  }
  return collections;
}
