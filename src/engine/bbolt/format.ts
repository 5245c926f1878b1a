/**
 * The file format of bbolt, the store of etcd's members (go.etcd.io/bbolt, data file version 2; little-endian). A file
 * is pages of one size; page 0 and 1 are metas, of which the valid one with the greater transaction id counts.
 *
 *   page     id u64, flags u16, count u16, overflow u32, then by flags
 *   leaf     count × { flags u32, position u32, key bytes u32, value bytes u32 }, then keys and values
 *   branch   count × { position u32, key bytes u32, page u64 }, then keys: the first one of each child
 *   freelist count × page u64
 *   meta     magic u32, version u32, page bytes u32, flags u32, root page u64, root sequence u64, freelist page u64,
 *            pages in use u64, transaction u64, FNV-1a 64 of all that is before u64
 *
 * A position counts from its element's own start. A page that is larger than one has `overflow` more behind it. In the
 * root bucket's leaves each value of a bucket is { root page u64, sequence u64 }; with root page 0 the bucket's one
 * leaf follows inline.
 */
export const PAGE_BYTES = 4096;
export const PAGE_HEADER_BYTES = 16;
export const ELEMENT_BYTES = 16;
export const BUCKET_BYTES = 16;
export const META_BYTES = 64;
export const MAGIC = 0xed0cdaed;
export const VERSION = 2;
/** No more elements fit into a page's count. */
export const ELEMENTS_MAX = 0xffff - 1;

export const pageFlags = { branch: 1, leaf: 2, meta: 4, freelist: 16 } as const;
/** Of a leaf's element. */
export const BUCKET_ELEMENT = 1;

const FNV_OFFSET = 0xcbf29ce484222325n;
const FNV_PRIME = 0x100000001b3n;

/** FNV-1a, 64 bits: of a meta page alone, so it need not be fast. */
export function fnv1a64(bytes: Uint8Array): bigint {
  let sum = FNV_OFFSET;
  for (const byte of bytes) sum = BigInt.asUintN(64, (sum ^ BigInt(byte)) * FNV_PRIME);
  return sum;
}
