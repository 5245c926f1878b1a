import { deepEqual, equal, rejects } from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type KeyValue, open } from "../../src/index.ts";

const text = ({ key, value }: KeyValue): string => `${key}=${value}`;

test("put, get, delete and transactions in process", async () => {
  await using db = await open({ store: "memory:" });
  equal((await db.put("a", "1")).revision, 2);
  await db.put("b", new Uint8Array([0xff]));
  deepEqual((await db.put("a", "2", { prevKv: true })).prev?.value.toString(), "1");
  const all = await db.get({ prefix: "" });
  deepEqual([all.count, all.revision, all.kvs[0] && text(all.kvs[0])], [2, 4, "a=2"]);
  deepEqual((await db.get("a", { revision: 2 })).kvs.map(text), ["a=1"]);
  const swap = await db.txn({
    compare: [{ key: "a", target: "modRevision", is: "=", than: 4 }],
    success: [{ put: "a", value: "3" }, { get: "a" }, { txn: { success: [{ delete: { from: "b" }, prevKv: true }] } }],
    failure: [{ get: "a" }],
  });
  equal(swap.succeeded, true);
  equal(swap.results.length, 3);
  deepEqual((await db.get({ from: "a", to: "z" })).kvs.map(text), ["a=3"]);
  equal((await db.delete("nothing")).deleted, 0);
  await db.compact(4);
  await rejects(db.get("a", { revision: 3 }), { kind: "compacted" });
  await rejects(db.put("", "x"), { kind: "emptyKey" });
});

test("a watch gives history, then what happens, until it is aborted", async () => {
  await using db = await open({ store: "memory:" });
  await db.put("k1", "old");
  const ended = new AbortController();
  const seen: string[] = [];
  const watching = (async () => {
    for await (const { revision, events } of db.watch(
      { prefix: "k" },
      { startRevision: 2, prevKv: true, signal: ended.signal },
    )) {
      for (const { type, kv, prev } of events) seen.push(`${revision} ${type} ${kv.key} ${prev?.value ?? "-"}`);
      if (revision === 4) ended.abort();
    }
  })();
  await db.put("k1", "new");
  await db.delete("k1");
  await watching;
  deepEqual(seen, ["2 put k1 -", "3 put k1 old", "4 delete k1 new"]);
});

test("leases take their keys with them", async () => {
  await using db = await open({ store: "memory:" });
  const { id, ttlSeconds } = await db.grantLease(60);
  equal(ttlSeconds, 60);
  await db.put("leased", "v", { lease: id });
  equal((await db.get("leased")).kvs[0]?.lease, id);
  equal(await db.keepLeaseAlive(id), 60);
  await db.revokeLease(id);
  equal((await db.get("leased")).count, 0);
  equal(await db.keepLeaseAlive(id), 0);
});

test("a directory keeps it: closed and opened again, and from the store alone with an empty disk", async () => {
  const directory = mkdtempSync(join(tmpdir(), "t4-library-"));
  try {
    const store = `file://${join(directory, "store")}`;
    {
      await using db = await open({ store });
      await db.put("kept", "yes");
    }
    rmSync(join(directory, "store.node"), { recursive: true });
    await using again = await open({ store });
    deepEqual((await again.get("kept")).kvs.map(text), ["kept=yes"]);
    equal(again.status().durability, "local");
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test("a closed database says so; a bad store is refused before anything is written", async () => {
  const db = await open({ store: "memory:" });
  await db.close();
  await rejects(db.put("a", "b"), { kind: "stopped" });
  await rejects(open({ store: "ftp://x" }), { kind: "invalidArgument" });
});
