import { DbError } from "../../base/errors.ts";
import type { BranchId } from "../../base/ids.ts";
import { type BranchName, branchNameRegister, listNames, newBranchName } from "../../leadership/branch-name.ts";
import type { Bucket } from "../branches/branch-list.ts";
import type { PromoteBranch } from "../branches/branches.ts";
import { alive, changeName, PURGING } from "../branches/name-changes.ts";
import { checkBranchName } from "../branches/name-checks.ts";
import { freeze, type Replaced, raise } from "../branches/promotion.ts";
import type { BranchSet } from "./branch-set.ts";

export interface Promoted {
  readonly promoted: { readonly name: string; readonly body: BranchName };
  /** Null where a promotion that had happened already is told of again. */
  readonly replaced: { readonly name: string; readonly body: BranchName } | null;
  readonly revision: number;
}

/**
 * Puts a branch in the place of another one, whose name it takes (DESIGN: promote):
 *
 *   1. the old one logs that it is replaced: from then on it takes no writes, and refuses calls by its name
 *   2. it gets a second name
 *   3. the new one logs a revision above all that the old one has ever shown, and a compaction there: who watched the
 *      old one asks for a revision that is compacted, and reads everything anew
 *   4. one swap of the name; then the name that the new one had is free
 *
 * Each step finds out whether it has been done, by what is logged and stored, so that the same command goes on where a
 * crash has stopped it. Until the swap, `revoke` takes it back: the old one goes on, the second name is free again. The
 * raised revision stays, which does no harm.
 */
export class Promotion {
  readonly #bucket: Bucket;
  readonly #set: BranchSet;
  readonly #asked: PromoteBranch;

  constructor(bucket: Bucket, set: BranchSet, asked: PromoteBranch) {
    this.#bucket = bucket;
    this.#set = set;
    this.#asked = asked;
  }

  async run(): Promise<Promoted> {
    const { name, over } = this.#asked;
    if (name === over) throw new DbError("invalidArgument", `branch ${name} is not promoted over itself`);
    const wanted = await this.#read(name);
    const place = alive(over, await this.#read(over));
    if (wanted === null) throw new DbError("notFound", `there is no branch named ${name}`);
    if (place.branch === wanted.branch) {
      if (wanted.replacedBy !== undefined) {
        throw new DbError(
          "invalidArgument",
          `branch ${name} is the same as ${over}, which is being replaced: revoke that`,
        );
      }
      // The swap was the last step but one: what is left is to free the name.
      return this.#finish(place);
    }
    alive(name, wanted);
    if (place.protected) {
      throw new DbError(
        "branchRefuses",
        `branch ${over} is protected, also from promotions: t4 branch unprotect ${over}`,
      );
    }
    const { replaced, committed } = await this.freeze(place.branch, wanted.branch);
    await this.keep(place.branch, replaced);
    await this.raise(place.branch, committed);
    const body = await this.swap(place.branch, wanted.branch);
    return { ...(await this.#finish(body)), replaced: await this.#kept(replaced.keepAs) };
  }

  /** Takes it back. Resolves with the branch that was to be replaced. */
  async revoke(): Promise<BranchName> {
    const { over, name } = this.#asked;
    const place = alive(over, await this.#read(over));
    const wanted = await this.#read(name);
    const { leading } = await this.#set.lead(over);
    const { replaced } = leading.database;
    if (replaced === null || (wanted !== null && replaced.by !== wanted.branch)) {
      const why = wanted?.branch === place.branch ? `${name} has taken its place already` : "nothing replaces it";
      throw new DbError("invalidArgument", `branch ${over}: ${why}`);
    }
    const kept = await this.#read(replaced.keepAs);
    if (kept !== null && !kept.tombstone && kept.branch === place.branch) {
      await changeName(this.#bucket, replaced.keepAs, (now) =>
        now?.branch === place.branch && !now.tombstone ? { ...nameless(now), tombstone: true } : null,
      );
    }
    const ends = new DbError("frozen", `branch ${over} goes on: its promotion was taken back`);
    await leading.database.last((draft) => freeze(draft, null), null, ends);
    await this.#set.renamed(replaced.keepAs);
    return place;
  }

  /** Step 1. */
  async freeze(old: BranchId, by: BranchId): Promise<{ replaced: Replaced; committed: number }> {
    const { over, name, keepAs } = this.#asked;
    const { id, leading } = await this.#set.lead(over);
    if (id !== old) throw new DbError("branchRefuses", `branch ${over} is another one since: ask again`);
    const { database } = leading;
    const { replaced: before } = database;
    if (before !== null && before.name === over) {
      if (before.by !== by) {
        throw new DbError(
          "branchRefuses",
          `branch ${over} is being replaced by ${before.by}, not by ${name}: revoke that`,
        );
      }
      if (keepAs !== null && keepAs !== before.keepAs) {
        throw new DbError(
          "branchRefuses",
          `branch ${over} is being kept as ${before.keepAs}, not ${keepAs}: revoke that`,
        );
      }
      return { replaced: before, committed: database.committed };
    }
    const replaced = { by, name: over, keepAs: await this.#nameToKeep() };
    const ends = new DbError("frozen", `branch ${over} is being replaced by ${name}: connect again`);
    await database.last((draft) => freeze(draft, replaced), null, ends);
    return { replaced, committed: database.committed };
  }

  /** Step 2. */
  async keep(old: BranchId, { keepAs, by }: Replaced): Promise<void> {
    await changeName(this.#bucket, keepAs, (before) => {
      if (before === null || (before.tombstone && before.purgeMs === undefined)) {
        return { ...newBranchName(old), replacedBy: by };
      }
      if (!before.tombstone && before.branch === old) return null;
      throw new DbError("branchRefuses", `there is a branch named ${keepAs} already: revoke, and choose another name`);
    });
  }

  /** Step 3. */
  async raise(over: BranchId, above: number): Promise<void> {
    const { name } = this.#asked;
    const { leading } = await this.#set.lead(name);
    const { database } = leading;
    const { raised, replaced } = database;
    if (replaced === null && raised?.over === over && raised.above >= above) return;
    const ends = new DbError("frozen", `branch ${name} goes on from a higher revision: connect again`);
    await database.last(raise, { over, above }, ends);
  }

  /** Step 4. */
  async swap(old: BranchId, by: BranchId): Promise<BranchName> {
    const { over, name } = this.#asked;
    const swapped = await this.#swapName(old, by);
    // Whoever ends a deleted branch for ever first says so in its name, then looks at all others.
    const now = await this.#read(name);
    if (now?.branch !== by || !now.tombstone || now.purgeMs !== PURGING) return swapped;
    await this.#swapName(by, old);
    throw new DbError("branchRefuses", `branch ${name} was deleted meanwhile: ${over} is what it was; revoke that`);
  }

  #swapName(old: BranchId, by: BranchId): Promise<BranchName> {
    const { over } = this.#asked;
    return changeName(this.#bucket, over, (before) => {
      const body = alive(over, before);
      if (body.branch === by) return null;
      if (body.branch !== old) throw new DbError("branchRefuses", `branch ${over} is another one since: ask again`);
      const { replacedBy: _, ...rest } = body;
      return { ...rest, branch: by, expiresMs: null };
    });
  }

  /** The name is free; whoever serves here by either name serves what it points to now. */
  async #finish(body: BranchName): Promise<Promoted> {
    const { name, over } = this.#asked;
    const before = await this.#read(name);
    if (before !== null && !before.tombstone && before.branch === body.branch) {
      await changeName(this.#bucket, name, (now) =>
        now === null || now.tombstone || now.branch !== body.branch ? null : { ...nameless(now), tombstone: true },
      );
    }
    await this.#set.renamed(name);
    await this.#set.renamed(over);
    const { leading } = await this.#set.lead(over);
    return { promoted: { name: over, body }, replaced: null, revision: leading.database.committed };
  }

  async #kept(keepAs: string): Promise<Promoted["replaced"]> {
    const body = await this.#read(keepAs);
    return body === null ? null : { name: keepAs, body };
  }

  async #read(name: string): Promise<BranchName | null> {
    const { store, runtime, request } = this.#bucket;
    checkBranchName(name);
    return (await branchNameRegister(store, name, runtime).read(request))?.body ?? null;
  }

  /** Given, or OVER-old-N with the first N that is free. */
  async #nameToKeep(): Promise<string> {
    const { over, keepAs } = this.#asked;
    if (keepAs !== null) {
      const body = await this.#read(keepAs);
      if (body === null || (body.tombstone && body.purgeMs === undefined)) return keepAs;
      throw new DbError("invalidArgument", `there is a branch named ${keepAs} already, or one can be undeleted`);
    }
    const { store, request } = this.#bucket;
    const taken = new Set(await listNames(store, request));
    for (let n = 1; n <= taken.size + 1; n++) {
      const candidate = `${over.slice(0, NAME_CHARACTERS_MAX - `-old-${n}`.length)}-old-${n}`;
      if (!taken.has(candidate)) return candidate;
    }
    throw new DbError("invalidArgument", "no name is free for the old branch: give one with --keep-as");
  }
}

/** The branch has another name: nothing goes with this one. */
const nameless = ({ branch }: BranchName): BranchName => newBranchName(branch);

/** Of a DNS label. */
const NAME_CHARACTERS_MAX = 63;
