import { isAscii, keyOfBytes, keyOfText } from "../base/latin1.ts";
import type { Row } from "../engine/engine.ts";
import { KeyValueReader } from "../engine/mvcc/key-value.ts";

/** A key or a value: text is taken as UTF-8. */
export type Bytes = string | Uint8Array;

/** A pair as of a revision. */
export interface KeyValue {
  readonly key: Buffer;
  readonly value: Buffer;
  /** Revision of the creation since which the key has been there. */
  readonly createRevision: number;
  /** Revision of the last change. */
  readonly modRevision: number;
  /** 1 at the creation, one more with each change. */
  readonly version: number;
  /** 0n: none. */
  readonly lease: bigint;
}

export const keyOf = (bytes: Bytes): string => (typeof bytes === "string" ? keyOfText(bytes) : keyOfBytes(bytes));
export const valueBytes = (bytes: Bytes): Uint8Array => (typeof bytes === "string" ? Buffer.from(bytes) : bytes);

const reader = new KeyValueReader();

/** The bytes are copied: they stay valid whatever the database does. */
export function pairOf(row: Row): KeyValue {
  const pair = reader.read(row);
  const { createRevision, modRevision, version } = pair;
  // One copy of all of the row: making buffers is most of what a pair costs.
  const { bytes, start, end } = row;
  const own = Buffer.allocUnsafe(end - start);
  if (bytes instanceof Buffer) bytes.copy(own, 0, start, end);
  else own.set(bytes.subarray(start, end));
  return {
    key: own.subarray(pair.keyStart - start, pair.keyEnd - start),
    value: own.subarray(pair.valueStart - start, pair.valueEnd - start),
    createRevision,
    modRevision,
    version,
    lease: pair.lease,
  };
}

/** Which keys: one, those that begin with `prefix`, those from a key on, or those in [from, to). */
export type Keys = Bytes | { prefix: Bytes } | { from: Bytes } | { from: Bytes; to: Bytes };

export function rangeOf(keys: Keys): { key: string; rangeEnd: string } {
  if (typeof keys === "string" || keys instanceof Uint8Array) return { key: keyOf(keys), rangeEnd: "" };
  if ("prefix" in keys) return prefixRange(keyOf(keys.prefix));
  const key = keyOf(keys.from) || "\0";
  return { key, rangeEnd: "to" in keys ? keyOf(keys.to) : "\0" };
}

/**
 * The same for a read: a text that is its own key is taken as it is, not copied, which takes as long as half a read. Of
 * what is kept copies are made: a text may be a part of a large one.
 */
export const rangeToFind = (keys: Keys): { key: string; rangeEnd: string } =>
  typeof keys === "string" && isAscii(keys) ? { key: keys, rangeEnd: "" } : rangeOf(keys);

function prefixRange(prefix: string): { key: string; rangeEnd: string } {
  for (let last = prefix.length - 1; last >= 0; last--) {
    const byte = prefix.charCodeAt(last);
    if (byte < 0xff) return { key: prefix, rangeEnd: prefix.slice(0, last) + String.fromCharCode(byte + 1) };
  }
  return { key: prefix || "\0", rangeEnd: "\0" };
}
