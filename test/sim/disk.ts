import { assert } from "../../src/base/assert.ts";
import type { MaybePromise } from "../../src/base/maybe-promise.ts";
import { DiskError } from "../../src/runtime/disk-error.ts";
import type { Disk, DiskFile, DiskLock } from "../../src/runtime/runtime.ts";
import type { Inode } from "./inode.ts";
import { fingerprint, type SimNode } from "./node.ts";
import type { SimRandom } from "./random.ts";
import { systemError, type Volume } from "./volume.ts";

/** A process's view of its machine's volume: operations take time, may fail, and end with the process. */
export class SimDisk implements Disk {
  readonly #node: SimNode;

  constructor(node: SimNode) {
    this.#node = node;
  }

  get #volume(): Volume {
    return this.#node.machine.volume;
  }

  async open(path: string, options: { create: boolean; sync?: boolean }): Promise<DiskFile | null> {
    return this.#do(`open ${path}`, () => {
      const inode = this.#volume.findFile(path) ?? (options.create ? this.#volume.create(path) : null);
      return inode && new SimDiskFile(this.#node, { path, inode, synced: options.sync === true });
    });
  }

  async readFile(path: string, bytesMax: number): Promise<Buffer | null> {
    return this.#read(path, 0, (bytes) => {
      if (bytes > bytesMax)
        throw new DiskError(`cannot read the file ${path}: it is over ${bytesMax} bytes long`, "EFBIG");
      return bytes;
    });
  }

  async readRange(path: string, start: number, end: number): Promise<Buffer | null> {
    assert(start >= 0 && end >= start, "a range of a file is 0 <= start <= end");
    return this.#read(path, start, (bytes) => Math.min(end, bytes));
  }

  async writeFile(path: string, bytes: Uint8Array): Promise<void> {
    const content = Buffer.from(bytes);
    // In steps, as a real one is: a crash in between leaves an empty file or a part of one.
    const file = await this.#do(`create ${path}`, () => {
      const inode = this.#volume.findFile(path) ?? this.#volume.create(path);
      inode.truncate(0);
      return new SimDiskFile(this.#node, { path, inode, synced: false });
    });
    await file.write(content, 0);
    await file.sync();
    await file.close();
  }

  async stat(path: string): Promise<{ bytes: number; modifiedMs: number; directory: boolean } | null> {
    return this.#do(`stat ${path}`, () => {
      const inode = this.#volume.find(path);
      return inode && { bytes: inode.bytes, modifiedMs: inode.modifiedMs, directory: inode.directory };
    });
  }

  async list(path: string): Promise<string[]> {
    return this.#do(`list ${path}`, () => this.#volume.list(path));
  }

  async makeDirectory(path: string): Promise<void> {
    return this.#do(`make directory ${path}`, () => this.#volume.makeDirectory(path));
  }

  async rename(from: string, to: string): Promise<void> {
    return this.#do(`rename ${from} to ${to}`, () => this.#volume.rename(from, to));
  }

  async link(from: string, to: string): Promise<boolean> {
    return this.#do(`link ${from} to ${to}`, () => this.#volume.link(from, to));
  }

  async remove(path: string): Promise<boolean> {
    return this.#do(`remove ${path}`, () => this.#volume.remove(path));
  }

  async syncDirectory(path: string): Promise<void> {
    return this.#do(`sync directory ${path}`, () => {
      this.#fail("syncError", path);
      this.#volume.syncDirectory(path);
    });
  }

  async lock(path: string): Promise<DiskLock | null> {
    return this.#do(`lock ${path}`, () => {
      const inode = this.#volume.findFile(path) ?? this.#volume.create(path);
      return this.#volume.lock(inode, this.#node) ? new SimDiskLock(this.#node, inode) : null;
    });
  }

  async bootId(): Promise<string> {
    return this.#do("boot id", () => this.#node.machine.bootId);
  }

  async space(path: string): Promise<{ bytes: number; freeBytes: number }> {
    return this.#do("space", () => {
      if (this.#volume.find(path) === null) throw systemError("ENOENT", path);
      const { bytesMax } = this.#volume;
      return { bytes: bytesMax, freeBytes: this.#volume.room(bytesMax) };
    });
  }

  async fileSystem(path: string): Promise<string> {
    return this.#do("file system", () => {
      if (this.#volume.find(path) === null) throw systemError("ENOENT", path);
      return this.#node.machine.fileSystem;
    });
  }

  #read(path: string, start: number, end: (bytes: number) => number): Promise<Buffer | null> {
    return this.#do(`read ${path}`, () => {
      const inode = this.#volume.findFile(path);
      if (inode === null) return null;
      this.#fail("readError", path);
      const into = Buffer.alloc(Math.max(0, end(inode.bytes) - start));
      return into.subarray(0, inode.read(into, start));
    });
  }

  #fail(fault: "readError" | "syncError", path: string): void {
    const { random, machine } = this.#node;
    if (random.chance(machine.diskFaults[fault])) throw systemError("EIO", path);
  }

  #do<T>(label: string, effect: () => T): Promise<T> {
    return this.#node.operate(label, this.#node.machine.diskMs, effect);
  }
}

class SimDiskLock implements DiskLock {
  readonly device: bigint;
  readonly inode: bigint;
  readonly #node: SimNode;
  readonly #locked: Inode;
  #held = true;

  constructor(node: SimNode, inode: Inode) {
    this.#node = node;
    this.#locked = inode;
    this.device = BigInt(`0x${Buffer.from(node.machine.name).toString("hex")}`);
    this.inode = inode.number;
  }

  async release(): Promise<void> {
    if (!this.#held) return;
    this.#held = false;
    const { machine } = this.#node;
    await this.#node.operate("unlock", machine.diskMs, () => machine.volume.unlock(this.#locked));
  }
}

class SimDiskFile implements DiskFile {
  readonly #node: SimNode;
  readonly #path: string;
  readonly #inode: Inode;
  readonly #synced: boolean;
  /** Which reads are done at once. */
  readonly #random: SimRandom;
  #open = true;

  constructor(node: SimNode, file: { path: string; inode: Inode; synced: boolean }) {
    this.#node = node;
    this.#path = file.path;
    this.#inode = file.inode;
    this.#synced = file.synced;
    this.#random = node.random.fork(`reads of ${file.path}`);
  }

  write(bytes: Uint8Array, position: number): MaybePromise<void> {
    this.#check(position);
    const { random, machine, alive, simulation } = this.#node;
    const label = `write ${this.#path} at ${position}, ${fingerprint(bytes)}`;
    if (alive && random.chance(machine.diskBlocking)) {
      simulation.note(this.#node.name, `${label} (blocking)`);
      return this.#apply(bytes, position);
    }
    // The bytes are taken when the write happens: a caller that changes them before gets what it deserves.
    return this.#do(
      label,
      () => this.#apply(bytes, position),
      () => {
        if (random.chance(0.5)) this.#inode.write(bytes, position);
      },
    );
  }

  #apply(bytes: Uint8Array, position: number): void {
    const { random, machine } = this.#node;
    const growth = Math.max(0, position + bytes.length - this.#inode.bytes);
    const room = machine.volume.room(growth);
    const failed = random.chance(machine.diskFaults.writeError);
    // A write that fails may have been made in part.
    let count = room < growth ? Math.max(0, bytes.length - (growth - room)) : bytes.length;
    if (failed) count = random.integer(0, count);
    this.#inode.write(bytes.subarray(0, count), position);
    machine.volume.touched(this.#inode);
    if (failed) throw systemError("EIO", this.#path);
    if (room < growth) throw systemError("ENOSPC", this.#path);
    if (this.#synced) this.#inode.syncRange(position, bytes.length);
  }

  read(into: Uint8Array, position: number): MaybePromise<number> {
    this.#check(position);
    return (
      this.readAtOnce(into, position) ??
      this.#do(`read ${this.#path} at ${position}`, () => this.#readNow(into, position))
    );
  }

  readAtOnce(into: Uint8Array, position: number): number | null {
    this.#check(position);
    const { machine, alive, simulation } = this.#node;
    if (!alive || !this.#random.chance(machine.diskBlocking)) return null;
    simulation.note(this.#node.name, `read ${this.#path} at ${position} (blocking)`);
    return this.#readNow(into, position);
  }

  #readNow(into: Uint8Array, position: number): number {
    if (this.#node.random.chance(this.#node.machine.diskFaults.readError)) throw systemError("EIO", this.#path);
    return this.#inode.read(into, position);
  }

  async size(): Promise<number> {
    this.#check(0);
    return this.#do(`size of ${this.#path}`, () => this.#inode.bytes);
  }

  async truncate(bytes: number): Promise<void> {
    this.#check(bytes);
    return this.#do(`truncate ${this.#path} to ${bytes}`, () => {
      const growth = bytes - this.#inode.bytes;
      if (growth > 0 && this.#node.machine.volume.room(growth) < growth) throw systemError("ENOSPC", this.#path);
      this.#inode.truncate(bytes);
      this.#node.machine.volume.touched(this.#inode);
    });
  }

  async sync(): Promise<void> {
    this.#check(0);
    return this.#do(`sync ${this.#path}`, () => {
      if (this.#node.random.chance(this.#node.machine.diskFaults.syncError)) {
        this.#inode.forgetUnsynced();
        throw systemError("EIO", this.#path);
      }
      this.#inode.sync();
    });
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#do(`close ${this.#path}`, () => {});
  }

  #check(position: number): void {
    assert(this.#open, "a closed file is not used");
    assert(Number.isSafeInteger(position) && position >= 0, "a place in a file is a safe integer >= 0");
  }

  #do<T>(label: string, effect: () => T, onPowerLoss?: () => void): Promise<T> {
    return this.#node.operate(label, this.#node.machine.diskMs, effect, onPowerLoss);
  }
}
