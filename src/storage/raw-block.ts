import { ByteReader } from "../base/varint.ts";
import type { PointLookup } from "./point-lookup.ts";
import type { Effect, Version } from "./storage.ts";
import { EFFECT_SHIFT, FLAG_SUB, FLAG_TOMBSTONE, FLAGS_ALL } from "./table-block.ts";

/**
 * Looks a key up in the first `rawBytes` of `bytes`, a data block of `count` entries as it is written: for one read of
 * a block that is not kept nothing need be made of its other entries. Nothing of `bytes` is kept.
 *
 * The version that the lookup sees; null: the block has entries behind it and none of the key that is seen; undefined:
 * it has none behind it. Throws a RangeError where lengths lead out of the block.
 */
export function findInRaw(
  { bytes, rawBytes, count }: { bytes: Buffer; rawBytes: number; count: number },
  lookup: PointLookup,
): Version | null | undefined {
  const { key } = lookup;
  const reader = new ByteReader(bytes, 0, rawBytes);
  /** How much the entry's key has in common with the one looked for, which it lies before; or is it that key? */
  let common = 0;
  let isKey = false;
  for (let i = 0; i < count; i++) {
    const shared = reader.varint();
    const unshared = reader.varint();
    const start = reader.skip(unshared);
    if (i === 0 || shared <= common) {
      // It is above the entry before it, which differs from the key only behind what it does not share with that.
      const isSame = isKey && unshared === 0;
      if (!isSame) {
        if (isKey || (shared < common && i > 0)) return null;
        let j = 0;
        while (j < unshared && common < key.length && bytes[start + j] === key.charCodeAt(common)) {
          j++;
          common++;
        }
        const isAbove = j < unshared && (common === key.length || bytes[start + j]! > key.charCodeAt(common));
        if (isAbove) return null;
        isKey = j === unshared && common === key.length;
      }
    }
    const flags = reader.u8();
    const effect = (flags >>> EFFECT_SHIFT) & 3;
    if (flags > FLAGS_ALL || effect === 3) throw new RangeError(`flags ${flags}`);
    const tombstone = (flags & FLAG_TOMBSTONE) !== 0;
    const main = reader.varint();
    const sub = (flags & FLAG_SUB) !== 0 ? reader.varint() : 0;
    const valueBytes = tombstone ? 0 : reader.varint();
    const valueStart = reader.skip(valueBytes);
    if (isKey && main <= lookup.main) {
      const value = Buffer.allocUnsafe(valueBytes);
      bytes.copy(value, 0, valueStart, valueStart + valueBytes);
      return { key, main, sub, tombstone, effect: (effect - 1) as Effect, bytes: value, start: 0, end: valueBytes };
    }
  }
  return undefined;
}
