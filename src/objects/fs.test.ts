import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, utimes, writeFile } from "node:fs/promises";
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

test("between processes each slot has one winner, and a register loses no swap", { timeout: 60_000 }, async (t) => {
  const root = await makeRoot();
  const racer = fileURLToPath(new URL("../../test/contract/store-racer.ts", import.meta.url));
  const started = ["a", "b", "c"].map((name) => ({
    name,
    child: spawn(process.execPath, [racer, root, name, "150", "25"]),
  }));
  for (const { child } of started) child.stderr.pipe(process.stderr);
  await Promise.all(started.map(({ child }) => once(child.stdout, "data")));
  const startMs = runtime.clock.wallMs() + 50;
  const racers = await Promise.all(
    started.map(async ({ name, child }) => {
      child.stdin.end(String(startMs));
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
  const wins = racers.map(({ name, won }) => `${name} ${won.length}`).join(", ");
  ok(
    racers.filter(({ won }) => won.length > 0).length >= 2,
    `one process won every slot: nothing was raced for (${wins})`,
  );
  t.diagnostic(`slots won: ${wins}`);
  for (let n = 1; n <= 150; n++) {
    equal((await store.get(segmentKey(branch, slot(n)), soon))?.body.toString(), `${winners.get(n)} ${n}`);
  }
  const register = new Register<unknown>(store, leaderKey(branch), { runtime, decode: (json) => json });
  equal((await register.read(soon))?.counter, 75);
  deepEqual(await readdir(join(root, ".t4/tmp")), [], "no temporary file is left");
});

/**
 * A disk that is gone after so many operations: every later one does nothing, as if the process had died, and fails
 * with a code.
 */
function dyingDisk(disk: Disk, operations: number, code: string): Disk & { died: boolean } {
  let left = operations;
  return new Proxy(disk, {
    get(target, property) {
      if (property === "died") return left < 0;
      const method = Reflect.get(target, property);
      return (...args: unknown[]) => {
        if (left-- <= 0) return Promise.reject(Object.assign(new DbError("diskFailed", "gone"), { code }));
        return Reflect.apply(method, target, args);
      };
    },
  }) as Disk & { died: boolean };
}

test("after a death between any two steps the old object or the new one is there, whole", async () => {
  const cases = [
    ["absent", "EIO"],
    ["absent", "EACCES"],
    ["match", "EACCES"],
    ["none", "EIO"],
  ] as const;
  for (const [kind, code] of cases) {
    let steps = 0;
    while (!(await dieAfter(steps, kind, code))) steps++;
    ok(steps > 8, `${kind}: a put has ${steps} steps, too few to have been cut`);
  }
});

/** Dies after so many steps of a put, then looks at what is left. True when the put came to its end. */
async function dieAfter(steps: number, kind: PutCondition["kind"], code: string): Promise<boolean> {
  const root = await makeRoot();
  const key = nameKey("main");
  const store = new FileStore(runtime, root);
  const before = kind === "absent" ? null : "old";
  const old = before === null ? null : await store.put(key, Buffer.from(before), absent);
  const condition: PutCondition =
    kind === "match" && old?.kind === "written" ? { kind, etag: old.etag } : { kind: kind === "match" ? "none" : kind };
  const disk = dyingDisk(runtime.disk, steps, code);
  const told = await new FileStore({ ...runtime, disk }, root).put(key, Buffer.from("new"), put(condition));
  const found = (await store.get(key, soon))?.body.toString() ?? null;
  const where = `${kind}, dead with ${code} after step ${steps}: told ${told.kind}`;
  if (told.kind === "written") equal(found, "new", where);
  else if (told.kind === "refused") equal(found, before, where);
  else ok(told.kind === "unknown" && (found === "new" || found === before), where);
  equal((await store.put(key, Buffer.from("later"), absent)).kind, found === null ? "written" : "preconditionFailed");
  equal((await store.put(key, Buffer.from("later"), put({ kind: "none" }))).kind, "written");
  equal((await store.list("", { ...soon, limit: 10 })).objects.length, 1);
  return !disk.died;
}

test("a put syncs the file before it has its name, the directory before the answer, and no more", async () => {
  const root = await makeRoot();
  const calls: string[] = [];
  const disk = new Proxy(runtime.disk, {
    get(target, property) {
      const method = Reflect.get(target, property);
      return async (...args: unknown[]) => {
        const result = await Reflect.apply(method, target, args);
        const places = args.filter((arg) => typeof arg === "string").map((path) => path.slice(root.length));
        calls.push([String(property), ...places].join(" ").replace(/tmp\/[0-9a-f]*|lock-[0-9]*/, "*"));
        return result;
      };
    },
  });
  const store = new FileStore({ ...runtime, disk }, root);
  const first = await store.put(nameKey("a"), Buffer.from("x"), absent);
  calls.length = 0;
  await store.put(nameKey("main"), Buffer.from("x"), absent);
  deepEqual(calls.slice(0, 2), ["writeFile /.t4/*", "link /.t4/* /name/main"]);
  deepEqual(calls.slice(2).sort(), ["remove /.t4/*", "syncDirectory /name"]);
  calls.length = 0;
  ok(first.kind === "written");
  await store.put(nameKey("a"), Buffer.from("y"), put({ kind: "match", etag: first.etag }));
  deepEqual(calls, [
    "writeFile /.t4/*",
    "lock /.t4/*",
    "stat /name/a",
    "readFile /name/a",
    "rename /.t4/* /name/a",
    "syncDirectory /name",
  ]);
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

test("a list orders a directory among files by their keys, and reads foreign trees to a bound", async () => {
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

test("a directory that goes is told of, not written anew; it serves again when it is back", async () => {
  const root = await makeRoot();
  const store = new FileStore(runtime, root);
  const key = segmentKey(branch, slot(1));
  equal((await store.put(key, Buffer.from("a"), absent)).kind, "written");
  for (const empty of [false, true]) {
    await rename(root, `${root}.away`);
    // As the place of a file system that was mounted there is: empty, or missing.
    if (empty) await mkdir(root);
    const gone = {
      kind: "storeUnavailable",
      message: /its folder .t4 has gone: the directory was removed, or its file/,
    };
    const brief = { timeoutMs: 50 };
    await rejects(store.get(key, brief), gone);
    await rejects(store.get(key, { ...brief, range: { start: 0, end: 1 } }), gone);
    await rejects(store.list(prefixes.branches, { ...brief, limit: 10 }), gone);
    await rejects(store.delete(key, brief), gone);
    for (let n = 0; n < 2; n++) {
      const refused = await store.put(segmentKey(branch, slot(2)), Buffer.from("b"), absent);
      ok(refused.kind === "refused" && refused.retryable && gone.message.test(refused.cause.message));
    }
    deepEqual(await readdir(join(root, "..")), empty ? ["store", "store.away"] : ["store.away"]);
    if (empty) deepEqual(await readdir(root), []);
    if (empty) await rm(root, { recursive: true });
    await rename(`${root}.away`, root);
    equal((await store.get(key, soon))?.body.toString(), "a");
  }
  equal((await store.put(segmentKey(branch, slot(2)), Buffer.from("b"), absent)).kind, "written");
});
