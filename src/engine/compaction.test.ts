import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { openRig, settle } from "../../test/engine/doubles.ts";
import { put, range } from "../../test/engine/requests.ts";
import { type ErrorKind, isDbError } from "../base/errors.ts";

const isKind = (kind: ErrorKind) => (error: unknown) => isDbError(error, kind);
const at = (revision: number, physical = false) => ({ revision, physical });

test("C1 at or below the compact revision: compacted; beyond the newest: future; 0 passes once", async () => {
  const { database } = await openRig();
  throws(() => database.compact(at(-1)), isKind("compacted"));
  throws(() => database.compact(at(-7)), isKind("compacted"));
  throws(() => database.compact(at(2)), isKind("futureRevision"));
  deepEqual(await database.compact(at(0)), { revision: 1 });
  throws(() => database.compact(at(0)), isKind("compacted"));
  await database.put(put("k"));
  deepEqual(
    await database.compact(at(2)),
    { revision: 2 },
    "C4 the header's revision is the newest, and compaction makes none",
  );
  throws(() => database.compact(at(2)), isKind("compacted"));
  throws(() => database.compact(at(1)), isKind("compacted"));
  throws(() => database.compact(at(1.5)), isKind("invalidArgument"));
});

test("C2 readers are refused below it once it is durable, not before; other compactions at once", async () => {
  const { database, log, watch } = await openRig();
  for (const value of ["1", "2", "3"]) await database.put(put("k", value));
  log.auto = false;
  const compacted = database.compact(at(4));
  equal((await database.range(range("k", "", { revision: 3 }))).count, 1);
  equal(database.compactRevision, -1);
  equal(database.head.compactRevision, 4);
  const second = database.compact(at(3)) as Promise<unknown>;
  const refused = second.catch((error: unknown) => isDbError(error, "compacted"));
  log.commit();
  await compacted;
  equal(await refused, true);
  throws(() => database.range(range("k", "", { revision: 3 })), isKind("compacted"));
  equal((await database.range(range("k", "", { revision: 4 }))).count, 1);
  deepEqual(watch.compactions, [4]);
});

test("C2 of two compactions under way, readers see the durable one", async () => {
  const { database, log } = await openRig();
  for (const value of ["1", "2", "3"]) await database.put(put("k", value));
  log.auto = false;
  const both = [database.compact(at(2)), database.compact(at(4))];
  log.commit(4);
  equal(database.compactRevision, 2);
  log.commit();
  equal(database.compactRevision, 4);
  await Promise.all(both);
});

test("C3 a physical compaction waits for the storage", async () => {
  let finish = (): void => {};
  const { database } = await openRig({ physical: () => new Promise<void>((resolve) => (finish = resolve)) });
  await database.put(put("k"));
  let done = false;
  void Promise.resolve(database.compact(at(2, true))).then(() => (done = true));
  await settle();
  equal(done, false);
  finish();
  await settle();
  equal(done, true);
});

test("C5 the compact revision survives", async () => {
  const first = await openRig();
  await first.database.put(put("k"));
  await first.database.put(put("k"));
  await first.database.compact(at(3));
  const { database } = await openRig({ replay: first.log.records, epoch: 2 });
  equal(database.compactRevision, 3);
  throws(() => database.range(range("k", "", { revision: 2 })), isKind("compacted"));
  throws(() => database.compact(at(3)), isKind("compacted"));
});
