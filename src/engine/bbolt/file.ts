import { assert } from "../../base/assert.ts";
import {
  BUCKET_BYTES,
  BUCKET_ELEMENT,
  fnv1a64,
  MAGIC,
  META_BYTES,
  PAGE_BYTES,
  PAGE_HEADER_BYTES,
  pageFlags,
  VERSION,
} from "./format.ts";
import { BucketBuilder, PageOutput, type Pair, writePageHeader } from "./pages.ts";

/** A bucket of a file: its pairs in the order of their keys, in batches of bounded size. */
export interface Bucket {
  readonly name: string;
  pairs(): AsyncIterable<Iterable<Pair>>;
}

/** What must be known of a file before its first page can be written. */
export interface FileLayout {
  readonly root: number;
  readonly pages: number;
}

export const fileBytes = ({ pages }: FileLayout): number => pages * PAGE_BYTES;

const FREELIST_PAGE = 2;
const FIRST_PAGE = 3;
/** Pages are handed on when there are so many bytes of them. */
const PIECE_BYTES = 32 << 10;

/**
 * All pages behind the metas, in pieces; returns the layout. The same pairs give the same pages: so what is gone
 * through once to learn the layout, and once to be sent, needs no room of its own.
 */
async function* contentPages(buckets: readonly Bucket[]): AsyncGenerator<Buffer[], FileLayout> {
  const output = new PageOutput(FREELIST_PAGE);
  // Nothing is free.
  output.page(pageFlags.freelist, 0, 0);
  assert(output.next === FIRST_PAGE, "the freelist is one page");
  const roots: Pair[] = [];
  for (const { name, pairs } of buckets) {
    const builder = new BucketBuilder(output);
    for await (const batch of pairs()) {
      for (const pair of batch) {
        builder.add(pair);
        if (output.bytes >= PIECE_BYTES) yield output.take();
      }
    }
    roots.push({ key: Buffer.from(name, "latin1"), value: bucketValue(builder.finish()) });
  }
  const root = new BucketBuilder(output, BUCKET_ELEMENT);
  for (const pair of roots) root.add(pair);
  const layout = { root: root.finish(), pages: 0 };
  if (output.bytes > 0) yield output.take();
  return { ...layout, pages: output.next };
}

/** Goes through all pairs once. `buckets` in the order of their names. */
export async function layOut(buckets: readonly Bucket[]): Promise<FileLayout> {
  const pages = contentPages(buckets);
  for (;;) {
    const { done, value } = await pages.next();
    if (done) return value;
  }
}

/** The whole file, of fileBytes(layout) bytes, in pieces; goes through all pairs, which must be the same again. */
export async function* filePages(buckets: readonly Bucket[], layout: FileLayout): AsyncGenerator<Buffer> {
  yield metaPage(0, layout);
  yield metaPage(1, layout);
  const content = contentPages(buckets);
  for (;;) {
    const { done, value } = await content.next();
    if (done) {
      assert(value.root === layout.root && value.pages === layout.pages, "the same pairs give the same pages");
      return;
    }
    yield* value;
  }
}

function bucketValue(root: number): Buffer {
  const value = Buffer.alloc(BUCKET_BYTES);
  value.writeBigUInt64LE(BigInt(root), 0);
  return value;
}

function metaPage(id: number, { root, pages }: FileLayout): Buffer {
  const page = Buffer.alloc(PAGE_BYTES);
  writePageHeader(page, { id, flags: pageFlags.meta, count: 0, overflow: 0 });
  const meta = page.subarray(PAGE_HEADER_BYTES, PAGE_HEADER_BYTES + META_BYTES);
  meta.writeUInt32LE(MAGIC, 0);
  meta.writeUInt32LE(VERSION, 4);
  meta.writeUInt32LE(PAGE_BYTES, 8);
  meta.writeBigUInt64LE(BigInt(root), 16);
  meta.writeBigUInt64LE(BigInt(FREELIST_PAGE), 32);
  meta.writeBigUInt64LE(BigInt(pages), 40);
  meta.writeBigUInt64LE(BigInt(id), 48);
  meta.writeBigUInt64LE(fnv1a64(meta.subarray(0, 56)), 56);
  return page;
}
