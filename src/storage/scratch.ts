import { isDbError } from "../base/errors.ts";
import type { Disk, DiskFile, Random } from "../runtime/runtime.ts";

/**
 * A directory for files that are needed for a while and never again: what is larger than memory allows is sorted in
 * them. Nothing in it outlives its process: what a crash leaves behind is removed when the directory is opened.
 */
export interface Scratch {
  /** A new, empty file, open for reading and writing. */
  create(): Promise<ScratchFile>;
}

export interface ScratchFile {
  readonly file: DiskFile;
  /** Closes and removes it. Never fails: what cannot be removed goes when the directory is opened again. */
  discard(): Promise<void>;
}

/** `directory` belongs to the caller alone: all that is in it is removed. Throws `diskFailed`. */
export async function openScratch(runtime: { disk: Disk; random: Random }, directory: string): Promise<Scratch> {
  const { disk } = runtime;
  // Nothing is lost if this is the last that happens: the next opening goes on with it.
  for (const name of await disk.list(directory)) await disk.remove(`${directory}/${name}`);
  return new ScratchDirectory(disk, directory, runtime.random.bytes(8).toString("hex"));
}

class ScratchDirectory implements Scratch {
  readonly #disk: Disk;
  readonly #directory: string;
  /** Tells this opening's files from those of an earlier one in the same process, which may still be read. */
  readonly #prefix: string;
  #count = 0;
  #made = false;

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
      file,
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
}
