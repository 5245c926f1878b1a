import { assert } from "../../base/assert.ts";
import { ELEMENT_BYTES, ELEMENTS_MAX, PAGE_BYTES, PAGE_HEADER_BYTES, pageFlags } from "./format.ts";

/** Finished pages, in the order of their numbers, until they are taken. */
export class PageOutput {
  #next: number;
  #pages: Buffer[] = [];
  #bytes = 0;

  constructor(first: number) {
    this.#next = first;
  }

  /** The number that the next page gets. */
  get next(): number {
    return this.#next;
  }

  /** Bytes not taken yet. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A page for `contentBytes` behind its header, zeroed, with its header written; with overflow where it is larger. */
  page(flags: number, count: number, contentBytes: number): { page: Buffer; id: number } {
    const pages = Math.ceil((PAGE_HEADER_BYTES + contentBytes) / PAGE_BYTES);
    const page = Buffer.alloc(pages * PAGE_BYTES);
    const id = this.#next;
    writePageHeader(page, { id, flags, count, overflow: pages - 1 });
    this.#next += pages;
    this.#pages.push(page);
    this.#bytes += page.length;
    return { page, id };
  }

  take(): Buffer[] {
    const pages = this.#pages;
    this.#pages = [];
    this.#bytes = 0;
    return pages;
  }
}

export function writePageHeader(
  page: Buffer,
  { id, flags, count, overflow }: { id: number; flags: number; count: number; overflow: number },
): void {
  page.writeBigUInt64LE(BigInt(id), 0);
  page.writeUInt16LE(flags, 8);
  page.writeUInt16LE(count, 10);
  page.writeUInt32LE(overflow, 12);
}

/** A key and its value; both are copied when their page is written, which is before `add` of a page later. */
export interface Pair {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

interface Child {
  readonly key: Uint8Array;
  readonly page: number;
}

/**
 * Builds the tree of one bucket from pairs in the order of their keys, from the leaves up, page after page: what is in
 * memory is one open page a level.
 */
export class BucketBuilder {
  readonly #output: PageOutput;
  readonly #elementFlags: number;
  #leaf: Pair[] = [];
  #leafBytes = 0;
  readonly #levels: { open: Child[]; bytes: number; isClosed: boolean }[] = [];
  #last: Uint8Array | null = null;

  /** `elementFlags` are those of every pair. */
  constructor(output: PageOutput, elementFlags = 0) {
    this.#output = output;
    this.#elementFlags = elementFlags;
  }

  add(pair: Pair): void {
    const { key, value } = pair;
    assert(this.#last === null || Buffer.compare(this.#last, key) < 0, "pairs come in the order of their keys");
    this.#last = key;
    const bytes = ELEMENT_BYTES + key.length + value.length;
    const isFull = PAGE_HEADER_BYTES + this.#leafBytes + bytes > PAGE_BYTES || this.#leaf.length === ELEMENTS_MAX;
    if (isFull && this.#leaf.length > 0) this.#closeLeaf();
    this.#leaf.push(pair);
    this.#leafBytes += bytes;
  }

  /** Writes what is open; gives the root's page. */
  finish(): number {
    if (this.#leaf.length > 0 || this.#levels.length === 0) this.#closeLeaf();
    for (let n = 0; ; n++) {
      const level = this.#levels[n]!;
      if (!level.isClosed && level.open.length === 1) return level.open[0]!.page;
      if (level.open.length > 0) this.#closeBranch(n);
    }
  }

  #closeLeaf(): void {
    const pairs = this.#leaf;
    const { page, id } = this.#output.page(pageFlags.leaf, pairs.length, this.#leafBytes);
    let at = PAGE_HEADER_BYTES + pairs.length * ELEMENT_BYTES;
    for (const [n, { key, value }] of pairs.entries()) {
      const element = PAGE_HEADER_BYTES + n * ELEMENT_BYTES;
      page.writeUInt32LE(this.#elementFlags, element);
      page.writeUInt32LE(at - element, element + 4);
      page.writeUInt32LE(key.length, element + 8);
      page.writeUInt32LE(value.length, element + 12);
      page.set(key, at);
      page.set(value, at + key.length);
      at += key.length + value.length;
    }
    assert(at === PAGE_HEADER_BYTES + this.#leafBytes, "a leaf has the size foretold");
    this.#leaf = [];
    this.#leafBytes = 0;
    this.#addChild(0, { key: pairs[0]?.key ?? new Uint8Array(0), page: id });
  }

  #addChild(n: number, child: Child): void {
    const level = (this.#levels[n] ??= { open: [], bytes: 0, isClosed: false });
    const bytes = ELEMENT_BYTES + child.key.length;
    // Two children at least, however long their keys are: else the tree would never end.
    if (PAGE_HEADER_BYTES + level.bytes + bytes > PAGE_BYTES && level.open.length >= 2) this.#closeBranch(n);
    level.open.push(child);
    level.bytes += bytes;
  }

  #closeBranch(n: number): void {
    const level = this.#levels[n]!;
    const children = level.open;
    const { page, id } = this.#output.page(pageFlags.branch, children.length, level.bytes);
    let at = PAGE_HEADER_BYTES + children.length * ELEMENT_BYTES;
    for (const [index, child] of children.entries()) {
      const element = PAGE_HEADER_BYTES + index * ELEMENT_BYTES;
      page.writeUInt32LE(at - element, element);
      page.writeUInt32LE(child.key.length, element + 4);
      page.writeBigUInt64LE(BigInt(child.page), element + 8);
      page.set(child.key, at);
      at += child.key.length;
    }
    level.open = [];
    level.bytes = 0;
    level.isClosed = true;
    this.#addChild(n + 1, { key: children[0]!.key, page: id });
  }
}
