import { isPromise } from "../base/maybe-promise.ts";
import type { Disk, DiskFile } from "../runtime/runtime.ts";

interface OpenFile {
  readonly file: DiskFile;
  readonly bytes: number;
  /** Reads under way. */
  users: number;
  dropped: boolean;
}

export interface FilePart {
  readonly body: Buffer;
  /** Of the whole file. */
  readonly fileBytes: number;
}

/**
 * Files that never change, kept open while they are read again and again: a read is one system call instead of a look,
 * an opening, a read and a closing, each by the thread pool. At most so many, the least used goes first.
 *
 * A file that another process removes lives on here until it is closed. Its bytes are what they were; its room on the
 * disk comes back then.
 */
export class OpenFiles {
  readonly #disk: Pick<Disk, "open">;
  readonly #filesMax: number;
  /** The least used first. */
  readonly #files = new Map<string, OpenFile>();
  #closed = false;

  constructor(disk: Pick<Disk, "open">, filesMax: number) {
    this.#disk = disk;
    this.#filesMax = filesMax;
  }

  /** Bytes [start, end) of the file, fewer only at its end; null where it is missing. */
  async read(path: string, start: number, end: number): Promise<FilePart | null> {
    const found = this.#use(path) ?? (await this.#open(path));
    if (found === null) return null;
    try {
      const { file, bytes } = found;
      const body = Buffer.allocUnsafeSlow(Math.min(end, bytes) - Math.min(start, bytes));
      const reading = body.length === 0 ? 0 : file.read(body, start);
      const read = isPromise(reading) ? await reading : reading;
      return { body: body.subarray(0, read), fileBytes: bytes };
    } finally {
      found.users--;
      if (found.dropped) this.#closeUnused(found);
    }
  }

  #use(path: string): OpenFile | null {
    const found = this.#files.get(path);
    if (found === undefined) return null;
    this.#files.delete(path);
    this.#files.set(path, found);
    found.users++;
    return found;
  }

  async #open(path: string): Promise<OpenFile | null> {
    const file = await this.#disk.open(path, { create: false });
    if (file === null) return null;
    const bytes = await file.size().catch(async (error: unknown) => {
      await file.close();
      throw error;
    });
    const opened: OpenFile = { file, bytes, users: 1, dropped: this.#closed };
    if (this.#closed) return opened;
    // Opened by another read meanwhile: the two are the same.
    this.drop(path);
    this.#files.set(path, opened);
    for (const oldest of this.#files.keys()) {
      if (this.#files.size <= this.#filesMax) break;
      this.drop(oldest);
    }
    return opened;
  }

  /** The file is removed, or not read any more: it is closed when those who read it are done. */
  drop(path: string): void {
    const found = this.#files.get(path);
    if (found === undefined) return;
    this.#files.delete(path);
    found.dropped = true;
    this.#closeUnused(found);
  }

  #closeUnused({ file, users }: OpenFile): void {
    // It was only read: a close that fails has nothing to tell.
    if (users === 0) file.close().catch(() => {});
  }

  /** Reads under way go on. */
  close(): void {
    this.#closed = true;
    for (const path of [...this.#files.keys()]) this.drop(path);
  }
}
