import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { describe, test } from "node:test";
import { assert } from "../../src/base/assert.ts";
import { isDbError } from "../../src/base/errors.ts";
import { DiskError } from "../../src/runtime/disk-error.ts";
import type { Disk, DiskFile } from "../../src/runtime/runtime.ts";

/** A disk under test, and a directory on it that exists and is empty. */
export interface DiskUnderTest {
  readonly disk: Disk;
  readonly directory: string;
  readonly close?: () => Promise<void>;
}

const failedWith = (code: string) => (error: unknown) =>
  isDbError(error, "diskFailed") && error instanceof DiskError && error.code === code;

/** What every Disk must do while nothing goes wrong. `open` is called for each test. */
export function diskContract(name: string, open: () => Promise<DiskUnderTest>): void {
  const check = (story: string, run: (disk: Disk, path: (name: string) => string) => Promise<void>): void => {
    test(story, async () => {
      const { disk, directory, close } = await open();
      try {
        await run(disk, (name) => `${directory}/${name}`);
      } finally {
        await close?.();
      }
    });
  };

  describe(`the disk ${name}`, { concurrency: false }, () => {
    for (const sync of [false, true]) {
      check(
        `writes are read back, ${sync ? "with" : "without"} sync, in small and large pieces`,
        async (disk, path) => {
          const file = await opened(disk, path("file"), sync);
          let size = 0;
          for (const bytes of [10, 4096, 300_000, 1, 4096, 4096, 0]) {
            await file.write(Buffer.alloc(bytes, bytes), size);
            const into = Buffer.alloc(bytes);
            equal(await file.read(into, size), bytes);
            ok(into.equals(Buffer.alloc(bytes, bytes)));
            size += bytes;
          }
          equal(await file.size(), size);
          equal(await file.read(Buffer.alloc(10), size - 4), 4);
          equal(await file.read(Buffer.alloc(10), size + 4), 0);
          await file.sync();
          await file.close();
          await file.close();
          equal((await disk.readFile(path("file"), size))?.length, size);
        },
      );
    }

    check("a hole and what grows by truncation hold zeros; truncation forgets", async (disk, path) => {
      const file = await opened(disk, path("file"));
      await file.write(Buffer.from("0123456789"), 0);
      await file.truncate(4);
      await file.write(Buffer.from("x"), 6);
      equal(String(await disk.readFile(path("file"), 10)), "0123\0\0x");
      await file.truncate(9);
      equal(String(await disk.readFile(path("file"), 10)), "0123\0\0x\0\0");
      await file.close();
    });

    check("what is missing is null, false or empty, not a failure", async (disk, path) => {
      equal(await disk.open(path("missing"), { create: false }), null);
      equal(await disk.readFile(path("missing"), 10), null);
      equal(await disk.readRange(path("missing"), 0, 10), null);
      equal(await disk.stat(path("missing")), null);
      equal(await disk.remove(path("missing")), false);
      deepEqual(await disk.list(path("missing")), []);
    });

    check("whole files and ranges", async (disk, path) => {
      await disk.writeFile(path("whole"), Buffer.from("a longer text"));
      await disk.writeFile(path("whole"), Buffer.from("0123456789"));
      equal(String(await disk.readFile(path("whole"), 10)), "0123456789");
      await rejects(disk.readFile(path("whole"), 9), failedWith("EFBIG"));
      equal(String(await disk.readRange(path("whole"), 2, 5)), "234");
      equal(String(await disk.readRange(path("whole"), 8, Number.MAX_SAFE_INTEGER)), "89");
      equal(String(await disk.readRange(path("whole"), 20, 30)), "");
      const stat = await disk.stat(path("whole"));
      ok(stat !== null && Number.isSafeInteger(stat.modifiedMs) && stat.modifiedMs > 0);
      deepEqual([stat.bytes, stat.directory], [10, false]);
      equal((await disk.stat(path(".")))?.directory, true);
    });

    check("link keeps what is there, rename replaces it, list sorts by code unit", async (disk, path) => {
      await disk.makeDirectory(path("names/below"));
      await disk.makeDirectory(path("names/below"));
      for (const name of ["b", "a", "B", "10", "9"]) await disk.writeFile(path(`names/${name}`), Buffer.from(name));
      deepEqual(await disk.list(path("names")), ["10", "9", "B", "a", "b", "below"]);
      equal(await disk.link(path("names/a"), path("names/b")), false);
      equal(String(await disk.readFile(path("names/b"), 10)), "b");
      equal(await disk.link(path("names/a"), path("names/c")), true);
      await disk.rename(path("names/a"), path("names/b"));
      equal(String(await disk.readFile(path("names/b"), 10)), "a");
      equal(await disk.stat(path("names/a")), null);
      equal(await disk.remove(path("names/b")), true);
      equal(String(await disk.readFile(path("names/c"), 10)), "a");
      await disk.syncDirectory(path("names"));
    });

    check("an open file outlives its name", async (disk, path) => {
      const file = await opened(disk, path("file"));
      await file.write(Buffer.from("x"), 0);
      await disk.remove(path("file"));
      await disk.writeFile(path("file"), Buffer.from("new"));
      equal(await file.size(), 1);
      await file.close();
    });

    check("a failure has the system's code", async (disk, path) => {
      await disk.writeFile(path("plain"), Buffer.from("x"));
      await rejects(disk.open(path("no/such"), { create: true }), failedWith("ENOENT"));
      await rejects(disk.writeFile(path("no/such"), Buffer.from("x")), failedWith("ENOENT"));
      await rejects(disk.writeFile(path("plain/below"), Buffer.from("x")), failedWith("ENOTDIR"));
      await rejects(disk.makeDirectory(path("plain")), failedWith("EEXIST"));
      await rejects(disk.link(path("missing"), path("other")), failedWith("ENOENT"));
      await rejects(disk.rename(path("missing"), path("other")), failedWith("ENOENT"));
      await rejects(disk.list(path("plain")), failedWith("ENOTDIR"));
      await rejects(disk.fileSystem(path("missing")), failedWith("ENOENT"));
    });

    check("a lock has one holder, is given back, and tells which file it is", async (disk, path) => {
      const lock = await disk.lock(path("lock"));
      assert(lock !== null, "nobody holds it");
      ok(lock.inode > 0n && lock.device > 0n);
      equal(await disk.lock(path("lock")), null);
      const other = await disk.lock(path("other"));
      ok(other !== null && other.inode !== lock.inode && other.device === lock.device);
      await lock.release();
      await lock.release();
      const again = await disk.lock(path("lock"));
      equal(again?.inode, lock.inode);
      await again?.release();
      await other.release();
    });

    check("the room of a disk is told, and is asked of a path that exists", async (disk, path) => {
      const { bytes, freeBytes } = await disk.space(path("."));
      ok(bytes > 0 && freeBytes > 0 && freeBytes <= bytes);
      await rejects(disk.space(path("missing")), failedWith("ENOENT"));
    });

    check("boot and file system have names", async (disk, path) => {
      const boot = await disk.bootId();
      ok(boot.length >= 16);
      equal(await disk.bootId(), boot);
      ok((await disk.fileSystem(path("."))).length > 0);
    });
  });
}

async function opened(disk: Disk, path: string, sync = false): Promise<DiskFile> {
  const file = await disk.open(path, { create: true, sync });
  assert(file !== null, "the file was made");
  return file;
}
