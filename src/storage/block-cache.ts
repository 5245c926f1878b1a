import { assert } from "../base/assert.ts";
import { ByteGate } from "./byte-gate.ts";
import { RecentParts } from "./recent-parts.ts";

/** Anything that is kept: it says what it takes in memory, about. */
export interface Cacheable {
  readonly memoryBytes: number;
}

/** A cached block, in its owner's map and in one of the two lists. */
interface CacheEntry {
  readonly owner: CachedBlocks;
  readonly offset: number;
  /** Null once it has gone. */
  value: Cacheable | null;
  bytes: number;
  /** What had come into the cache until this did. */
  readonly bornAt: number;
  /** Used since it came into its list, or since it was last passed over. */
  used: boolean;
  /** In the list of those that were used again. */
  kept: boolean;
  previous: CacheEntry;
  next: CacheEntry;
}

/** In no list. */
const NOBODY = null as unknown as CacheEntry;

/**
 * A block on its way. A map that has grown leaves its former self behind, with all that was in it: there is found, once
 * the block has come, this and not its bytes.
 */
interface Coming {
  promise: Promise<Cacheable> | null;
}

/** What a cache entry costs beside its value. */
const ENTRY_BYTES = 150;
/** Share of the cache for blocks that were used more than once: a scan cannot drive them out. */
const KEPT_SHARE = 0.75;
/** A scan's uses of a block count as one until so much of the cache has come in since. */
const SAME_USE_SHARE = 1 / 8;
/** What may be on its way into the cache at once, beside what is in it. */
const COMING_SHARE = 1 / 4;
const COMING_BYTES_MIN = 2 << 20;

/**
 * Blocks in memory: one cache for all branches, bounded in bytes, indexes and filters of tables included. A block that
 * is used a second time is kept when its turn to go comes; a scan, which fetches a block ahead and then comes by once,
 * does not count as a use.
 *
 *   put ─► fresh ── used? ─► kept ── used since? ─► to the beginning of kept
 *            └─ no: goes       └─ no: goes
 *
 * A use only marks the block: lists are changed when room is made, so that a hit touches no other block's memory.
 */
export class BlockCache {
  readonly bytesMax: number;
  #bytes = 0;
  #keptBytes = 0;
  #cameIn = 0;
  hits = 0;
  /** Blocks that were asked for and had to be read. */
  misses = 0;
  /** For what is on its way: memory that is not the cache's yet. */
  readonly gate: ByteGate;
  readonly #recent: RecentParts;
  #tables = 0;
  readonly #owners = new Map<string, { readonly blocks: CachedBlocks; holders: number }>();
  readonly #fresh = makeList();
  readonly #kept = makeList();

  constructor(options: { bytesMax: number }) {
    assert(options.bytesMax > 0, "a cache has room");
    this.bytesMax = options.bytesMax;
    this.#recent = new RecentParts(options.bytesMax);
    this.gate = new ByteGate(Math.max(COMING_BYTES_MIN, options.bytesMax * COMING_SHARE));
  }

  /** Grows with all that comes in. */
  get cameIn(): number {
    return this.#cameIn;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The blocks of the table named `key`, shared by all that hold it; each gives them up by `release`. */
  acquire(key: string): CachedBlocks {
    let shared = this.#owners.get(key);
    if (shared === undefined) {
      shared = { blocks: new CachedBlocks(this, this.#tables++), holders: 0 };
      this.#owners.set(key, shared);
    }
    shared.holders++;
    return shared.blocks;
  }

  /** The last holder's release frees the memory; a read that is still under way goes on. */
  release(key: string): void {
    const shared = this.#owners.get(key);
    assert(shared !== undefined, "blocks that are released were acquired");
    if (--shared.holders > 0) return;
    this.#owners.delete(key);
    shared.blocks.clear();
  }

  /** Used by CachedBlocks. */
  meet(table: number, offset: number): boolean {
    return this.#recent.meet(table, offset);
  }

  insert(entry: CacheEntry): void {
    this.#bytes += entry.bytes;
    this.#cameIn += entry.bytes;
    pushFront(this.#fresh, entry);
    this.#makeRoom();
  }

  /** Another form of what is there takes its place. */
  replace(entry: CacheEntry, value: Cacheable, bytes: number): void {
    const growth = bytes - entry.bytes;
    entry.value = value;
    entry.bytes = bytes;
    this.#bytes += growth;
    if (entry.kept) this.#keptBytes += growth;
    if (growth > 0) this.#makeRoom();
  }

  #makeRoom(): void {
    while (this.#bytes > this.bytesMax) {
      // What is kept makes way where it takes more than its share, or nothing else is there.
      const fresh = this.#fresh.previous;
      const fromKept = fresh === this.#fresh || this.#keptBytes > this.bytesMax * KEPT_SHARE;
      const last = fromKept ? this.#kept.previous : fresh;
      if (!last.used) {
        last.owner.forget(last.offset);
        continue;
      }
      // Passed over once: each turn of this loop lets a block go or takes its mark, so that it ends.
      last.used = false;
      unlink(last);
      pushFront(this.#kept, last);
      if (last.kept) continue;
      last.kept = true;
      this.#keptBytes += last.bytes;
    }
  }

  /** A scan came by: only a block that was there long before is taken for one that is used again. */
  useInScan(entry: CacheEntry): void {
    this.hits++;
    if (this.#cameIn - entry.bornAt > this.bytesMax * SAME_USE_SHARE) entry.used = true;
  }

  use(entry: CacheEntry): void {
    this.hits++;
    entry.used = true;
  }

  remove(entry: CacheEntry): void {
    unlink(entry);
    // What has gone points to nothing: the collector of garbage takes it for alive until it looks through everything
    // (an old object that is dead keeps young ones), and with it its neighbours, theirs, and all their bytes.
    entry.value = null;
    entry.previous = NOBODY;
    entry.next = NOBODY;
    this.#bytes -= entry.bytes;
    if (entry.kept) this.#keptBytes -= entry.bytes;
  }
}

/** The cached parts of one table, by their offset, and those that are on their way: each is fetched once. */
export class CachedBlocks {
  readonly #cache: BlockCache;
  readonly #entries = new Map<number, CacheEntry>();
  readonly #pending = new Map<number, Coming>();
  readonly #number: number;

  constructor(cache: BlockCache, number: number) {
    this.#cache = cache;
    this.#number = number;
  }

  get(offset: number, inScan = false): Cacheable | undefined {
    const entry = this.#entries.get(offset);
    if (entry === undefined) return undefined;
    if (inScan) this.#cache.useInScan(entry);
    else this.#cache.use(entry);
    return entry.value ?? undefined;
  }

  /** Without taking it for a use. */
  peek(offset: number): Cacheable | undefined {
    return this.#entries.get(offset)?.value ?? undefined;
  }

  has(offset: number): boolean {
    return this.#entries.has(offset) || this.#pending.has(offset);
  }

  /** Whether a part that is not here was asked for lately. If not, it need not be kept yet: it is known now. */
  meet(offset: number): boolean {
    return this.#cache.meet(this.#number, offset);
  }

  pending(offset: number): Promise<Cacheable> | undefined {
    return this.#pending.get(offset)?.promise ?? undefined;
  }

  /** What will be at `offset`; kept once it is there. A failure is told to all who wait, and not kept. */
  expect<T extends Cacheable>(offset: number, value: Promise<T>): Promise<T> {
    this.#cache.misses++;
    return this.expectAhead(offset, value);
  }

  /** The same, of what nobody has asked for yet. */
  expectAhead<T extends Cacheable>(offset: number, value: Promise<T>): Promise<T> {
    const coming: Coming = { promise: null };
    const settled = (): void => {
      coming.promise = null;
      this.#pending.delete(offset);
    };
    const done = value.then(
      (block) => {
        settled();
        this.put(offset, block);
        return block;
      },
      (error: unknown) => {
        settled();
        throw error;
      },
    );
    coming.promise = done;
    this.#pending.set(offset, coming);
    // A block that was read ahead may have nobody waiting for it; whoever comes for it later asks again.
    done.catch(() => {});
    return done;
  }

  /** In place of what is there, another form of the same. */
  put(offset: number, value: Cacheable): void {
    const bytes = value.memoryBytes + ENTRY_BYTES;
    const present = this.#entries.get(offset);
    // What does not fit is handed out and not kept.
    if (bytes > this.#cache.bytesMax / 4) {
      if (present !== undefined) this.forget(offset);
      return;
    }
    if (present !== undefined) {
      this.#cache.replace(present, value, bytes);
      return;
    }
    const bornAt = this.#cache.cameIn;
    const list = { previous: NOBODY, next: NOBODY };
    const entry = { owner: this, offset, value, bytes, bornAt, used: false, kept: false, ...list };
    this.#entries.set(offset, entry);
    this.#cache.insert(entry);
  }

  /** Who used it last does not expect to come again: it stays if others have used it. */
  passed(offset: number): void {
    const entry = this.#entries.get(offset);
    if (entry !== undefined && !entry.used && !entry.kept) this.forget(offset);
  }

  forget(offset: number): void {
    const entry = this.#entries.get(offset);
    assert(entry !== undefined, "a block that is forgotten was known");
    this.#entries.delete(offset);
    this.#cache.remove(entry);
  }

  /** Gives up the memory of all blocks. */
  clear(): void {
    for (const offset of [...this.#entries.keys()]) this.forget(offset);
  }
}

/** A ring with its head, which is no entry. */
function makeList(): CacheEntry {
  const head = { previous: null, next: null } as unknown as CacheEntry;
  head.previous = head;
  head.next = head;
  return head;
}

function pushFront(head: CacheEntry, entry: CacheEntry): void {
  entry.next = head.next;
  entry.previous = head;
  head.next.previous = entry;
  head.next = entry;
}

function unlink(entry: CacheEntry): void {
  entry.previous.next = entry.next;
  entry.next.previous = entry.previous;
}
