import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import type { PageSource } from "../engine/bbolt/reader.ts";
import { CommandError } from "./errors.ts";
import { ProgressLine } from "./progress.ts";

const DIGEST_BYTES = 32;
/** etcd tells a file with a digest behind it by its size: pages are a multiple of this. */
const SECTOR_BYTES = 512;
const CHUNK_BYTES = 1 << 20;

/** A file of `etcdctl snapshot save`, whose SHA-256 was checked; without `hashCheck`, also a member's own store. */
export class SnapshotFile implements PageSource {
  readonly bytes: number;
  readonly #file: number;
  readonly #begun: { readonly size: number; readonly mtimeMs: number };
  readonly #path: string;

  constructor(path: string, { hashCheck }: { hashCheck: boolean }) {
    this.#path = path;
    try {
      this.#file = openSync(path, "r");
    } catch (error) {
      throw new CommandError(`cannot read ${path}: ${(error as NodeJS.ErrnoException).code}`);
    }
    try {
      const status = fstatSync(this.#file);
      if (!status.isFile()) throw new CommandError(`cannot read ${path}: it is not a file`);
      this.#begun = status;
      const hasDigest = status.size % SECTOR_BYTES === DIGEST_BYTES;
      this.bytes = hasDigest ? status.size - DIGEST_BYTES : status.size;
      if (hashCheck) this.#checkDigest(hasDigest);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  read(start: number, length: number): Buffer {
    const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(length, this.bytes - start)));
    return bytes.subarray(0, this.#fill(bytes, start));
  }

  /** A member that runs writes its store anew while it is read: what was read is then of no moment. */
  checkUnchanged(): void {
    const { size, mtimeMs } = fstatSync(this.#file);
    if (size !== this.#begun.size || mtimeMs !== this.#begun.mtimeMs)
      throw new CommandError(
        `${this.#path}: it was written while it was read: take a snapshot (etcdctl snapshot save)`,
      );
  }

  close(): void {
    closeSync(this.#file);
  }

  #fill(bytes: Buffer, start: number): number {
    let at = 0;
    while (at < bytes.length) {
      let read: number;
      try {
        read = readSync(this.#file, bytes, at, bytes.length - at, start + at);
      } catch (error) {
        throw new CommandError(`cannot read ${this.#path}: ${(error as NodeJS.ErrnoException).code}`);
      }
      if (read === 0) break;
      at += read;
    }
    return at;
  }

  #checkDigest(hasDigest: boolean): void {
    if (!hasDigest) {
      const how = "if it was copied from a member's data directory: --skip-hash-check";
      throw new CommandError(`${this.#path}: there is no SHA-256 behind it; ${how}`);
    }
    const hash = createHash("sha256");
    const line = new ProgressLine();
    for (let at = 0; at < this.bytes; at += CHUNK_BYTES) {
      hash.update(this.read(at, CHUNK_BYTES));
      line.show({ phase: "checking", done: at, total: this.bytes });
    }
    line.clear();
    const digest = Buffer.alloc(DIGEST_BYTES);
    if (this.#fill(digest, this.bytes) !== DIGEST_BYTES || !hash.digest().equals(digest))
      throw new CommandError(`${this.#path}: it is damaged: its SHA-256 is another one`);
  }
}
