import { ok } from "node:assert/strict";
import { test } from "node:test";
import { openHost, runtime } from "../../../test/engine/open-host.ts";
import { del, put } from "../../../test/engine/requests.ts";
import { seededBytes } from "../../../test/properties.ts";
import { isDbError } from "../../base/errors.ts";
import { MemoryBucket, MemoryStore } from "../../objects/memory.ts";
import type { Database } from "../engine.ts";
import { defaultHostSettings } from "./default-settings.ts";

/** Packed to about half: hex digits. */
const value = (bytes: number): string => seededBytes(bytes >> 1).toString("hex");

async function compactAndDefragment(database: Database): Promise<void> {
  await database.compact({ revision: database.committed, physical: false });
  await database.maintenance.defragment(new AbortController().signal);
}

/** Live bytes are to be this many, before packing, of a whole that is packed to about half or not at all. */
function isAbout({ bytes, bytesInUse }: { bytes: number; bytesInUse: number }, live: number, what: string): void {
  const shown = `${what}: ${bytesInUse} of ${bytes} bytes in use, ${live} live before packing`;
  ok(bytesInUse <= bytes && bytesInUse >= 0.45 * live && bytesInUse <= 1.25 * live, shown);
}

test("bytes in use are those of live pairs, however large the versions that they hide", async (t) => {
  const { main, bucket, close } = await openHost(t);
  const { database } = main;
  for (let n = 0; n < 500; n++) await database.put(put(`key${n}`, value(200)));
  const small = 500 * 220;
  isAbout(database.status(), small, "small pairs");
  for (let n = 0; n < 40; n++) await database.put(put("large", value(200_000)));
  isAbout(database.status(), small + 200_000, "a large pair, written many times");
  await main.checkpoint();
  isAbout(database.status(), small + 200_000, "in tables");
  await database.put(put("large", value(1000)));
  isAbout(database.status(), small + 1000, "the large pair made small");
  await database.deleteRange(del("key1", "key2"));
  const left = (small * 389) / 500 + 1000;
  isAbout(database.status(), left, "111 of them deleted");
  await compactAndDefragment(database);
  isAbout(database.status(), left, "compacted and defragmented");
  const { bytes } = database.status();
  ok(bytes <= 1.1 * left, `${bytes} bytes after that, of ${left} live ones before packing`);
  await database.put(put("large", value(200_000)));
  isAbout(database.status(), left + 200_000, "large again");
  await close();
  const again = await openHost(t, { bucket });
  const { bytesInUse } = again.main.database.status();
  ok(bytesInUse <= 1.25 * (left + 200_000) && bytesInUse >= 0.4 * (left + 200_000), `${bytesInUse} when opened anew`);
  await again.main.database.deleteRange(del("\0", "\0"));
  await compactAndDefragment(again.main.database);
  const empty = again.main.database.status();
  ok(empty.bytesInUse === 0 && empty.bytes < 2000, `${empty.bytesInUse} of ${empty.bytes} when all is deleted`);
});

test("a quota holds against live pairs: writing one again and again is not refused, deleting makes room", async (t) => {
  const { branch } = defaultHostSettings(new MemoryStore(runtime, new MemoryBucket()));
  const { main } = await openHost(t, {
    branch: {
      ...branch,
      leadership: { ...branch.leadership, durability: "object" },
      engine: { ...branch.engine, quotaBytes: 2_000_000 },
    },
  });
  const { database } = main;
  for (let n = 0; n < 100; n++) await database.put(put(`key${n}`, value(500)));
  for (let n = 0; n < 60; n++) await database.put(put("large", value(100_000)));
  let refusedAt = 0;
  for (let n = 0; n < 60 && refusedAt === 0; n++) {
    try {
      await database.put(put(`more${n}`, value(100_000)));
    } catch (error) {
      ok(isDbError(error, "noSpace"), String(error));
      refusedAt = n;
    }
  }
  ok(refusedAt >= 16 && refusedAt <= 45, `refused after ${refusedAt} times 100,000 bytes, of which the half is packed`);
});
