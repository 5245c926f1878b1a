import { assert } from "../base/assert.ts";
import { DbError, messageOf } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import { Fields, patterns } from "../leadership/fields.ts";
import { decodeEnvelope, encodeEnvelope } from "../objects/envelope.ts";
import { collectionDoneKey, collectionKey, type ObjectKind, parseKey } from "../objects/keys.ts";

/**
 * What a collection is about to delete (docs/formats/collection.md). Created once, never changed; who cuts a branch
 * reads all that are not done, and needs nothing that one of them names.
 */
export interface Collection {
  /** Random: of the run that deletes, which alone marks it done. */
  readonly creator: string;
  /** For people. */
  readonly wallMs: number;
  /** In byte order, each once. */
  readonly names: readonly ObjectKey[];
}

/** That every delete of a collection is confirmed, and no other will be sent. */
export interface CollectionDone {
  /** SHA-256 of the collection's bytes. */
  readonly collection: string;
  readonly deleted: number;
  readonly bytes: number;
  readonly wallMs: number;
}

/** So that a collection stays far below what a control object may hold. */
export const NAMES_MAX = 10_000;

/** What a collection may name. Leader records, names, origins, sessions and the repository are never among them. */
const collectable: ReadonlySet<ObjectKind> = new Set([
  "segment",
  "checkpoint",
  "table",
  "collection",
  "collectionDone",
]);

export function encodeCollection(n: number, collection: Collection): Buffer {
  const key = collectionKey(n);
  const bytes = encodeEnvelope(key, { counter: 0, body: collection });
  assert(decodeCollection(n, bytes).names.length === collection.names.length, "what is written can be read");
  return bytes;
}

/** Throws `corrupt` naming the object and the field, `storeRefused` for what a newer t4 has written. */
export function decodeCollection(n: number, bytes: Uint8Array): Collection {
  const key = collectionKey(n);
  const { body } = decodeEnvelope(key, bytes);
  return checked(key, () => {
    const fields = new Fields(body, ["creator", "names", "wallMs"]);
    const names = fields.list("names", NAMES_MAX, nameOf);
    names.forEach((name, at) => {
      if (at > 0 && names[at - 1]! >= name) throw new Error(`field names[${at}]: ${name} is out of order`);
    });
    return { creator: fields.text("creator", patterns.hex16), wallMs: fields.count("wallMs"), names };
  });
}

function nameOf(item: unknown, where: string): ObjectKey {
  const kind = typeof item === "string" ? parseKey(item)?.kind : undefined;
  if (kind !== undefined && collectable.has(kind)) return item as ObjectKey;
  throw new Error(
    `field ${where}: expected the name of what is collected, found ${JSON.stringify(item)?.slice(0, 80)}`,
  );
}

export const encodeCollectionDone = (n: number, done: CollectionDone): Buffer =>
  encodeEnvelope(collectionDoneKey(n), { counter: 0, body: done });

export function decodeCollectionDone(n: number, bytes: Uint8Array): CollectionDone {
  const key = collectionDoneKey(n);
  const { body } = decodeEnvelope(key, bytes);
  return checked(key, () => {
    const fields = new Fields(body, ["bytes", "collection", "deleted", "wallMs"]);
    return {
      collection: fields.text("collection", patterns.sha256),
      deleted: fields.count("deleted"),
      bytes: fields.count("bytes"),
      wallMs: fields.count("wallMs"),
    };
  });
}

function checked<T>(key: ObjectKey, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new DbError("corrupt", `object ${key}: ${messageOf(error)}`, { cause: error });
  }
}
