import { readSync, writeSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { assert } from "../base/assert.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import { DiskError, diskError } from "./disk-error.ts";
import { BLOCKING_READ_MS_MAX, DiskPace, READ_PROBE_INTERVAL_MS_MIN } from "./disk-pace.ts";
import type { DiskFile } from "./runtime.ts";

/** A read or write of one system call; Linux takes no more than 2 GiB less a page in one. */
const CALL_BYTES_MAX = 1 << 30;

export class NodeDiskFile implements DiskFile {
  private readonly path: string;
  private readonly handle: FileHandle;
  private readonly pace = new DiskPace(performance.now());
  private readonly readPace: DiskPace;
  private open = true;

  /** `readPace` is what was learnt of reading, from all files of the disk. */
  constructor(path: string, handle: FileHandle, readPace = createReadPace()) {
    this.path = path;
    this.handle = handle;
    this.readPace = readPace;
  }

  write(bytes: Uint8Array, position: number): MaybePromise<void> {
    this.checkUse(position);
    const startMs = performance.now();
    if (!this.pace.shouldBlock(bytes.length, startMs)) return this.writePooled(bytes, position, startMs);
    try {
      let at = 0;
      while (at < bytes.length)
        at += this.progress(writeSync(this.handle.fd, bytes, at, bytes.length - at, position + at));
    } catch (error) {
      throw this.failure("write the file", error);
    }
    this.pace.blocked(startMs, performance.now());
  }

  private async writePooled(bytes: Uint8Array, position: number, startMs: number): Promise<void> {
    try {
      let at = 0;
      while (at < bytes.length) {
        const count = Math.min(bytes.length - at, CALL_BYTES_MAX);
        at += this.progress((await this.handle.write(bytes, at, count, position + at)).bytesWritten);
      }
    } catch (error) {
      throw this.failure("write the file", error);
    }
    this.pace.pooled(bytes.length, startMs, performance.now());
  }

  read(into: Uint8Array, position: number): MaybePromise<number> {
    return this.readAtOnce(into, position) ?? this.readPooled(into, position, performance.now());
  }

  readAtOnce(into: Uint8Array, position: number): number | null {
    this.checkUse(position);
    const startMs = performance.now();
    if (!this.readPace.shouldBlock(into.length, startMs)) return null;
    let at = 0;
    try {
      for (let bytes = -1; bytes !== 0 && at < into.length; at += bytes) {
        bytes = readSync(this.handle.fd, into, at, into.length - at, position + at);
      }
    } catch (error) {
      throw this.failure("read the file", error);
    }
    this.readPace.blocked(startMs, performance.now());
    return at;
  }

  private async readPooled(into: Uint8Array, position: number, startMs: number): Promise<number> {
    try {
      const bytes = await readFully(this.handle, into, position);
      this.readPace.pooled(into.length, startMs, performance.now());
      return bytes;
    } catch (error) {
      throw this.failure("read the file", error);
    }
  }

  async size(): Promise<number> {
    try {
      return (await this.handle.stat()).size;
    } catch (error) {
      throw this.failure("look at the file", error);
    }
  }

  async truncate(bytes: number): Promise<void> {
    this.checkUse(bytes);
    try {
      await this.handle.truncate(bytes);
    } catch (error) {
      throw this.failure("truncate the file", error);
    }
  }

  async sync(): Promise<void> {
    try {
      await this.handle.sync();
    } catch (error) {
      throw this.failure("sync the file", error);
    }
  }

  /** Waits for what is under way. A second close does nothing. */
  async close(): Promise<void> {
    if (!this.open) return;
    this.open = false;
    try {
      await this.handle.close();
    } catch (error) {
      throw this.failure("close the file", error);
    }
  }

  private checkUse(position: number): void {
    assert(this.open, "a closed file is not used");
    assert(Number.isSafeInteger(position) && position >= 0, "a place in a file is a safe integer >= 0");
  }

  private progress(written: number): number {
    if (written <= 0) throw new DiskError(`cannot write the file ${this.path}: the system took no byte`, "EIO");
    return written;
  }

  private failure(action: string, error: unknown): Error {
    return error instanceof DiskError ? error : diskError(action, this.path, error);
  }
}

export const createReadPace = (): DiskPace =>
  new DiskPace(performance.now(), BLOCKING_READ_MS_MAX, READ_PROBE_INTERVAL_MS_MIN);

/** Fills `into` from `position`, whatever pieces the system gives; fewer bytes only at the end of the file. */
export async function readFully(handle: FileHandle, into: Uint8Array, position: number): Promise<number> {
  let at = 0;
  while (at < into.length) {
    const count = Math.min(into.length - at, CALL_BYTES_MAX);
    const { bytesRead } = await handle.read(into, at, count, position + at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return at;
}
