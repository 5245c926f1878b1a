import { deepEqual, equal, ok } from "node:assert/strict";
import { hash } from "node:crypto";
import { test } from "node:test";
import { fc } from "../../../test/properties.ts";
import { type Bucket, fileBytes, filePages, layOut } from "./file.ts";
import { BUCKET_ELEMENT, fnv1a64, MAGIC, PAGE_BYTES, pageFlags } from "./format.ts";
import type { Pair } from "./pages.ts";

function bucketOf(name: string, pairs: readonly Pair[], batchSize = 7): Bucket {
  return {
    name,
    async *pairs() {
      for (let at = 0; at < pairs.length; at += batchSize) yield pairs.slice(at, at + batchSize);
    },
  };
}

const pair = (key: string | Buffer, value: string | Buffer): Pair => ({
  key: Buffer.from(key),
  value: Buffer.from(value),
});

async function fileOf(buckets: readonly Bucket[]): Promise<Buffer> {
  const layout = await layOut(buckets);
  const pieces: Buffer[] = [];
  for await (const piece of filePages(buckets, layout)) pieces.push(piece);
  const file = Buffer.concat(pieces);
  equal(file.length, fileBytes(layout));
  return file;
}

/** Reads a file as bbolt does, by its own account of the format; every page must be used exactly once. */
class Reader {
  readonly #file: Buffer;
  readonly #seen = new Set<number>();

  constructor(file: Buffer) {
    this.#file = file;
  }

  buckets(): Map<string, Pair[]> {
    const metas = [0, 1].map((id) => this.#meta(id));
    deepEqual(metas[0]!.root, metas[1]!.root);
    const { root, freelist, pages } = metas[1]!;
    equal(pages, this.#file.length / PAGE_BYTES);
    equal(this.#open(freelist, pageFlags.freelist).count, 0);
    const found = new Map<string, Pair[]>();
    for (const { key, value, flags } of this.#elements(root)) {
      equal(flags, BUCKET_ELEMENT);
      const pairs = [...this.#elements(Number(Buffer.from(value).readBigUInt64LE(0)))];
      found.set(
        Buffer.from(key).toString(),
        pairs.map(({ key: k, value: v }) => ({ key: k, value: v })),
      );
    }
    equal(this.#seen.size, pages, "no page is left over");
    return found;
  }

  #meta(id: number): { root: number; freelist: number; pages: number } {
    const { body } = this.#open(id, pageFlags.meta);
    equal(body.readUInt32LE(0), MAGIC);
    equal(body.readUInt32LE(4), 2);
    equal(body.readUInt32LE(8), PAGE_BYTES);
    equal(body.readBigUInt64LE(56), fnv1a64(body.subarray(0, 56)));
    const number = (at: number) => Number(body.readBigUInt64LE(at));
    equal(number(48), id);
    return { root: number(16), freelist: number(32), pages: number(40) };
  }

  #open(id: number, flags: number): { count: number; page: Buffer; body: Buffer } {
    const at = id * PAGE_BYTES;
    equal(Number(this.#file.readBigUInt64LE(at)), id);
    equal(this.#file.readUInt16LE(at + 8), flags);
    const overflow = this.#file.readUInt32LE(at + 12);
    for (let n = 0; n <= overflow; n++) {
      ok(!this.#seen.has(id + n), `page ${id + n} is used once`);
      this.#seen.add(id + n);
    }
    const page = this.#file.subarray(at, at + (overflow + 1) * PAGE_BYTES);
    return { count: page.readUInt16LE(10), page, body: page.subarray(16) };
  }

  *#elements(id: number, least: Uint8Array | null = null): Generator<Pair & { flags: number }> {
    const isLeaf = this.#file.readUInt16LE(id * PAGE_BYTES + 8) === pageFlags.leaf;
    const { count, page } = this.#open(id, isLeaf ? pageFlags.leaf : pageFlags.branch);
    for (let n = 0; n < count; n++) {
      const element = 16 + n * 16;
      const at = element + page.readUInt32LE(isLeaf ? element + 4 : element);
      const keyEnd = at + page.readUInt32LE(isLeaf ? element + 8 : element + 4);
      const key = page.subarray(at, keyEnd);
      if (n === 0 && least !== null) deepEqual(key, least, "a branch names the first key of its child");
      if (isLeaf) {
        const value = page.subarray(keyEnd, keyEnd + page.readUInt32LE(element + 12));
        yield { key, value, flags: page.readUInt32LE(element) };
      } else yield* this.#elements(Number(page.readBigUInt64LE(element + 8)), key);
    }
  }
}

test("any buckets come back as they were, from a file without a page too few or too many", async () => {
  const keys = fc.uniqueArray(fc.uint8Array({ minLength: 1, maxLength: 40 }), {
    maxLength: 400,
    selector: (key) => Buffer.from(key).toString("hex"),
  });
  const size = fc.oneof({ weight: 9, arbitrary: fc.nat(60) }, { weight: 1, arbitrary: fc.nat(20_000) });
  await fc.assert(
    fc.asyncProperty(
      keys,
      fc.array(size, { minLength: 1, maxLength: 20 }),
      fc.integer({ min: 1, max: 50 }),
      async (some, sizes, batch) => {
        const sorted = some.map((key) => Buffer.from(key)).sort(Buffer.compare);
        const pairs = sorted.map((key, n) => pair(key, Buffer.alloc(sizes[n % sizes.length]!, n)));
        const found = new Reader(await fileOf([bucketOf("a", []), bucketOf("b", pairs, batch)])).buckets();
        deepEqual([...found.keys()], ["a", "b"]);
        deepEqual(found.get("a"), []);
        deepEqual(
          found.get("b")!.map(({ key, value }) => pair(Buffer.from(key), Buffer.from(value))),
          pairs,
        );
      },
    ),
    { numRuns: 60 },
  );
});

test("a tree of several levels, and long keys in its branches", async () => {
  const pairs = Array.from({ length: 3000 }, (_, n) =>
    pair(`${String(n).padStart(5, "0")}${"k".repeat(n % 5 === 0 ? 5000 : 100)}`, "v"),
  );
  const found = new Reader(await fileOf([bucketOf("key", pairs)])).buckets();
  equal(found.get("key")!.length, pairs.length);
});

test("golden bytes: docs/formats/etcd-snapshot.md", async () => {
  const file = await fileOf([bucketOf("alarm", []), bucketOf("key", [pair("k1", "v1"), pair("k2", "")])]);
  equal(file.length, 6 * PAGE_BYTES);
  equal(hash("sha256", file), GOLDEN);
});

const GOLDEN = "a3e23d30c543219ce3bede1df669be3d9eafdcde8d5e77ec7f96cfa9a1f7abe8";
