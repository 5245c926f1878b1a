import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const REMOUNTS_MAX = 50;

/** A file system of its own with little room, in memory. Needs root. */
export class SmallDisk {
  readonly #path: string;

  constructor(path: string, bytes: number) {
    this.#path = path;
    mkdirSync(path);
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", path]);
  }

  remount(how: "ro" | "rw"): void {
    execFileSync("mount", ["-o", `remount,${how}`, this.#path]);
  }

  /** Also while files are open for writing on it for a moment, as locks are. */
  remountLazily(how: "ro" | "rw"): void {
    for (let attempt = 1; ; attempt++) {
      try {
        this.remount(how);
        return;
      } catch (error) {
        if (attempt === REMOUNTS_MAX) throw error;
      }
    }
  }

  /** Takes all the room there is by a file of this name. */
  fill(name: string): void {
    const file = openSync(join(this.#path, name), "a");
    const block = Buffer.alloc(4096, 1);
    try {
      while (writeSync(file, block) > 0);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    } finally {
      closeSync(file);
    }
  }

  free(name: string): void {
    rmSync(join(this.#path, name));
  }

  [Symbol.dispose](): void {
    execFileSync("umount", ["--lazy", this.#path]);
  }
}

/** Why no file system can be mounted here, or false. */
export const noMount: string | false = (() => {
  const path = join(tmpdir(), `t4-mount-${process.pid}`);
  try {
    const disk = new SmallDisk(path, 1 << 20);
    disk[Symbol.dispose]();
    return false;
  } catch {
    return "mounting a small file system needs root";
  } finally {
    rmSync(path, { recursive: true, force: true });
  }
})();
