import { posix } from "node:path";
import { assert } from "../../src/base/assert.ts";
import { DiskError } from "../../src/runtime/disk-error.ts";
import { type CrashMode, Inode } from "./inode.ts";
import type { SimRandom } from "./random.ts";

/** One atomic change of names: what each path leads to from now on. */
interface NameChange {
  readonly names: readonly { readonly path: string; readonly inode: Inode | null }[];
}

/**
 * A machine's file system: names and contents, as they are and as they would be after a crash. No time passes here;
 * SimDisk adds it.
 *
 * 1. A name that was made, moved or removed is durable once its directory was synced; before that, a crash keeps it or
 *    not. A rename is atomic: after a crash one of the two names leads to the file.
 * 2. A file's content is durable by `sync` or O_DSYNC, whatever becomes of its names.
 * 3. What was not synced is lost, kept, or kept in part, sector by sector, as the seed has it.
 */
export class Volume {
  readonly #random: SimRandom;
  /** Room of the whole disk; a scenario may change it. */
  bytesMax: number;
  readonly #wallMs: () => number;
  #live = new Map<string, Inode>();
  readonly #durable = new Map<string, Inode>();
  #pending: NameChange[] = [];
  readonly #locks = new Map<Inode, object>();
  #lastInode = 0n;

  constructor(random: SimRandom, options: { bytesMax: number; wallMs: () => number }) {
    this.#random = random;
    this.bytesMax = options.bytesMax;
    this.#wallMs = options.wallMs;
    const root = this.#newInode(true);
    this.#live.set("/", root);
    this.#durable.set("/", root);
  }

  find(path: string): Inode | null {
    return this.#live.get(normal(path)) ?? null;
  }

  findFile(path: string): Inode | null {
    const inode = this.find(path);
    if (inode?.directory) throw systemError("EISDIR", path);
    return inode;
  }

  create(path: string): Inode {
    const inode = this.#newInode(false);
    this.#change([{ path: normal(path), inode }]);
    return inode;
  }

  makeDirectory(path: string): void {
    const full = normal(path);
    const present = this.#live.get(full);
    if (present?.directory) return;
    if (present !== undefined) throw systemError("EEXIST", path);
    this.makeDirectory(posix.dirname(full));
    this.#change([{ path: full, inode: this.#newInode(true) }]);
  }

  list(path: string): string[] {
    const directory = this.find(path);
    if (directory === null) return [];
    if (!directory.directory) throw systemError("ENOTDIR", path);
    const full = normal(path);
    const names = [...this.#live.keys()].filter((one) => one !== "/" && posix.dirname(one) === full);
    return names.map((one) => posix.basename(one)).sort();
  }

  rename(from: string, to: string): void {
    const inode = this.find(from);
    if (inode === null) throw systemError("ENOENT", from);
    if (inode.directory) throw systemError("EISDIR", `${from}: the simulated disk renames files alone`);
    if (this.find(to)?.directory) throw systemError("EISDIR", to);
    if (this.find(to) === inode) return;
    this.#change([
      { path: normal(to), inode },
      { path: normal(from), inode: null },
    ]);
  }

  link(from: string, to: string): boolean {
    const inode = this.findFile(from);
    if (inode === null) throw systemError("ENOENT", from);
    if (this.find(to) !== null) return false;
    this.#change([{ path: normal(to), inode }]);
    return true;
  }

  remove(path: string): boolean {
    if (this.findFile(path) === null) return false;
    this.#change([{ path: normal(path), inode: null }]);
    return true;
  }

  /**
   * Makes what was done to the names in a directory durable, with earlier changes of the same names elsewhere, and
   * nothing else.
   */
  syncDirectory(path: string): void {
    const full = normal(path);
    if (!this.find(path)?.directory) throw systemError("ENOTDIR", path);
    const wanted = new Set<string>();
    const kept: NameChange[] = [];
    const left: NameChange[] = [];
    for (const change of this.#pending.toReversed()) {
      const wants = change.names.some((name) => posix.dirname(name.path) === full || wanted.has(name.path));
      if (wants) for (const name of change.names) wanted.add(name.path);
      (wants ? kept : left).push(change);
    }
    for (const change of kept.reverse()) apply(change, this.#durable);
    this.#pending = left.reverse();
  }

  /** How many of `bytes` more there is room for. */
  room(bytes: number): number {
    let used = 0;
    for (const inode of new Set(this.#live.values())) used += inode.bytes;
    return Math.max(0, Math.min(bytes, this.bytesMax - used));
  }

  touched(inode: Inode): void {
    inode.modifiedMs = this.#wallMs();
  }

  /** False while anyone has the lock of the file. */
  lock(inode: Inode, holder: object): boolean {
    if (this.#locks.has(inode)) return false;
    this.#locks.set(inode, holder);
    return true;
  }

  unlock(inode: Inode): void {
    assert(this.#locks.delete(inode), "only a lock that is held is released");
  }

  releaseLocksOf(holder: object): void {
    for (const [inode, owner] of this.#locks) if (owner === holder) this.#locks.delete(inode);
  }

  crash(mode: CrashMode = this.#random.pick(["nothing", "some", "everything"])): void {
    for (const change of this.#pending) {
      if (mode === "everything" || (mode === "some" && this.#random.chance(0.5))) apply(change, this.#durable);
    }
    this.#pending = [];
    // A directory that was lost takes with it what was in it. Parents sort before what they hold.
    for (const path of [...this.#durable.keys()].sort()) {
      if (!this.#durable.get(posix.dirname(path))?.directory) this.#durable.delete(path);
    }
    for (const inode of new Set(this.#durable.values())) inode.crash(mode, this.#random);
    this.#live = new Map(this.#durable);
    this.#locks.clear();
  }

  #newInode(directory: boolean): Inode {
    return new Inode(++this.#lastInode, directory, this.#wallMs());
  }

  #change(names: NameChange["names"]): void {
    for (const { path } of names) {
      const parent = this.#live.get(posix.dirname(path));
      if (parent === undefined) throw systemError("ENOENT", path);
      if (!parent.directory) throw systemError("ENOTDIR", path);
    }
    const change = { names };
    apply(change, this.#live);
    this.#pending.push(change);
  }
}

function apply(change: NameChange, names: Map<string, Inode>): void {
  for (const { path, inode } of change.names) {
    if (inode === null) names.delete(path);
    else names.set(path, inode);
  }
}

function normal(path: string): string {
  assert(path.startsWith("/"), "a path on a simulated disk begins with a slash");
  const full = posix.normalize(path);
  return full.length > 1 && full.endsWith("/") ? full.slice(0, -1) : full;
}

export const systemError = (code: string, path: string): DiskError =>
  new DiskError(`${path}: ${code} (simulated)`, code);
