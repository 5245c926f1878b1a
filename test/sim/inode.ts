import type { SimRandom } from "./random.ts";

/** What a disk writes whole or not at all. */
export const SECTOR_BYTES = 512;

/** How much of what was not synced outlives a crash. */
export type CrashMode = "nothing" | "some" | "everything";

/**
 * A file's content twice: as processes see it, and as it would be after a crash. Sectors are never changed in place, so
 * the two may share them; one that is missing holds zeros.
 */
export class Inode {
  readonly number: bigint;
  readonly directory: boolean;
  modifiedMs: number;
  #live = new Map<number, Uint8Array>();
  #liveBytes = 0;
  readonly #durable = new Map<number, Uint8Array>();
  #durableBytes = 0;
  /** Sectors that the kernel still has to write. */
  readonly #dirty = new Set<number>();

  constructor(number: bigint, directory: boolean, nowMs: number) {
    this.number = number;
    this.directory = directory;
    this.modifiedMs = nowMs;
  }

  get bytes(): number {
    return this.#liveBytes;
  }

  write(bytes: Uint8Array, position: number): void {
    for (const { sector, from, to, at } of pieces(position, bytes.length)) {
      const content = this.#copyOf(sector);
      content.set(bytes.subarray(at, at + to - from), from);
      this.#put(sector, content);
    }
    if (bytes.length > 0) this.#liveBytes = Math.max(this.#liveBytes, position + bytes.length);
  }

  read(into: Uint8Array, position: number): number {
    const count = Math.max(0, Math.min(into.length, this.#liveBytes - position));
    for (const { sector, from, to, at } of pieces(position, count)) {
      const content = this.#live.get(sector);
      if (content === undefined) into.fill(0, at, at + to - from);
      else into.set(content.subarray(from, to), at);
    }
    return count;
  }

  truncate(bytes: number): void {
    if (bytes < this.#liveBytes) {
      const last = Math.floor(bytes / SECTOR_BYTES);
      for (const sector of [...this.#live.keys()]) if (sector > last) this.#put(sector, new Uint8Array(SECTOR_BYTES));
      this.#put(last, this.#copyOf(last).fill(0, bytes % SECTOR_BYTES));
    }
    this.#liveBytes = bytes;
  }

  sync(): void {
    for (const sector of this.#dirty) this.#keep(sector);
    this.#dirty.clear();
    this.#durableBytes = this.#liveBytes;
  }

  /** What O_DSYNC promises of one write. */
  syncRange(position: number, bytes: number): void {
    for (const { sector } of pieces(position, bytes)) {
      this.#keep(sector);
      this.#dirty.delete(sector);
    }
    this.#durableBytes = this.#liveBytes;
  }

  /**
   * The kernel gives up on what it has to write, after an error: it is seen until the crash, and never reaches the
   * disk.
   */
  forgetUnsynced(): void {
    this.#dirty.clear();
  }

  crash(mode: CrashMode, random: SimRandom): void {
    let bytes = mode === "everything" || (mode === "some" && random.chance(0.5)) ? this.#liveBytes : this.#durableBytes;
    for (const sector of this.#dirty) {
      if (mode === "nothing" || (mode === "some" && random.chance(0.5))) continue;
      this.#keep(sector);
      bytes = Math.max(bytes, Math.min(this.#liveBytes, (sector + 1) * SECTOR_BYTES));
    }
    this.#dirty.clear();
    this.#live = new Map(this.#durable);
    this.#liveBytes = Number.MAX_SAFE_INTEGER;
    this.truncate(bytes);
    this.sync();
  }

  #copyOf(sector: number): Uint8Array {
    return this.#live.get(sector)?.slice() ?? new Uint8Array(SECTOR_BYTES);
  }

  #put(sector: number, content: Uint8Array): void {
    if (content.every((byte) => byte === 0)) this.#live.delete(sector);
    else this.#live.set(sector, content);
    this.#dirty.add(sector);
  }

  #keep(sector: number): void {
    const content = this.#live.get(sector);
    if (content === undefined) this.#durable.delete(sector);
    else this.#durable.set(sector, content);
  }
}

/** The parts of [position, position + bytes) by sector: bytes [from, to) of the sector are those from `at` on. */
function* pieces(position: number, bytes: number): Generator<{ sector: number; from: number; to: number; at: number }> {
  for (let at = 0; at < bytes; ) {
    const sector = Math.floor((position + at) / SECTOR_BYTES);
    const from = (position + at) % SECTOR_BYTES;
    const to = Math.min(SECTOR_BYTES, from + bytes - at);
    yield { sector, from, to, at };
    at += to - from;
  }
}
