import { assert } from "../base/assert.ts";
import { DbError, messageOf } from "../base/errors.ts";
import type { BranchId } from "../base/ids.ts";
import type { Disk, Runtime } from "../runtime/runtime.ts";
import { readSmallFile, writeSmallFile } from "./data-directory.ts";
import { Fields, patterns } from "./fields.ts";

/**
 * The identity of one branch's local log: what the in-sync set of the leader record names. A disk that was rolled back
 * or cloned is not the disk that acknowledged; generations tell.
 *
 *   opening:  next := random, synced ─ swap it into the record ─ present := next
 *
 * 1. The record shows the present generation or the next one, else the disk is refused: it is an older copy.
 * 2. An opening that a crash cut short is finished first (its swap may still be applied late), then a new one made.
 * 3. A local log belongs to one identity: joining a set anew makes a new identity, with an empty log, so that what an
 *    earlier leadership left behind is never mistaken for what was acknowledged since.
 * 4. An identity is established once its log exists, empty and synced. Before that it has acknowledged nothing, and is
 *    replaced by another one after a crash; after it, a log that is missing is a loss, not a beginning.
 */
export interface MemberState {
  readonly disk: string;
  readonly present: string;
  readonly next: string | null;
  readonly established: boolean;
}

export type MemberEvent = { kind: "begun"; generation: string } | { kind: "swapped" } | { kind: "established" };

function memberAfter(state: MemberState, event: MemberEvent): MemberState {
  switch (event.kind) {
    case "begun":
      assert(state.next === null, "an unfinished opening is finished before another begins");
      return { ...state, next: event.generation };
    case "swapped":
      assert(state.next !== null, "an opening is under way");
      return { ...state, present: state.next, next: null };
    case "established":
      assert(state.next === null && !state.established, "a member's log is established once, by the leader");
      return { ...state, established: true };
  }
}

const FILE = "disk";
const FORMAT = 1;

export class BranchDisk {
  /** Of this branch within the data directory. */
  readonly path: string;
  readonly #branch: BranchId;
  readonly #runtime: Pick<Runtime, "disk" | "random">;
  #state: MemberState | null;

  private constructor(options: BranchDiskOptions, path: string, state: MemberState | null) {
    this.path = path;
    this.#branch = options.branch;
    this.#runtime = options.runtime;
    this.#state = state;
  }

  /** `directory`: the data directory, whose lock the caller holds for as long as it uses this. */
  static async open(options: BranchDiskOptions): Promise<BranchDisk> {
    const path = `${options.directory}/branch-${options.branch}`;
    await options.runtime.disk.makeDirectory(path);
    await options.runtime.disk.syncDirectory(options.directory);
    const bytes = await readSmallFile(options.runtime.disk, `${path}/${FILE}`);
    return new BranchDisk(options, path, bytes && decode(`${path}/${FILE}`, options.branch, bytes));
  }

  /** Null until the first `join`. */
  get state(): MemberState | null {
    return this.#state;
  }

  /** The directory of the local log. What it holds is this identity's once that is established. */
  get logPath(): string {
    return `${this.path}/log`;
  }

  /**
   * Begins an opening of an identity that has acknowledged nothing: the one on the disk if it was never established
   * (the swap of an opening that was cut short may still be applied late, and must find what it names), else a new one.
   */
  async join(): Promise<MemberState> {
    const state = this.#state;
    if (state === null || state.established) {
      const [disk, present, next] = [this.#random(), this.#random(), this.#random()];
      return this.#write({ disk, present, next, established: false });
    }
    return state.next === null ? this.begin() : state;
  }

  async begin(): Promise<MemberState> {
    assert(this.#state !== null, "the disk has an identity");
    return this.#write(memberAfter(this.#state, { kind: "begun", generation: this.#random() }));
  }

  /** The record shows the next generation. */
  async finish(): Promise<MemberState> {
    assert(this.#state !== null, "the disk has an identity");
    return this.#write(memberAfter(this.#state, { kind: "swapped" }));
  }

  /**
   * Empties the log's directory: what an earlier identity left there is needed no more, once the record names this one.
   * A file goes at a time; after a crash in between the identity is still not established, and this is done again.
   */
  async emptyLog(): Promise<void> {
    assert(this.#state?.established === false, "what an established identity acknowledged is never removed");
    const { disk } = this.#runtime;
    await disk.makeDirectory(this.logPath);
    for (const name of await disk.list(this.logPath)) await disk.remove(`${this.logPath}/${name}`);
    await disk.syncDirectory(this.logPath);
    await disk.syncDirectory(this.path);
  }

  /** The log of this identity exists, empty and synced. */
  async establish(): Promise<MemberState> {
    assert(this.#state !== null, "the disk has an identity");
    return this.#write(memberAfter(this.#state, { kind: "established" }));
  }

  async #write(state: MemberState): Promise<MemberState> {
    const body = { format: FORMAT, branch: this.#branch, ...state };
    await writeSmallFile(this.#runtime.disk, this.path, FILE, Buffer.from(`${JSON.stringify(body)}\n`));
    this.#state = state;
    return state;
  }

  #random(): string {
    return this.#runtime.random.bytes(16).toString("hex");
  }
}

export interface BranchDiskOptions {
  readonly directory: string;
  readonly branch: BranchId;
  readonly runtime: { readonly disk: Disk; readonly random: Runtime["random"] };
}

const names = ["format", "branch", "disk", "present", "next", "established"];

function decode(path: string, branch: BranchId, bytes: Buffer): MemberState {
  try {
    const fields = new Fields(JSON.parse(bytes.toString("utf8")), names);
    fields.count("format", { min: FORMAT, max: FORMAT });
    const found = fields.text("branch", patterns.hex16);
    if (found !== branch) throw new Error(`field branch: expected ${branch}, found ${found}`);
    return {
      disk: fields.text("disk", patterns.hex16),
      present: fields.text("present", patterns.hex16),
      next: fields.orNull("next", () => fields.text("next", patterns.hex16)),
      established: fields.flag("established"),
    };
  } catch (error) {
    throw new DbError("corrupt", `file ${path}: ${messageOf(error)}`, { cause: error });
  }
}
