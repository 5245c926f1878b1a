import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../../test/properties.ts";
import { isDbError } from "../../base/errors.ts";
import { type Bucket, filePages, layOut } from "./file.ts";
import { fnv1a64, META_BYTES, PAGE_BYTES, PAGE_HEADER_BYTES } from "./format.ts";
import type { Pair } from "./pages.ts";
import { BboltReader, type PageSource } from "./reader.ts";

const pair = (key: string | Buffer, value: string | Buffer): Pair => ({
  key: Buffer.from(key),
  value: Buffer.from(value),
});

async function fileOf(buckets: Record<string, readonly Pair[]>): Promise<Buffer> {
  const all = Object.entries(buckets).map(
    ([name, pairs]): Bucket => ({
      name,
      async *pairs() {
        yield pairs;
      },
    }),
  );
  const pieces: Buffer[] = [];
  for await (const piece of filePages(all, await layOut(all))) pieces.push(piece);
  return Buffer.concat(pieces);
}

const sourceOf = (file: Buffer): PageSource => ({
  bytes: file.length,
  read: (start, length) => Buffer.from(file.subarray(start, start + length)),
});

const readAll = (file: Buffer): Record<string, Pair[]> => {
  const reader = new BboltReader(sourceOf(file));
  const plain = ({ key, value }: Pair): Pair => pair(Buffer.from(key), Buffer.from(value));
  return Object.fromEntries(reader.buckets.map((name) => [name, [...reader.pairs(name)].flat().map(plain)]));
};

const numbered = (count: number, keyBytes = 10, value = "v") =>
  Array.from({ length: count }, (_, n) => pair(String(n).padStart(keyBytes, "0"), value));

test("what was written is read: any keys and values, of many pages and levels", async () => {
  const keys = fc.uniqueArray(fc.uint8Array({ minLength: 1, maxLength: 60 }), {
    maxLength: 300,
    selector: (key) => Buffer.from(key).toString("hex"),
  });
  const sizes = fc.array(fc.oneof({ weight: 9, arbitrary: fc.nat(80) }, { weight: 1, arbitrary: fc.nat(20_000) }), {
    minLength: 1,
    maxLength: 9,
  });
  await fc.assert(
    fc.asyncProperty(keys, sizes, async (some, lengths) => {
      const sorted = some.map((key) => Buffer.from(key)).sort(Buffer.compare);
      const pairs = sorted.map((key, n) => pair(key, Buffer.alloc(lengths[n % lengths.length]!, n)));
      deepEqual(readAll(await fileOf({ a: [], b: pairs, c: [pair("x", "")] })), {
        a: [],
        b: pairs,
        c: [pair("x", "")],
      });
    }),
    { numRuns: 60 },
  );
  const deep = numbered(3000, 1000);
  deepEqual(readAll(await fileOf({ key: deep })), { key: deep });
});

test("an inline bucket, as bbolt makes small ones", async () => {
  const file = await fileOf({ key: [pair("k1", "v1"), pair("k2", "v2")] });
  // The root bucket's only leaf is the last page: its bucket gets its own leaf, page 3, as its value.
  const leaf = file.subarray(3 * PAGE_BYTES, 3 * PAGE_BYTES + 16 + 2 * 16 + 8);
  const root = file.subarray(4 * PAGE_BYTES);
  const start = 16 + root.readUInt32LE(16 + 4);
  root.writeUInt32LE(16 + leaf.length, 16 + 12);
  root.fill(0, start + 3);
  leaf.copy(root, start + 3 + 16);
  deepEqual(readAll(file), { key: [pair("k1", "v1"), pair("k2", "v2")] });
});

test("the newer valid meta counts; with none, or one of a file that is cut short, nothing is read", async () => {
  const file = await fileOf({ key: numbered(10) });
  const other = Buffer.from(file);
  other.fill(0, 0, PAGE_BYTES);
  deepEqual(readAll(other), { key: numbered(10) });
  other[PAGE_BYTES + 20]! ^= 1;
  throws(() => readAll(other), /it is not the file of an etcd member/);
  throws(() => readAll(file.subarray(0, -1)), /it ends early: \d+ bytes of 5 pages of 4096/);
  throws(() => readAll(Buffer.alloc(0)), /it is not the file of an etcd member/);
});

test("pages that are named twice, go in a circle, or lie outside are refused, naming them", async () => {
  const whole = await fileOf({ key: numbered(2000) });
  const changed = (change: (file: Buffer) => void): (() => unknown) => {
    const file = Buffer.from(whole);
    change(file);
    return () => readAll(file);
  };
  const rootOf = (file: Buffer): number => Number(file.readBigUInt64LE(PAGE_BYTES + PAGE_HEADER_BYTES + 16));
  const pages = Array.from({ length: whole.length / PAGE_BYTES }, (_, n) => n);
  const branch = pages.find((n) => whole.readUInt16LE(n * PAGE_BYTES + 8) === 1)!;
  const firstChild = branch * PAGE_BYTES + 16 + 8;
  const secondChild = firstChild + 16;
  throws(
    changed((file) => file.writeBigUInt64LE(BigInt(branch), firstChild)),
    /more than one place|deeper|out of order/,
  );
  throws(
    changed((file) => file.writeBigUInt64LE(file.readBigUInt64LE(firstChild), secondChild)),
    /page 3 has its keys out of order/,
  );
  throws(
    changed((file) => file.writeBigUInt64LE(1n << 40n, firstChild)),
    /page 1099511627776 is named/,
  );
  throws(
    changed((file) => file.writeBigUInt64LE(99_999n, firstChild)),
    /page 99999 is named, and there are \d+/,
  );
  throws(
    changed((file) => file.writeUInt32LE(0xffffffff, 3 * PAGE_BYTES + 12)),
    /page 3 is 4294967296 pages long/,
  );
  throws(
    changed((file) => file.writeUInt16LE(0xffff, 3 * PAGE_BYTES + 10)),
    /page 3 has 65535 elements/,
  );
  throws(
    changed((file) => file.writeUInt16LE(8, 3 * PAGE_BYTES + 8)),
    /page 3 is neither a branch nor a leaf/,
  );
  throws(
    changed((file) => file.writeUInt32LE(1 << 30, 3 * PAGE_BYTES + 16 + 12)),
    /page 3 has an element beyond its end/,
  );
  ok(rootOf(whole) > 2);
  // Many elements that say the same bytes again would be far more than the file.
  throws(
    changed((file) => {
      const second = 3 * PAGE_BYTES + 16 + 16;
      file.writeUInt32LE(file.readUInt32LE(second + 4) - 10, second + 4);
    }),
    /page 3 has elements that overlap/,
  );
});

test("damage anywhere, sums made to fit, is refused by an error of ours, or read as something else", async () => {
  const whole = await fileOf({ auth: [pair("a", "b")], key: numbered(400, 40), lease: [] });
  const fit = (file: Buffer): void => {
    for (const page of [0, 1]) {
      const meta = file.subarray(
        page * PAGE_BYTES + PAGE_HEADER_BYTES,
        page * PAGE_BYTES + PAGE_HEADER_BYTES + META_BYTES,
      );
      meta.writeBigUInt64LE(fnv1a64(meta.subarray(0, 56)), 56);
    }
  };
  let refusals = 0;
  const edit = fc.record({ page: fc.nat(whole.length / PAGE_BYTES - 1), at: fc.nat(400), value: fc.nat(255) });
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
      const file = Buffer.from(whole);
      for (const { page, at, value } of edits) file[page * PAGE_BYTES + at] = value;
      fit(file);
      try {
        readAll(file);
      } catch (error) {
        equal(isDbError(error, "invalidArgument"), true, String(error));
        refusals++;
      }
    }),
    { numRuns: 3000 },
  );
  ok(refusals > 100, `${refusals} refusals`);
});
