import { hash } from "node:crypto";
import { assert } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { codeOf, passingCodes, readFailure, refused, refusedBy, unknown, unknownUnless } from "./fs-errors.ts";
import { walkFiles } from "./fs-list.ts";
import { isInTables } from "./keys.ts";
import {
  type GetOptions,
  LIST_LIMIT_MAX,
  type ListOptions,
  type ListPage,
  type ObjectStore,
  type PutCondition,
  type PutOptions,
  type PutOutcome,
  type RequestOptions,
  type StoredObject,
} from "./objects.ts";
import { OpenFiles } from "./open-files.ts";
import { rangeOf } from "./range.ts";
import { LATE, RetryBudget, within } from "./retry.ts";

/** The store's own directory below its root: temporary files and locks. Nothing in it is an object. */
const OWN = ".t4";
/**
 * A temporary file of this age is left over from a crash; should its writer live, its link fails and nothing is
 * written.
 */
const LEFT_OVER_MS = 3_600_000;
const LEFT_OVERS_REMOVED_MAX = 1000;
/**
 * Larger objects have no etag that `match` accepts: only control objects are replaced, and hashing tables takes time.
 */
const ETAG_BYTES_MAX = 256 << 10;
const DIRECTORIES_KNOWN_MAX = 10_000;
const LOCKS = 16;
/**
 * Tables are read a block at a time. Each file that is kept open may keep what was removed on the disk: 16 MiB, mostly.
 */
const OPEN_TABLES_MAX = 256;
const LOCK_WAITS = { firstMs: 1, maxMs: 25 };

type FileRuntime = Pick<Runtime, "clock" | "timers" | "random" | "disk">;

/**
 * A directory as a store, which several processes of one machine may hold at once. An object is a file with the
 * object's bytes and nothing else, so that a store can be copied to and from a bucket as it is.
 *
 * 1. Create: temporary file, written and synced; link(2) to its name, which fails where one exists; directory synced.
 *    Only then is the answer given. At most one of any number of creators links. No lock.
 * 2. Replace and delete: under a lock of the operating system (one of 16 files, by key), which a dead process does not
 *    hold: compare the etag, rename the temporary file over the name, sync the directory. Nothing but this changes
 *    a file that exists, so what was compared is what is replaced. The lock files are never removed.
 * 3. A crash between any two steps leaves the old state or the new one, and perhaps a temporary file. A name is never
 *    seen with half an object, as it is given only to a whole and synced one.
 * 4. "It exists already" is answered after the directory is synced: another's create may not be durable yet.
 *
 * The etag is a hash of the content, not a counter kept beside it: a second file could not be changed in one step with
 * the first, and control objects carry a counter of their own, so their etags never repeat.
 *
 * 5. A root that was seen with the store's own directory in it and is without it now is not this store: it was removed,
 *    or its file system is not mounted any more. Nothing is written there, and nothing missing is called missing.
 *
 * It deliberately does not sync before reads: after a power cut a reader in another process may have seen an object
 * whose directory was not synced yet. All processes end with the machine, and what they wrote later went through the
 * same file system's journal, in order.
 */
export class FileStore implements ObjectStore {
  readonly name: string;
  readonly local = true;
  readonly #root: string;
  readonly #runtime: FileRuntime;
  readonly #objectBytesMax: number;
  /** Directories that are known to exist, their names synced. */
  readonly #directories = new Set<string>();
  readonly #tables: OpenFiles;
  #leftOversRemoved = false;
  /** The store's own directory was there (rule 5). */
  #seen = false;
  #closed = false;

  /** `root` is an absolute path; it is made at the first write. */
  constructor(runtime: FileRuntime, root: string, options: { objectBytesMax?: number } = {}) {
    assert(root.startsWith("/"), "the directory of a store is an absolute path");
    this.#root = root.replace(/\/+$/, "");
    this.name = `file://${root}`;
    this.#runtime = runtime;
    this.#objectBytesMax = options.objectBytesMax ?? 1 << 30;
    this.#tables = new OpenFiles(runtime.disk, OPEN_TABLES_MAX);
  }

  get(key: ObjectKey, options: GetOptions): Promise<StoredObject | null> {
    const path = this.#path(key);
    return this.#read(`get ${key}`, options, async () => {
      const found = options.range ? await this.#readRange(key, path, options.range) : await this.#readWhole(path);
      if (found === null) await this.#checkThere();
      return found;
    });
  }

  async #readWhole(path: string): Promise<StoredObject | null> {
    const body = await this.#runtime.disk.readFile(path, this.#objectBytesMax);
    return body && { body, etag: etagOf(body), bytes: body.length };
  }

  async #readRange(
    key: ObjectKey,
    path: string,
    range: NonNullable<GetOptions["range"]>,
  ): Promise<StoredObject | null> {
    const { disk } = this.#runtime;
    // Tables never change, and no name of one is used again.
    if ("start" in range && isInTables(key) && range.end - range.start <= this.#objectBytesMax) {
      try {
        const found = await this.#tables.read(path, range.start, range.end);
        return found && { body: found.body, etag: weakEtag(found.fileBytes), bytes: found.fileBytes };
      } catch {
        // Not to be opened for writing, too many open files, a failing disk: read as any other, which tells what is
        // wrong.
        this.#tables.drop(path);
      }
    }
    const found = await disk.stat(path);
    if (!found || found.directory) return null;
    const { start, end } = rangeOf(range, found.bytes);
    if (end - start > this.#objectBytesMax) throw tooLarge(path, end - start);
    const body = start === end ? Buffer.alloc(0) : await disk.readRange(path, start, end);
    return body && { body, etag: weakEtag(found.bytes), bytes: found.bytes };
  }

  list(prefix: string, options: ListOptions): Promise<ListPage> {
    const { limit, startAfter, keysOnly = false } = options;
    assert(limit >= 1 && limit <= LIST_LIMIT_MAX, "a page has 1 to 1000 objects");
    const walk = { disk: this.#runtime.disk, root: this.#root, prefix, startAfter, hidden: OWN, keysOnly };
    const directory = prefix.slice(0, prefix.lastIndexOf("/") + 1);
    if (directory !== "") this.#path(directory.slice(0, -1) as ObjectKey);
    return this.#read(`list ${prefix}`, options, async () => {
      const objects: ListPage["objects"] = [];
      for await (const object of walkFiles(walk, directory)) {
        if (objects.length === limit) return { objects, more: true };
        objects.push(object);
      }
      if (objects.length === 0) await this.#checkThere();
      return { objects, more: false };
    });
  }

  delete(key: ObjectKey, options: RequestOptions): Promise<void> {
    const path = this.#path(key);
    const budget = new RetryBudget(this.#runtime, options, LOCK_WAITS);
    return this.#read(`delete ${key}`, options, async () => {
      // A missing directory has no objects and, at the very start, no locks either.
      if (!(await this.#runtime.disk.stat(path))) return this.#checkThere();
      await using lock = await this.#lock(key, budget);
      if (!lock) throw new DbError("storeUnavailable", `${this.name}: delete ${key}: the lock is held by another`);
      this.#tables.drop(path);
      if (await this.#runtime.disk.remove(path)) await this.#runtime.disk.syncDirectory(parentOf(path));
    });
  }

  async put(key: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    assert(!this.#closed, "the store is open");
    const path = this.#path(key);
    const budget = new RetryBudget(this.#runtime, options, LOCK_WAITS);
    if (budget.canceled) return refused(new DbError("canceled", `${this.name}: put ${key}: given up`), true);
    const done = await within(this.#runtime, options, this.#put(key, path, body, options.condition, budget));
    if (done !== LATE) return done;
    return { kind: "unknown", cause: new Error(`${this.name}: put ${key}: not done in time`) };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#tables.close();
  }

  /** Goes on after the caller's time is up only in steps that cannot be stopped: none begins to take effect then. */
  async #put(
    key: ObjectKey,
    path: string,
    body: Uint8Array,
    condition: PutCondition,
    budget: RetryBudget,
  ): Promise<PutOutcome> {
    const { disk } = this.#runtime;
    const temporary = `${this.#root}/${OWN}/tmp/${this.#runtime.random.bytes(12).toString("hex")}`;
    try {
      await this.#makeDirectory(parentOf(temporary));
      await this.#removeLeftOvers(parentOf(temporary));
      await this.#makeDirectory(parentOf(path));
      await disk.writeFile(temporary, body);
      if (condition.kind === "absent") return await this.#create(path, temporary, body, budget);
      return await this.#replace(key, path, temporary, body, condition, budget);
    } catch (error) {
      // Nothing above has taken effect: what may have is caught where it is done. A directory may have been removed.
      this.#directories.clear();
      await disk.remove(temporary).catch(() => false);
      return refusedBy(
        await this.#checkThere().then(
          () => error,
          (gone: unknown) => gone,
        ),
      );
    }
  }

  async #create(path: string, temporary: string, body: Uint8Array, budget: RetryBudget): Promise<PutOutcome> {
    const { disk } = this.#runtime;
    if (budget.leftMs() === 0) throw tooLate(path);
    let linked: boolean;
    try {
      linked = await disk.link(temporary, path);
    } catch (error) {
      return unknownUnless(error);
    }
    try {
      // What stays of the temporary name goes with a later clean-up.
      await Promise.all([disk.syncDirectory(parentOf(path)), disk.remove(temporary).catch(() => false)]);
    } catch (error) {
      return unknown(error);
    }
    return linked ? { kind: "written", etag: etagOf(body) } : { kind: "preconditionFailed" };
  }

  async #replace(
    key: ObjectKey,
    path: string,
    temporary: string,
    body: Uint8Array,
    condition: PutCondition,
    budget: RetryBudget,
  ): Promise<PutOutcome> {
    const { disk } = this.#runtime;
    await using lock = await this.#lock(key, budget);
    if (!lock) throw new DbError("storeUnavailable", `${this.name}: put ${key}: the lock is held by another`);
    if (condition.kind === "match") {
      const present = await this.#presentEtag(path);
      if (present === null || present !== condition.etag) {
        await disk.remove(temporary);
        return { kind: "preconditionFailed" };
      }
    }
    if (budget.leftMs() === 0) throw tooLate(path);
    try {
      await disk.rename(temporary, path);
    } catch (error) {
      return unknownUnless(error);
    }
    try {
      await disk.syncDirectory(parentOf(path));
    } catch (error) {
      return unknown(error);
    }
    return { kind: "written", etag: etagOf(body) };
  }

  async #presentEtag(path: string): Promise<string | null> {
    const found = await this.#runtime.disk.stat(path);
    if (!found || found.directory || found.bytes > ETAG_BYTES_MAX) return null;
    const present = await this.#runtime.disk.readFile(path, ETAG_BYTES_MAX);
    return present && etagOf(present);
  }

  /** The lock for a key, tried for with short waits: it is held for as long as a rename and a sync take. */
  async #lock(key: ObjectKey, budget: RetryBudget): Promise<AsyncDisposable | null> {
    await this.#makeDirectory(`${this.#root}/${OWN}`);
    const place = Number.parseInt(hash("sha256", key).slice(0, 2), 16) % LOCKS;
    do {
      const lock = await this.#runtime.disk.lock(`${this.#root}/${OWN}/lock-${place}`);
      // A failure to close the file has given the lock back all the same, and must not hide what was done under it.
      if (lock) return { [Symbol.asyncDispose]: () => lock.release().catch(() => {}) };
    } while (await budget.wait());
    return null;
  }

  /** Makes a directory with those above it, and their names durable, once. */
  async #makeDirectory(path: string): Promise<void> {
    if (this.#directories.has(path) || path === "") return;
    const { disk } = this.#runtime;
    const inside = path.length > this.#root.length;
    if (inside) await this.#makeDirectory(parentOf(path));
    const own = path === `${this.#root}/${OWN}`;
    if (!(await disk.stat(path))?.directory) {
      if (this.#seen && (own || !inside)) throw this.#gone();
      await disk.makeDirectory(path);
    }
    if (own) this.#seen = true;
    // Also where it was there already: another process may have made it and not synced its name yet.
    await disk.syncDirectory(parentOf(path) || "/");
    if (this.#directories.size >= DIRECTORIES_KNOWN_MAX) this.#directories.clear();
    this.#directories.add(path);
  }

  async #checkThere(): Promise<void> {
    if (!this.#seen || (await this.#runtime.disk.stat(`${this.#root}/${OWN}`))?.directory) return;
    this.#directories.clear();
    throw this.#gone();
  }

  #gone(): DbError {
    const why = `its folder ${OWN} has gone: the directory was removed, or its file system is not mounted any more`;
    return new DbError("storeUnavailable", `${this.name}: ${why}`);
  }

  /** Once for each opening of the store. */
  async #removeLeftOvers(directory: string): Promise<void> {
    if (this.#leftOversRemoved) return;
    this.#leftOversRemoved = true;
    const { disk, clock } = this.#runtime;
    for (const name of (await disk.list(directory)).slice(0, LEFT_OVERS_REMOVED_MAX)) {
      const found = await disk.stat(`${directory}/${name}`);
      if (found && clock.wallMs() - found.modifiedMs > LEFT_OVER_MS) await disk.remove(`${directory}/${name}`);
    }
  }

  /** Runs what may be repeated, again while the failure is of a passing kind and there is time. */
  async #read<T>(what: string, options: RequestOptions, run: () => Promise<T>): Promise<T> {
    assert(!this.#closed, "the store is open");
    const budget = new RetryBudget(this.#runtime, options);
    let last: Error | undefined;
    if (!budget.canceled) {
      do {
        try {
          const done = await within(this.#runtime, budget.request(), run());
          if (done !== LATE) return done;
        } catch (error) {
          if (!passingCodes.has(codeOf(error))) throw readFailure(`${this.name}: ${what}`, error);
          last = error as Error;
        }
      } while (await budget.wait());
    }
    throw budget.failure(`${this.name}: ${what}`, last);
  }

  /**
   * A key is a path below the root as it is, once no segment of it can lead elsewhere or into the store's own
   * directory.
   */
  #path(key: ObjectKey): string {
    const parts = key.split("/");
    assert(parts[0] !== OWN && parts.every(isFileName), `${JSON.stringify(key)} is a path below the root`);
    return `${this.#root}/${key}`;
  }
}

const isFileName = (part: string): boolean =>
  part !== "" && part !== "." && part !== ".." && part.length <= 255 && !part.includes("\0");

const parentOf = (path: string): string => path.slice(0, path.lastIndexOf("/"));

const etagOf = (body: Uint8Array): string =>
  body.length <= ETAG_BYTES_MAX ? `"${hash("sha256", body).slice(0, 32)}"` : weakEtag(body.length);

/** Of what was not read whole: `match` never holds for it. */
const weakEtag = (bytes: number): string => `W/"${bytes}"`;

const tooLarge = (path: string, bytes: number): DbError =>
  new DbError("storeRefused", `the file ${path}: ${bytes} bytes are more than an object may have`);

const tooLate = (path: string): DbError => new DbError("storeUnavailable", `the file ${path}: not written in time`);
