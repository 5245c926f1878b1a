import { isDbError } from "../base/errors.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import { DiskError } from "../runtime/disk-error.ts";
import type { Disk, DiskFile, Random } from "../runtime/runtime.ts";
import { leftToOthers } from "./disk-room.ts";

/**
 * A directory for files that are needed for a while and never again: what is larger than memory allows is sorted in
 * them. Nothing in it outlives its process: what a crash leaves behind is removed when the directory is opened.
 */
export interface Scratch {
  /** A new, empty file, open for reading and writing. */
  create(): Promise<ScratchFile>;
}

export interface ScratchFile extends Pick<DiskFile, "write" | "read"> {
  /** Closes and removes it. Never fails: what cannot be removed goes when the directory is opened again. */
  discard(): Promise<void>;
}

/** Between two looks at the room on the disk at most so much is written. */
const LOOK_BYTES = 16 << 20;

/** `directory` belongs to the caller alone: all that is in it is removed. Throws `diskFailed`. */
export async function openScratch(runtime: { disk: Disk; random: Random }, directory: string): Promise<Scratch> {
  const { disk } = runtime;
  // Nothing is lost if this is the last that happens: the next opening goes on with it.
  for (const name of await disk.list(directory)) await disk.remove(`${directory}/${name}`);
  return new ScratchDirectory(disk, directory, runtime.random.bytes(8).toString("hex"));
}

/** Writing fails, as on a full disk, where others would be left too little room. */
class ScratchDirectory implements Scratch {
  readonly #disk: Disk;
  readonly #directory: string;
  /** Tells this opening's files from those of an earlier one in the same process, which may still be read. */
  readonly #prefix: string;
  #count = 0;
  #made = false;
  /** What may be written before the next look. */
  #room = 0;

  constructor(disk: Disk, directory: string, prefix: string) {
    this.#disk = disk;
    this.#directory = directory;
    this.#prefix = prefix;
  }

  async create(): Promise<ScratchFile> {
    if (!this.#made) await this.#disk.makeDirectory(this.#directory);
    this.#made = true;
    const path = `${this.#directory}/${this.#prefix}-${this.#count++}`;
    const file = (await this.#disk.open(path, { create: true }))!;
    return {
      write: (bytes, position) => {
        if (bytes.length > this.#room) return this.#look(bytes.length).then(() => this.#write(file, bytes, position));
        return this.#write(file, bytes, position);
      },
      read: (into, position) => file.read(into, position),
      discard: async () => {
        try {
          await file.close();
          await this.#disk.remove(path);
        } catch (error) {
          if (!isDbError(error, "diskFailed")) throw error;
        }
      },
    };
  }

  #write(file: DiskFile, bytes: Uint8Array, position: number): MaybePromise<void> {
    this.#room -= bytes.length;
    return file.write(bytes, position);
  }

  async #look(wanted: number): Promise<void> {
    const { bytes, freeBytes } = await this.#disk.space(this.#directory);
    const left = leftToOthers(bytes);
    if (freeBytes - wanted < left) {
      const what = `${freeBytes} bytes are free, ${left} of them are left to others`;
      throw new DiskError(`cannot write to the directory ${this.#directory}: ${what}`, "ENOSPC");
    }
    this.#room = Math.max(wanted, Math.min(freeBytes - left, LOOK_BYTES));
  }
}
