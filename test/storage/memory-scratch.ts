import { DiskError } from "../../src/runtime/disk-error.ts";
import type { Scratch, ScratchFile } from "../../src/storage/scratch.ts";

/** Scratch files in memory; counted, and failing when told to. */
export class MemoryScratch implements Scratch {
  files = 0;
  created = 0;
  writes = 0;
  /** The n-th write from now on fails. */
  failAt = Number.POSITIVE_INFINITY;
  #damaged = false;

  /** From now on other bytes are read than were written. */
  damage(): void {
    this.#damaged = true;
  }

  async create(): Promise<ScratchFile> {
    this.files++;
    this.created++;
    let content = Buffer.alloc(0);
    return {
      write: async (bytes, position) => {
        if (++this.writes >= this.failAt) throw new DiskError("cannot write the scratch file: it is full", "ENOSPC");
        const larger = Buffer.alloc(Math.max(content.length, position + bytes.length));
        content.copy(larger);
        larger.set(bytes, position);
        content = larger;
      },
      read: async (into, position) => {
        const read = content.copy(into, 0, position);
        if (this.#damaged) into[0]! ^= 1;
        return read;
      },
      discard: async () => {
        this.files--;
      },
    };
  }
}
