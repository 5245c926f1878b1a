import { deepEqual, equal, match, notEqual, ok, rejects } from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { assert } from "../base/assert.ts";
import { isDbError } from "../base/errors.ts";
import { DiskError } from "./disk-error.ts";
import { NodeDisk } from "./node-disk.ts";
import { fileSystemName } from "./node-file-system.ts";

const directory = await mkdtemp(join(tmpdir(), "t4-disk-"));
after(() => rm(directory, { recursive: true, force: true }));
const disk = new NodeDisk();
const path = (name: string) => join(directory, name);

test("a file's writes are read back, with and without sync, in small and large pieces", async () => {
  for (const sync of [false, true]) {
    await using stack = new AsyncDisposableStack();
    const file = await disk.open(path(`file-${sync}`), { create: true, sync });
    assert(file !== null, "the file was made");
    stack.defer(() => file.close());
    let size = 0;
    for (const bytes of [10, 4096, 300_000, 1, 4096, 4096]) {
      await file.write(Buffer.alloc(bytes, bytes), size);
      const into = Buffer.alloc(bytes);
      equal(await file.read(into, size), bytes);
      deepEqual(into, Buffer.alloc(bytes, bytes));
      size += bytes;
    }
    equal(await file.size(), size);
    equal(await file.read(Buffer.alloc(10), size - 4), 4);
    await file.truncate(100);
    await file.sync();
    equal(await file.size(), 100);
  }
});

test("what is missing is null, false or empty, not a failure", async () => {
  equal(await disk.open(path("missing"), { create: false }), null);
  equal(await disk.readFile(path("missing"), 10), null);
  equal(await disk.readRange(path("missing"), 0, 10), null);
  equal(await disk.stat(path("missing")), null);
  equal(await disk.remove(path("missing")), false);
  deepEqual(await disk.list(path("missing")), []);
});

test("whole files and ranges", async () => {
  await disk.writeFile(path("whole"), Buffer.from("a longer text"));
  await disk.writeFile(path("whole"), Buffer.from("0123456789"));
  equal(String(await disk.readFile(path("whole"), 10)), "0123456789");
  await rejects(disk.readFile(path("whole"), 9), (error) => error instanceof DiskError && error.code === "EFBIG");
  equal(String(await disk.readRange(path("whole"), 2, 5)), "234");
  equal(String(await disk.readRange(path("whole"), 8, Number.MAX_SAFE_INTEGER)), "89");
  equal(String(await disk.readRange(path("whole"), 20, 30)), "");
  deepEqual({ ...(await disk.stat(path("whole"))), modifiedMs: 0 }, { bytes: 10, modifiedMs: 0, directory: false });
  equal((await disk.stat(directory))?.directory, true);
});

test("names: link keeps what is there, rename replaces it, list sorts by code unit", async () => {
  await disk.makeDirectory(path("names/below"));
  await disk.makeDirectory(path("names/below"));
  for (const name of ["b", "a", "B", "10", "9"]) await disk.writeFile(path(`names/${name}`), Buffer.from(name));
  deepEqual(await disk.list(path("names")), ["10", "9", "B", "a", "b", "below"]);
  equal(await disk.link(path("names/a"), path("names/b")), false);
  equal(String(await disk.readFile(path("names/b"), 10)), "b");
  equal(await disk.link(path("names/a"), path("names/c")), true);
  await disk.rename(path("names/a"), path("names/b"));
  equal(String(await disk.readFile(path("names/b"), 10)), "a");
  equal(await disk.remove(path("names/b")), true);
  await disk.syncDirectory(path("names"));
  await rejects(disk.link(path("names/missing"), path("names/d")), DiskError);
});

test("a failure names what was tried, the path and the system's code, and keeps its cause", async () => {
  await disk.writeFile(path("plain"), Buffer.from("x"));
  await rejects(disk.writeFile(path("plain/below"), Buffer.from("x")), (error) => {
    ok(isDbError(error, "diskFailed") && error instanceof DiskError && error.cause instanceof Error);
    equal(error.code, "ENOTDIR");
    match(error.message, /^cannot write the file .*plain\/below: ENOTDIR/);
    return true;
  });
  await rejects(disk.open(path("no/such"), { create: true }), (error) => isDbError(error, "diskFailed"));
});

test("a write to a full disk fails, whichever way it was written", { skip: process.platform !== "linux" }, async () => {
  const file = await disk.open("/dev/full", { create: false });
  assert(file !== null, "Linux has /dev/full");
  // From the second on writes may be made in the loop, where a failure is thrown instead of rejected with.
  for (let n = 0; n < 3; n++) {
    await rejects(
      async () => file.write(Buffer.from("x"), 0),
      (error) => {
        return error instanceof DiskError && error.code === "ENOSPC";
      },
    );
  }
  await file.close();
});

test("a lock has one holder in this process, and is given back", async () => {
  const lock = await disk.lock(path("lock"));
  ok(lock !== null && lock.inode > 0n && lock.device > 0n);
  equal(await disk.lock(path("lock")), null);
  await lock.release();
  await lock.release();
  const again = await disk.lock(path("lock"));
  equal(again?.inode, lock.inode);
  await again?.release();
});

test("a lock is held against another process, until that one is killed", { timeout: 20_000 }, async () => {
  const script = `
    const { NodeDisk } = await import(${JSON.stringify(new URL("./node-disk.ts", import.meta.url).href)});
    const lock = await new NodeDisk().lock(${JSON.stringify(path("shared-lock"))});
    process.stdout.write(lock === null ? "refused" : "held");
    setInterval(() => {}, 1000);`;
  const start = () =>
    spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  const holder = start();
  equal(String((await once(holder.stdout, "data"))[0]), "held");
  equal(await disk.lock(path("shared-lock")), null);
  const exit = once(holder, "exit");
  holder.kill("SIGKILL");
  equal((await exit)[1], "SIGKILL");
  const lock = await disk.lock(path("shared-lock"));
  notEqual(lock, null);

  const second = start();
  equal(String((await once(second.stdout, "data"))[0]), "refused");
  const secondExit = once(second, "exit");
  second.kill("SIGKILL");
  await secondExit;
  await lock?.release();
});

test("boot and file system have names", async () => {
  const boot = await disk.bootId();
  ok(boot.length >= 36);
  if (process.platform === "linux") equal(await new NodeDisk().bootId(), boot);
  equal(typeof (await disk.fileSystem(fileURLToPath(new URL(".", import.meta.url)))), "string");
  equal(fileSystemName("linux", 0x6969n), "nfs");
  equal(fileSystemName("linux", -11317950n), "cifs");
  equal(fileSystemName("darwin", 0x6969), "unknown");
  await rejects(disk.fileSystem(path("missing")), (error) => isDbError(error, "diskFailed"));
});
