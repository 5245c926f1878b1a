import type { Branches, BranchInfo, Restored } from "../engine/branches/branches.ts";
import type { Host } from "../engine/host/host.ts";
import type { Timers } from "../runtime/runtime.ts";
import { type At, momentOf, Past } from "./past.ts";
import { T4 } from "./t4.ts";

export interface CreateBranchOptions {
  /** The branch to cut it off. Default: the one that this was opened with. */
  from?: string;
  /** A retained moment; else `notRetained`, which names the nearest. */
  at?: At;
  /** Deletes it by itself after so long. */
  expiresInMs?: number;
  /** Without users and roles, authentication off. */
  stripAuth?: boolean;
  /** Without leases; keys that hang on one stay. */
  stripLeases?: boolean;
}

/** The branches of the repository that a database is in. */
export class T4Branches extends Past {
  readonly #host: Host;
  readonly #timers: Timers;
  readonly #own: string;

  /** Made by T4. */
  constructor(host: Host, timers: Timers, own: string) {
    super(host.history, own);
    this.#host = host;
    this.#timers = timers;
    this.#own = own;
  }

  /** In an instant, without copying. */
  async create(name: string, options: CreateBranchOptions = {}): Promise<BranchInfo> {
    const { from = this.#own, at, expiresInMs = null, stripAuth = false, stripLeases = false } = options;
    const asked = { name, from, moment: momentOf(at), expiresInMs, stripAuth, stripLeases };
    return (await this.#host.branches.create(asked)).branch;
  }

  /** The same database as `open` gives, of another branch; to be closed by itself. */
  async open(name: string): Promise<T4> {
    const branch = await this.#host.serve(name);
    await branch.opened();
    return new T4(this.#host, branch, this.#timers, { close: () => this.#host.leave(name) });
  }

  list(options: { deleted?: boolean } = {}): Promise<BranchInfo[]> {
    return this.#host.branches.list({ deleted: options.deleted ?? false });
  }

  /** With its ancestry, from itself up to the root. */
  show(name: string): ReturnType<Branches["show"]> {
    return this.#host.branches.show(name);
  }

  /** Keeps it from being deleted, by anybody and by itself; or lets it be. */
  protect(name: string, isProtected = true): Promise<BranchInfo> {
    return this.#host.branches.update({ name, protected: isProtected });
  }

  /** Whoever leads it refuses writes, until it is lifted (false); nothing expires in it meanwhile. */
  protectFromWrites(name: string, isProtected = true): Promise<BranchInfo> {
    return this.#host.branches.update({ name, writeProtected: isProtected });
  }

  /** Deletes it by itself after so long from now; null: never. */
  expire(name: string, inMs: number | null): Promise<BranchInfo> {
    return this.#host.branches.update({ name, expiresInMs: inMs });
  }

  /** Its name goes at once, its data after an hour, by a collection. */
  delete(name: string): Promise<BranchInfo> {
    return this.#host.branches.delete(name);
  }

  /** Brings a deleted one back, within that hour. */
  undelete(name: string): Promise<BranchInfo> {
    return this.#host.branches.undelete(name);
  }

  /**
   * Puts a branch in the place of another one, whose name it takes; that one is kept as `keepAs`. Calls under way and
   * watches of both end with `frozen` or `stopped`: what was opened by the name then is the new one.
   */
  promote(name: string, options: { over?: string; keepAs?: string } = {}): ReturnType<Branches["promote"]> {
    const { over = this.#own, keepAs = null } = options;
    return this.#host.branches.promote({ name, over, keepAs, revoke: false });
  }

  /**
   * Puts a branch back to a retained moment, under its name: its revision goes on behind the present one and is
   * compacted there, so that whoever watches lists anew; what it is now is kept as `keepAs`.
   */
  restore(at: At, options: { branch?: string; keepAs?: string } = {}): Promise<Restored> {
    const { branch: name = this.#own, keepAs = null } = options;
    return this.#host.branches.restore({ name, moment: momentOf(at), keepAs });
  }

  /** Deletes what has expired, and ends what was deleted long enough ago; a collection then frees what it took. */
  async sweep(): Promise<void> {
    await this.#host.branches.sweep();
  }
}
