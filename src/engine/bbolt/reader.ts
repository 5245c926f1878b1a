import { DbError } from "../../base/errors.ts";
import {
  BUCKET_BYTES,
  BUCKET_ELEMENT,
  ELEMENT_BYTES,
  fnv1a64,
  MAGIC,
  META_BYTES,
  PAGE_HEADER_BYTES,
  pageFlags,
  VERSION,
} from "./format.ts";
import type { Pair } from "./pages.ts";

/** A file of which any part can be read. */
export interface PageSource {
  readonly bytes: number;
  /** Bytes [start, start + length), fewer only at the end of the file; the caller's from then on. */
  read(start: number, length: number): Buffer;
}

const PAGE_BYTES_MIN = 512;
const PAGE_BYTES_MAX = 1 << 16;
/** No pair is larger: etcd's requests are of 1.5 MiB by default. */
const SPAN_BYTES_MAX = 512 << 20;
/** A tree of fan-out 2 over the largest file has fewer levels. */
const DEPTH_MAX = 64;
const META_TRANSACTION = 48;
const META_SUM = 56;

interface Meta {
  readonly pageBytes: number;
  readonly root: number;
  readonly pages: number;
  readonly transaction: bigint;
}

/**
 * Reads the file of an etcd member (format.ts), written by whatever program. Nothing in it is believed: what does not
 * hold together is `invalidArgument`, naming the page.
 *
 * 1. A page belongs to one place of one tree: going through all buckets reads each page once at most, so it ends.
 * 2. Keys come in their order, through all pages of a bucket.
 * 3. In memory are one leaf, and the pages above it.
 */
export class BboltReader {
  readonly #source: PageSource;
  readonly #meta: Meta;
  readonly #buckets = new Map<string, Buffer>();
  /** Of all walks: beyond the pages in use something is read twice. */
  #pagesRead = 0;

  constructor(source: PageSource) {
    this.#source = source;
    this.#meta = newestMeta(source);
    for (const pairs of this.#walk(this.#meta.root, BUCKET_ELEMENT)) {
      for (const { key, value } of pairs) {
        if (value.length < BUCKET_BYTES) throw refused(`bucket ${shown(key)} has ${value.length} bytes`);
        this.#buckets.set(Buffer.from(key).latin1Slice(), Buffer.from(value));
      }
    }
  }

  /** In the order of the file. */
  get buckets(): string[] {
    return [...this.#buckets.keys()];
  }

  /** Bytes of pages gone through so far, of `bytes`. */
  get progress(): { readonly done: number; readonly total: number } {
    const { pageBytes, pages } = this.#meta;
    return { done: this.#pagesRead * pageBytes, total: pages * pageBytes };
  }

  /** The pairs of a bucket in the order of their keys, a leaf at a time; none where there is no such bucket. */
  pairs(name: string): Generator<readonly Pair[]> {
    const value = this.#buckets.get(name);
    if (value === undefined) return nothing();
    const root = pageNumber(value, 0);
    return root === 0 ? this.#inline(name, value.subarray(BUCKET_BYTES)) : this.#walk(root, 0);
  }

  *#inline(name: string, page: Buffer): Generator<readonly Pair[]> {
    const where = `the inline page of bucket ${JSON.stringify(name)}`;
    if (page.length < PAGE_HEADER_BYTES) throw refused(`${where} ends early`);
    if (page.readUInt16LE(8) !== pageFlags.leaf) throw refused(`${where} is no leaf`);
    const pairs = leafPairs(page, 0, where);
    checkOrder(null, pairs, where);
    yield pairs;
  }

  *#walk(root: number, elementFlags: number): Generator<readonly Pair[]> {
    /** Children still to be gone through, level by level, the next one last. */
    const levels: number[][] = [[root]];
    let last: Uint8Array | null = null;
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const id = level.pop();
      if (id === undefined) {
        levels.pop();
        continue;
      }
      const where = `page ${id}`;
      const page = this.#page(id);
      const flags = page.readUInt16LE(8);
      if (flags === pageFlags.branch) {
        if (levels.length === DEPTH_MAX) throw refused(`${where} is deeper than ${DEPTH_MAX} levels`);
        levels.push(children(page, where).reverse());
      } else if (flags === pageFlags.leaf) {
        const pairs = leafPairs(page, elementFlags, where);
        checkOrder(last, pairs, where);
        last = pairs.at(-1)?.key ?? last;
        yield pairs;
      } else throw refused(`${where} is neither a branch nor a leaf (flags ${flags})`);
    }
  }

  /** With its overflow. */
  #page(id: number): Buffer {
    const { pageBytes, pages } = this.#meta;
    if (id < 2 || id >= pages) throw refused(`page ${id} is named, and there are ${pages}`);
    let page = this.#readWhole(id, 1);
    if (page.readBigUInt64LE(0) !== BigInt(id)) throw refused(`page ${id} says that it is ${page.readBigUInt64LE(0)}`);
    const span = 1 + page.readUInt32LE(12);
    if (span > pages - id || span * pageBytes > SPAN_BYTES_MAX)
      throw refused(`page ${id} is ${span} pages long, of ${pages}`);
    this.#pagesRead += span;
    if (this.#pagesRead > pages) throw refused(`page ${id}: pages are in more than one place`);
    if (span > 1) page = this.#readWhole(id, span);
    return page;
  }

  #readWhole(id: number, span: number): Buffer {
    const { pageBytes } = this.#meta;
    const page = this.#source.read(id * pageBytes, span * pageBytes);
    if (page.length !== span * pageBytes) throw refused(`page ${id} ends early`);
    return page;
  }
}

function* nothing(): Generator<readonly Pair[]> {}

/** The valid meta of the greater transaction. Where the first is damaged, the second lies at some page size. */
function newestMeta(source: PageSource): Meta {
  const metas: Meta[] = [];
  const first = metaAt(source, 0, null);
  if (first !== null) metas.push(first);
  for (let bytes = PAGE_BYTES_MIN; bytes <= PAGE_BYTES_MAX; bytes *= 2) {
    if (first !== null && bytes !== first.pageBytes) continue;
    const second = metaAt(source, bytes, bytes);
    if (second !== null) metas.push(second);
  }
  metas.sort((a, b) => Number(b.transaction - a.transaction));
  const newest = metas[0];
  if (newest === undefined) throw refused("it is not the file of an etcd member");
  const { root, pages, pageBytes } = newest;
  if (pages * pageBytes > source.bytes)
    throw refused(`it ends early: ${source.bytes} bytes of ${pages} pages of ${pageBytes}`);
  if (root < 2 || root >= pages) throw refused(`its root is page ${root} of ${pages}`);
  return newest;
}

function metaAt(source: PageSource, start: number, pageBytesWanted: number | null): Meta | null {
  const page = source.read(start, PAGE_HEADER_BYTES + META_BYTES);
  if (page.length < PAGE_HEADER_BYTES + META_BYTES || page.readUInt16LE(8) !== pageFlags.meta) return null;
  const meta = page.subarray(PAGE_HEADER_BYTES);
  if (meta.readUInt32LE(0) !== MAGIC || meta.readUInt32LE(4) !== VERSION) return null;
  if (meta.readBigUInt64LE(META_SUM) !== fnv1a64(meta.subarray(0, META_SUM))) return null;
  const pageBytes = meta.readUInt32LE(8);
  const isSize = pageBytes >= PAGE_BYTES_MIN && pageBytes <= PAGE_BYTES_MAX && (pageBytes & (pageBytes - 1)) === 0;
  if (!isSize || (pageBytesWanted !== null && pageBytes !== pageBytesWanted)) return null;
  const transaction = meta.readBigUInt64LE(META_TRANSACTION);
  return { pageBytes, root: pageNumber(meta, 16), pages: pageNumber(meta, 40), transaction };
}

function pageNumber(bytes: Buffer, at: number): number {
  const value = bytes.readBigUInt64LE(at);
  if (value > 0xffffffffn) throw refused(`page ${value} is named`);
  return Number(value);
}

function leafPairs(page: Buffer, elementFlags: number, where: string): Pair[] {
  const pairs: Pair[] = [];
  // One behind the other, as bbolt writes them: else a small page could say much.
  let before = PAGE_HEADER_BYTES + page.readUInt16LE(10) * ELEMENT_BYTES;
  for (const { element, flags } of elements(page, where)) {
    if (flags !== elementFlags) throw refused(`${where} has an element with flags ${flags}`);
    const start = element + page.readUInt32LE(element + 4);
    if (start < before) throw refused(`${where} has elements that overlap`);
    const keyEnd = start + page.readUInt32LE(element + 8);
    const end = keyEnd + page.readUInt32LE(element + 12);
    if (end > page.length) throw refused(`${where} has an element beyond its end`);
    before = end;
    pairs.push({ key: page.subarray(start, keyEnd), value: page.subarray(keyEnd, end) });
  }
  return pairs;
}

function children(page: Buffer, where: string): number[] {
  const found: number[] = [];
  for (const { element } of elements(page, where)) found.push(pageNumber(page, element + 8));
  if (found.length === 0) throw refused(`${where} is a branch without children`);
  return found;
}

function* elements(page: Buffer, where: string): Generator<{ element: number; flags: number }> {
  const count = page.readUInt16LE(10);
  if (PAGE_HEADER_BYTES + count * ELEMENT_BYTES > page.length) throw refused(`${where} has ${count} elements`);
  for (let n = 0; n < count; n++) {
    const element = PAGE_HEADER_BYTES + n * ELEMENT_BYTES;
    yield { element, flags: page.readUInt32LE(element) };
  }
}

function checkOrder(before: Uint8Array | null, pairs: readonly Pair[], where: string): void {
  let last = before;
  for (const { key } of pairs) {
    if (last !== null && Buffer.compare(last, key) >= 0) throw refused(`${where} has its keys out of order`);
    last = key;
  }
}

const SHOWN_BYTES = 40;

const shown = (key: Uint8Array): string => JSON.stringify(Buffer.from(key.subarray(0, SHOWN_BYTES)).latin1Slice());

const refused = (what: string): DbError => new DbError("invalidArgument", what);
