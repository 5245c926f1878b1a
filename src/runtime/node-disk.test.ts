import { equal, match, notEqual, ok, rejects } from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { diskContract } from "../../test/contract/disk.ts";
import { assert } from "../base/assert.ts";
import { isDbError } from "../base/errors.ts";
import { DiskError } from "./disk-error.ts";
import { NodeDisk } from "./node-disk.ts";
import { fileSystemName } from "./node-file-system.ts";

const directory = await mkdtemp(join(tmpdir(), "t4-disk-"));
after(() => rm(directory, { recursive: true, force: true }));
const disk = new NodeDisk();
const path = (name: string) => join(directory, name);

let tests = 0;
diskContract("of Node", async () => {
  const own = path(`contract-${++tests}`);
  await disk.makeDirectory(own);
  return { disk, directory: own };
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

test("a directory is made with all above it; where the system makes none, it says so", async () => {
  await disk.makeDirectory(path("a/b/c"));
  await disk.makeDirectory(path("a/b/c"));
  if (process.platform !== "linux") return;
  await rejects(disk.makeDirectory("/proc/t4/data"), /cannot make the directory \/proc\/t4\/data: ENOENT: /);
});
