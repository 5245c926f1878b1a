import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { objectStoreContract } from "../../test/contract/objects.ts";
import { DbError } from "../base/errors.ts";
import { branchId, type ObjectKey, slot } from "../base/ids.ts";
import { createNodeRuntime } from "../runtime/node.ts";
import type { Disk } from "../runtime/runtime.ts";
import { FileStore } from "./fs.ts";
import { leaderKey, nameKey, prefixes, repositoryKey, segmentKey } from "./keys.ts";
import type { PutCondition, PutOutcome } from "./objects.ts";
import { Register } from "./register.ts";

const runtime = createNodeRuntime();
const branch = branchId("f".repeat(32));
const soon = { timeoutMs: 10_000 };
const put = (condition: PutCondition) => ({ ...soon, condition });
const absent = put({ kind: "absent" });

const made: string[] = [];
after(() => Promise.all(made.map((directory) => rm(directory, { recursive: true }))));

async function makeRoot(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "t4-store-"));
  made.push(directory);
  return join(directory, "store");
}

objectStoreContract("directory", async () => ({ store: new FileStore(runtime, await makeRoot()), runtime }));

test("between processes each slot has one winner, and a register loses no swap", { timeout: 60_000 }, async () => {
  const root = await makeRoot();
  const racer = fileURLToPath(new URL("../../test/contract/store-racer.ts", import.meta.url));
  const started = ["a", "b", "c"].map((name) => ({
    name,
    child: spawn(process.execPath, [racer, root, name, "150", "25"]),
  }));
  for (const { child } of started) child.stderr.pipe(process.stderr);
  await Promise.all(started.map(({ child }) => once(child.stdout, "data")));
  const racers = await Promise.all(
    started.map(async ({ name, child }) => {
      child.stdin.end();
      return { name, ...((await json(child.stdout)) as { won: number[]; swapped: number }) };
    }),
  );
  const store = new FileStore(runtime, root);
  const winners = new Map(racers.flatMap(({ name, won }) => won.map((n) => [n, name] as const)));
  equal(
    racers.reduce((sum, { won }) => sum + won.length, 0),
    150,
    "each slot was won once",
  );
  ok(racers.filter(({ won }) => won.length > 0).length >= 2, "more than one process won something: they did race");
  for (let n = 1; n <= 150; n++) {
    equal((await store.get(segmentKey(branch, slot(n)), soon))?.body.toString(), `${winners.get(n)} ${n}`);
  }
  const register = new Register<unknown>(store, leaderKey(branch), { runtime, decode: (json) => json });
  equal((await register.read(soon))?.counter, 75);
  deepEqual(await readdir(join(root, ".t4/tmp")), [], "no temporary file is left");
});

/** A disk that is gone after so many operations: every later one fails and does nothing, as if the process had died. */
function dyingDisk(disk: Disk, operations: number): Disk & { died: boolean } {
  let left = operations;
  return new Proxy(disk, {
    get(target, property) {
      if (property === "died") return left < 0;
      const method = Reflect.get(target, property);
      return (...args: unknown[]) => {
        if (left-- <= 0) return Promise.reject(new DbError("diskFailed", "the process has died"));
        return Reflect.apply(method, target, args);
      };
    },
  }) as Disk & { died: boolean };
}

test("after a death between any two steps the old object or the new one is there, whole, and life goes on", async () => {
  const conditions: PutCondition["kind"][] = ["absent", "match", "none"];
  for (const kind of conditions) {
    let steps = 0;
    for (let survived = false; !survived; steps++) {
      const root = await makeRoot();
      const key = nameKey("main");
      const store = new FileStore(runtime, root);
      const old = kind === "absent" ? null : await store.put(key, Buffer.from("old"), absent);
      const condition: PutCondition =
        old?.kind === "written" && kind === "match"
          ? { kind, etag: old.etag }
          : { kind: kind === "absent" ? kind : "none" };
      const disk = dyingDisk(runtime.disk, steps);
      const dying = new FileStore({ ...runtime, disk }, root);
      const told = await dying.put(key, Buffer.from("new"), put(condition));
      survived = !disk.died;
      const found = (await store.get(key, soon))?.body.toString() ?? null;
      const before = kind === "absent" ? null : "old";
      if (told.kind === "written") equal(found, "new");
      else if (told.kind === "refused") equal(found, before, `${kind}, step ${steps}: said that nothing was written`);
      else ok(told.kind === "unknown" && (found === "new" || found === before), `${kind}, step ${steps}: ${told.kind}`);
      equal(
        (await store.put(key, Buffer.from("later"), absent)).kind,
        found === null ? "written" : "preconditionFailed",
      );
      equal((await store.put(key, Buffer.from("later"), put({ kind: "none" }))).kind, "written");
      equal((await store.list("", { ...soon, limit: 10 })).objects.length, 1);
    }
    ok(steps > 8, `${kind}: a put has ${steps} steps, too few to have been cut`);
  }
});

test("temporary files left by a crash are removed by a later opening, young ones are not", async () => {
  const root = await makeRoot();
  await mkdir(join(root, ".t4/tmp"), { recursive: true });
  for (const name of ["old", "young"]) await writeFile(join(root, ".t4/tmp", name), "x");
  await utimes(join(root, ".t4/tmp/old"), new Date(0), new Date(0));
  equal((await new FileStore(runtime, root).put(repositoryKey, Buffer.from("x"), absent)).kind, "written");
  deepEqual(await readdir(join(root, ".t4/tmp")), ["young"]);
});

test("an object is a file with just its bytes at its name; the store's own files are no objects", async () => {
  const root = await makeRoot();
  const store = new FileStore(runtime, root);
  await store.put(nameKey("main"), Buffer.from("bytes"), put({ kind: "none" }));
  equal(await readFile(join(root, "name/main"), "utf8"), "bytes");
  deepEqual(
    (await store.list("", { ...soon, limit: 10 })).objects.map(({ key }) => key),
    ["name/main"],
  );
});

test("a list orders a directory among files as their keys are ordered, and reads foreign trees to a bound", async () => {
  const root = await makeRoot();
  const files = ["a/b", "a-b", "a.c/d", "a0", "a/b-c", "x-a/z", "x/y", "x-a.b"];
  for (const file of files) {
    await mkdir(join(root, file, ".."), { recursive: true });
    await writeFile(join(root, file), file);
  }
  const store = new FileStore(runtime, root);
  const list = async (prefix: string, startAfter?: string) => {
    const options = startAfter === undefined ? {} : { startAfter: startAfter as ObjectKey };
    return (await store.list(prefix, { ...soon, ...options, limit: 1000 })).objects.map(({ key }) => key as string);
  };
  const sorted = files.toSorted();
  deepEqual(await list(""), sorted);
  for (const startAfter of [...files, "a", "a/", "x-a/zz", "zz"]) {
    deepEqual(
      await list("", startAfter),
      sorted.filter((key) => key > startAfter),
      startAfter,
    );
  }
  deepEqual(await list("a/"), ["a/b", "a/b-c"]);
  deepEqual(await list("x-a"), ["x-a.b", "x-a/z"]);
  deepEqual(await list("nowhere/at/all/"), []);
  await symlink("..", join(root, "x/loop"));
  await rejects(list(""), { kind: "storeRefused", message: /16 directories deep/ });
});

test("no key or prefix leads out of the root or into the store's own directory", async () => {
  const store = new FileStore(runtime, await makeRoot());
  for (const key of ["../x", "a/../../x", "/etc/passwd", "a//b", "", ".", ".t4/lock-0", "a\0b", "x".repeat(256)]) {
    throws(() => store.get(key as ObjectKey, soon), { name: "AssertionError" }, key);
    await rejects(store.put(key as ObjectKey, Buffer.from("x"), absent), { name: "AssertionError" }, key);
  }
  throws(() => store.list("../", { ...soon, limit: 1 }), { name: "AssertionError" });
});

test("a lock that another holds: a replace says that nothing was written, a delete that it is not known", async () => {
  const root = await makeRoot();
  const store = new FileStore(runtime, root);
  const key = nameKey("main");
  await store.put(key, Buffer.from("x"), put({ kind: "none" }));
  const locks = await Promise.all(Array.from({ length: 16 }, (_, n) => runtime.disk.lock(join(root, `.t4/lock-${n}`))));
  const outcome: PutOutcome = await store.put(key, Buffer.from("y"), { timeoutMs: 150, condition: { kind: "none" } });
  ok(outcome.kind === "refused" ? outcome.retryable : outcome.kind === "unknown", outcome.kind);
  await rejects(store.delete(key, { timeoutMs: 150 }), { kind: "storeUnavailable" });
  await Promise.all(locks.map((lock) => lock?.release()));
  equal((await store.get(key, soon))?.body.toString(), "x");
  equal((await store.put(key, Buffer.from("z"), put({ kind: "none" }))).kind, "written");
});

test("a directory that cannot be written or read is refused, naming it", {
  skip: process.getuid?.() === 0 && "root may do all",
}, async () => {
  const root = await makeRoot();
  await mkdir(root);
  await chmod(root, 0o500);
  const outcome = await new FileStore(runtime, root).put(repositoryKey, Buffer.from("x"), absent);
  ok(outcome.kind === "refused" && !outcome.retryable && outcome.cause.message.includes(root));
});

test("a file where a directory should be is refused, naming it", async () => {
  const root = await makeRoot();
  await writeFile(root, "not a directory");
  const store = new FileStore(runtime, root);
  const outcome = await store.put(repositoryKey, Buffer.from("x"), absent);
  ok(outcome.kind === "refused" && !outcome.retryable && outcome.cause.message.includes(root), JSON.stringify(outcome));
  await rejects(store.get(repositoryKey, soon), { kind: "storeRefused" });
  await rejects(store.list(prefixes.names, { ...soon, limit: 1 }), { kind: "storeRefused" });
});
