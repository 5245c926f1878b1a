import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, link, mkdir, open, readdir, rename, stat, statfs, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { tryLock } from "fs-native-extensions";
import { assert } from "../base/assert.ts";
import { codeOf, DiskError, diskError } from "./disk-error.ts";
import { createReadPace, NodeDiskFile, readFully } from "./node-disk-file.ts";
import { fileSystemName } from "./node-file-system.ts";
import type { Disk, DiskFile, DiskLock } from "./runtime.ts";

export class NodeDisk implements Disk {
  private bootIdentity: string | null = null;
  private readonly readPace = createReadPace();

  async open(path: string, options: { create: boolean; sync?: boolean }): Promise<DiskFile | null> {
    if (options.sync === true && constants.O_DSYNC === undefined) {
      throw new DiskError(`cannot open the file ${path}: this system has no O_DSYNC`, "ENOSYS");
    }
    const flags =
      constants.O_RDWR | (options.create ? constants.O_CREAT : 0) | (options.sync === true ? constants.O_DSYNC : 0);
    const handle = await openOrMissing(path, flags);
    return handle === null ? null : new NodeDiskFile(path, handle, this.readPace);
  }

  async readFile(path: string, bytesMax: number): Promise<Buffer | null> {
    return withFile(path, async (handle) => {
      const { size } = await handle.stat();
      // One byte more than there should be is asked for, so that a file that grows meanwhile is noticed.
      const into = Buffer.allocUnsafeSlow(Math.min(size, bytesMax) + 1);
      const bytes = await readFully(handle, into, 0);
      if (size > bytesMax || bytes > bytesMax) {
        throw new DiskError(`cannot read the file ${path}: it is over ${bytesMax} bytes long`, "EFBIG");
      }
      return into.subarray(0, bytes);
    });
  }

  async readRange(path: string, start: number, end: number): Promise<Buffer | null> {
    assert(Number.isSafeInteger(start) && start >= 0 && end >= start, "a range of a file is 0 <= start <= end");
    return withFile(path, async (handle) => {
      // Clipped by the file's size first: what is allocated is what is there, not what was asked for.
      const { size } = await handle.stat();
      const into = Buffer.allocUnsafeSlow(Math.max(0, Math.min(end, size) - start));
      return into.subarray(0, await readFully(handle, into, start));
    });
  }

  async writeFile(path: string, bytes: Uint8Array): Promise<void> {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC;
    await attempt("write the file", path, async () => {
      await using handle = await open(path, flags, 0o600);
      let at = 0;
      while (at < bytes.length) {
        const { bytesWritten } = await handle.write(bytes, at, bytes.length - at, at);
        if (bytesWritten <= 0) throw new DiskError(`cannot write the file ${path}: the system took no byte`, "EIO");
        at += bytesWritten;
      }
      await handle.sync();
    });
  }

  async stat(path: string): Promise<{ bytes: number; modifiedMs: number; directory: boolean } | null> {
    return attemptOr("look at", path, "ENOENT", null, async () => {
      const found = await stat(path);
      return { bytes: found.size, modifiedMs: Math.floor(found.mtimeMs), directory: found.isDirectory() };
    });
  }

  async list(path: string): Promise<string[]> {
    // The default order of sort is by code unit.
    return attemptOr("list the directory", path, "ENOENT", [], async () => (await readdir(path)).sort());
  }

  async makeDirectory(path: string): Promise<void> {
    await attempt("make the directory", path, () => makeDirectories(path));
  }

  async rename(from: string, to: string): Promise<void> {
    await attempt("rename", `${from} to ${to}`, () => rename(from, to));
  }

  async link(from: string, to: string): Promise<boolean> {
    return attemptOr("link", `${from} to ${to}`, "EEXIST", false, async () => {
      await link(from, to);
      return true;
    });
  }

  async remove(path: string): Promise<boolean> {
    return attemptOr("remove", path, "ENOENT", false, async () => {
      await unlink(path);
      return true;
    });
  }

  async syncDirectory(path: string): Promise<void> {
    // Windows gives no handle of a directory to sync; its journal orders names by itself.
    if (process.platform === "win32") return;
    await attempt("sync the directory", path, async () => {
      await using handle = await open(path, constants.O_RDONLY);
      await handle.sync();
    });
  }

  async lock(path: string): Promise<DiskLock | null> {
    return attempt("lock the file", path, async () => {
      const handle = await open(path, "a+", 0o600);
      try {
        if (tryLock(handle.fd)) {
          const { dev, ino } = await handle.stat({ bigint: true });
          return new NodeDiskLock(path, handle, dev, ino);
        }
      } catch (error) {
        await handle.close();
        throw error;
      }
      await handle.close();
      return null;
    });
  }

  async bootId(): Promise<string> {
    this.bootIdentity ??= await readBootId();
    return this.bootIdentity;
  }

  async space(path: string): Promise<{ bytes: number; freeBytes: number }> {
    const { bsize, blocks, bavail } = await attempt("look at the room of", path, () => statfs(path));
    return { bytes: blocks * bsize, freeBytes: bavail * bsize };
  }

  async fileSystem(path: string): Promise<string> {
    const { type } = await attempt("look at the file system of", path, () => statfs(path, { bigint: true }));
    return fileSystemName(process.platform, type);
  }
}

/**
 * Not mkdir's own `recursive`: Node tries for ever where a file system answers ENOENT below a directory that is there,
 * as
 * /proc does.
 */
async function makeDirectories(path: string): Promise<void> {
  if (await made(path)) return;
  const parent = dirname(path);
  if (parent !== path) await makeDirectories(parent);
  if (!(await made(path))) throw Object.assign(new Error("the system makes no directory there"), { code: "ENOENT" });
}

/** True if the directory is there now; false where its parent is missing. */
async function made(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o700 });
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    if (codeOf(error) !== "EEXIST" || !(await stat(path)).isDirectory()) throw error;
    return true;
  }
}

class NodeDiskLock implements DiskLock {
  readonly device: bigint;
  readonly inode: bigint;
  private readonly path: string;
  private handle: FileHandle | null;

  constructor(path: string, handle: FileHandle, device: bigint, inode: bigint) {
    this.path = path;
    this.handle = handle;
    this.device = device;
    this.inode = inode;
  }

  /** Closing the file gives the lock back. */
  async release(): Promise<void> {
    const handle = this.handle;
    this.handle = null;
    if (handle !== null) await attempt("unlock the file", this.path, () => handle.close());
  }
}

const BOOT_ID_PATH = "/proc/sys/kernel/random/boot_id";

async function readBootId(): Promise<string> {
  // Where the kernel names no boot, every process claims one of its own: never equal, so nothing is concluded from it.
  if (process.platform !== "linux") return `process-${randomBytes(16).toString("hex")}`;
  const handle = await openOrMissing(BOOT_ID_PATH, constants.O_RDONLY);
  if (handle === null) return `process-${randomBytes(16).toString("hex")}`;
  return attempt("read the file", BOOT_ID_PATH, async () => {
    await using file = handle;
    const into = Buffer.alloc(64);
    return into.toString("latin1", 0, await readFully(file, into, 0)).trim();
  });
}

async function openOrMissing(path: string, flags: number): Promise<FileHandle | null> {
  return attemptOr("open the file", path, "ENOENT", null, () => open(path, flags, 0o600), !(flags & constants.O_CREAT));
}

async function withFile<T>(path: string, use: (handle: FileHandle) => Promise<T>): Promise<T | null> {
  const handle = await openOrMissing(path, constants.O_RDONLY);
  if (handle === null) return null;
  return attempt("read the file", path, async () => {
    await using file = handle;
    return await use(file);
  });
}

async function attempt<T>(action: string, path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw error instanceof DiskError ? error : diskError(action, path, error);
  }
}

/** As `attempt`, but a failure with `code` is the answer `instead`. */
async function attemptOr<T, I>(
  action: string,
  path: string,
  code: string,
  instead: I,
  run: () => Promise<T>,
  accepted = true,
): Promise<T | I> {
  try {
    return await run();
  } catch (error) {
    if (accepted && codeOf(error) === code) return instead;
    throw diskError(action, path, error);
  }
}
