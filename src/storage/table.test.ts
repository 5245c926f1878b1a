import { deepEqual, equal, rejects } from "node:assert/strict";
import { hash } from "node:crypto";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { shown } from "../../test/storage/naive-tree.ts";
import { BRANCH } from "../../test/storage/storage-bench.ts";
import { buildTable, type Row, runtime, versionOf } from "../../test/storage/table-samples.ts";
import { tableRefOf, verifyTable } from "../../test/storage/table-verify.ts";
import { crc32c } from "../base/crc32c.ts";
import { DbError } from "../base/errors.ts";
import type { Epoch, ObjectKey } from "../base/ids.ts";
import { tableKey } from "../objects/keys.ts";
import { MemoryStore } from "../objects/memory.ts";
import { BlockCache } from "./block-cache.ts";
import { KeyHash } from "./bloom.ts";
import { PointLookup } from "./point-lookup.ts";
import { Run } from "./run.ts";
import { RunCursor } from "./run-cursor.ts";
import { AT_HEAD, KEYS, spaces } from "./storage.ts";
import { Table, type TableRef } from "./table.ts";

const golden: Row[] = [
  { space: KEYS, key: "a", main: 9, value: null, effect: -1 },
  { space: KEYS, key: "a", main: 4, value: "one", effect: 1 },
  { space: KEYS, key: "ab", main: 9, sub: 1, value: "two", effect: 1 },
  { space: KEYS, key: "ab\xff", main: 2 ** 40, value: "", effect: 1 },
  { space: spaces.leases, key: "\0\x01", main: 5, value: "lease", effect: 1 },
];

async function opened(key: ObjectKey, body: Buffer, ref: TableRef = tableRefOf(key, body)): Promise<Run> {
  const store = new MemoryStore(runtime);
  await store.put(key, body, { condition: { kind: "none" }, timeoutMs: 1000 });
  const cache = new BlockCache({ bytesMax: 1 << 20 });
  return new Run([new Table(ref, { store, runtime, cache, requestTimeoutMs: 1000 })]);
}

async function rowsOf(run: Run, at = AT_HEAD): Promise<(string | null)[]> {
  const rows: (string | null)[] = [];
  for (const space of [KEYS, spaces.leases]) {
    const cursor = new RunCursor(run, space, { from: "", to: null }, at, false);
    for (await cursor.start(); cursor.version !== null; await cursor.advance()) rows.push(shown(cursor.version));
  }
  return rows;
}

test("a table's bytes are those of format version 1", async () => {
  const { body, key } = await buildTable(golden);
  equal(body.toString("hex"), GOLDEN_HEX);
  equal(key, `sst/${BRANCH}-7-${hash("sha256", body, "hex")}`);
  const ref = await verifyTable(key, body, runtime);
  deepEqual(
    ref.spaces.map(({ space, entries, keys, effectSum }) => [space, entries, keys, effectSum]),
    [
      [0, 4, 3, 2],
      [2, 1, 1, 1],
    ],
  );
  deepEqual(await rowsOf(await opened(key, body)), [
    "a@9.0 deleted",
    "ab@9.1=two",
    "ab\xff@1099511627776.0=",
    "\0\x01@5.0=lease",
  ]);
});

test("any flipped bit is found and the table named; no read ever gives other rows", async () => {
  const { body, key } = await buildTable(golden, { blockBytes: 20 });
  const ref = tableRefOf(key, body);
  const want = await rowsOf(await opened(key, body));
  for (let bit = 0; bit < body.length * 8; bit++) {
    const bad = Buffer.from(body);
    bad[bit >> 3]! ^= 1 << (bit & 7);
    await rejects(verifyTable(key, bad, runtime), (error) => named(error, key), `bit ${bit}`);
    // Also where only parts are read, and where the name would be right.
    try {
      deepEqual(await rowsOf(await opened(key, bad, ref)), want);
    } catch (error) {
      if (!named(error, key)) throw error;
    }
    const renamed = tableKey({ branch: BRANCH, epoch: 7 as Epoch, sha256: hash("sha256", bad, "hex") });
    await rejects(verifyTable(renamed, bad, runtime), (error) => named(error, renamed), `bit ${bit}`);
  }
});

const named = (error: unknown, key: ObjectKey): boolean =>
  error instanceof DbError && ["corrupt", "storeRefused"].includes(error.kind) && error.message.includes(key);

test("a table that is cut short, missing, or another's is refused by name", async () => {
  const { body, key } = await buildTable(golden);
  const ref = tableRefOf(key, body);
  for (let length = 0; length < body.length; length += 7) {
    const short = await opened(key, body.subarray(0, length), ref);
    await rejects(rowsOf(short), (error) => named(error, key));
  }
  const gone = new Run([
    new Table(ref, {
      store: new MemoryStore(runtime),
      runtime,
      cache: new BlockCache({ bytesMax: 9999 }),
      requestTimeoutMs: 1,
    }),
  ]);
  await rejects(rowsOf(gone), /missing/);
  await rejects(rowsOf(await opened(key, body, { ...ref, contentHash: "00".repeat(16) })), /content hash/);
});

test("hostile bytes with right checksums are refused, not believed", async () => {
  const { body, key } = await buildTable(golden);
  await fc.assert(
    fc.asyncProperty(fc.nat(body.length - 13), fc.nat(255), async (at, byte) => {
      const bad = Buffer.from(body);
      if (bad[at] === byte) return;
      bad[at] = byte;
      resealFooter(bad);
      try {
        const ref = tableRefOf(key, bad);
        await rowsOf(await opened(key, bad, ref));
      } catch (error) {
        equal(named(error, key), true, String(error));
      }
    }),
    { numRuns: 400 },
  );
});

/** Makes the footer's checksum right again. */
function resealFooter(body: Buffer): void {
  const length = body.readUInt32LE(body.length - 12);
  const start = body.length - 12 - length;
  if (start < 0) return;
  body.writeUInt32LE(crc32c(body, start, body.length - 8), body.length - 8);
}

test("keys and values far larger than a block, and a key with very many versions, are read back", async () => {
  const large = Buffer.alloc(3 << 20, "value ");
  const longKey = "k".repeat(1_500_000);
  const rows: Row[] = [{ space: KEYS, key: "big", main: 5, value: large, effect: 1 }];
  for (let main = 30_000; main > 0; main--) {
    rows.push({ space: KEYS, key: "hot", main, value: `value ${main}`, effect: main === 1 ? 1 : 0 });
  }
  rows.push({ space: KEYS, key: longKey, main: 7, value: "long", effect: 1 });
  rows.push({ space: KEYS, key: `${longKey}2`, main: 8, value: "longer", effect: 1 });
  const { body, key } = await buildTable(rows);
  const run = await opened(key, body);
  equal(run.tables[0]!.ref.end.key.length < 200, true, "bounds are short");
  for (const main of [1, 2, 777, 15_000, 30_000]) {
    equal((await run.get(new PointLookup(KEYS, "hot", main), true))?.main, main);
    const [, hot] = await rowsOf(run, main);
    equal(main < 9 || hot === `hot@${main}.0=value ${main}`, true);
  }
  const found = await run.get(new PointLookup(KEYS, "big", AT_HEAD), true);
  equal(Buffer.compare(found!.bytes.subarray(found!.start, found!.end), large), 0);
  equal((await rowsOf(run)).length, 4);
  equal(await run.count(KEYS, { from: "", to: null }, AT_HEAD), 4);
  equal(await run.count(KEYS, { from: "hot", to: "hot\0" }, 1), 1);
  equal(await run.count(KEYS, { from: "hot", to: "hot\0" }, 0), 0);
});

test("a count of many blocks reads only those at its edges", async () => {
  const rows: Row[] = [];
  for (let i = 0; i < 20_000; i++) {
    rows.push({
      space: KEYS,
      key: `key-${String(i).padStart(6, "0")}`,
      main: i + 2,
      value: `value of ${i}`,
      effect: 1,
    });
  }
  const { body, key } = await buildTable(rows);
  const run = await opened(key, body);
  equal(await run.count(KEYS, { from: "key-000777", to: "key-019000" }, AT_HEAD), 19_000 - 777);
  const { open, partitions } = await indexOf(run.tables[0]!);
  let cached = 0;
  for (const partition of partitions) {
    for (let b = 0; b < partition.count; b++) if (run.tables[0]!.hasBlock(partition, b)) cached++;
  }
  equal(open.footer.spaces[0]!.entries, 20_000);
  equal(cached <= 2, true, `${cached} blocks`);
  equal(await run.count(KEYS, { from: "", to: null }, 10_000), 9_999);
});

async function indexOf(table: Table) {
  const open = await table.open();
  return { open, partitions: await Promise.all(open.top.handles().map((_, p) => table.partition(open, p))) };
}

test("the bloom filter knows every key, and takes few missing ones for present", async () => {
  const rows: Row[] = Array.from({ length: 30_000 }, (_, i) => ({
    space: KEYS,
    key: `k${String(i).padStart(7, "0")}`,
    main: 2,
    value: "",
  }));
  const { body, key } = await buildTable(rows);
  const { open } = await indexOf((await opened(key, body)).tables[0]!);
  const table = (await opened(key, body)).tables[0]!;
  let wrong = 0;
  for (let i = 0; i < 30_000; i++) {
    equal(await table.mayHold(open, new KeyHash().of(KEYS, rows[i]!.key)), true);
    if (await table.mayHold(open, new KeyHash().of(KEYS, `missing${i}`))) wrong++;
  }
  equal(wrong < 600, true, `${wrong} of 30000`);
});

test("a version is what was put in", async () => {
  const { body, key } = await buildTable(golden);
  const run = await opened(key, body);
  const found = await run.get(new PointLookup(KEYS, "ab", 9), true);
  equal(shown(found ?? null), shown(versionOf(golden[2]!)));
  equal(found?.effect, 1);
});

/** Made once by format version 1; a table like it must be readable for ever. */
const GOLDEN_HEX = [
  "543454420101000000000000000161010901000404036f6e650101620c09010374776f0201ff048080808080200000c5f9b4",
  "f6000200010405056c65617365004805007f00000161000c2222040404fcffffffff1f048080808080200025bd8136020000",
  "00330c0c01010500020500a6e2ce88b26110b1800164c200cd6c0f280000016100441818010404fcffffffff1f0480808080",
  "802002000000610d0d0101050002050052ea12e9543454420101000000000000000102030405060708090a0b0c0d0e0f333b",
  "7ebb2293c8dec49d0f233f46a32f06440273010880012525220001610002030001000002000404fcffffffff1f0480808080",
  "80200301060201050002050100055e000000485c8a9354345445",
].join("");
