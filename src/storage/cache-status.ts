import type { BlockCache } from "./block-cache.ts";
import type { DiskCache } from "./disk-cache.ts";

/** How the caches of the process are, which all its branches share. Counts are since it started. */
export interface CacheStatus {
  readonly cacheMemoryBytes: number;
  readonly cacheMemoryBytesMax: number;
  /** Blocks that were there when they were asked for, and that had to be read. */
  readonly cacheMemoryHits: number;
  readonly cacheMemoryMisses: number;
  readonly cacheDiskBytes: number;
  /** 0: there is no disk cache. */
  readonly cacheDiskBytesMax: number;
  readonly cacheDiskFiles: number;
  /** Pieces of tables that were there when they were asked for, and that were not. */
  readonly cacheDiskHits: number;
  readonly cacheDiskMisses: number;
  readonly cacheDiskWritten: number;
  /** Pieces that were not kept: too much to write at once, or no room. */
  readonly cacheDiskDropped: number;
  /** Pieces whose bytes were wrong or gone. */
  readonly cacheDiskBad: number;
}

export function cacheStatus(memory: BlockCache, disk: DiskCache | null): CacheStatus {
  const stats = disk?.stats();
  return {
    cacheMemoryBytes: memory.bytes,
    cacheMemoryBytesMax: memory.bytesMax,
    cacheMemoryHits: memory.hits,
    cacheMemoryMisses: memory.misses,
    cacheDiskBytes: stats?.bytes ?? 0,
    cacheDiskBytesMax: stats?.bytesMax ?? 0,
    cacheDiskFiles: stats?.files ?? 0,
    cacheDiskHits: stats?.hits ?? 0,
    cacheDiskMisses: stats?.misses ?? 0,
    cacheDiskWritten: stats?.written ?? 0,
    cacheDiskDropped: stats?.dropped ?? 0,
    cacheDiskBad: stats?.bad ?? 0,
  };
}
