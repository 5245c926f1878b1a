import { DbError } from "../../base/errors.ts";
import type { BranchId } from "../../base/ids.ts";
import { type BranchName, branchNameRegister, listNames, newBranchName } from "../../leadership/branch-name.ts";
import { MAIN } from "../../leadership/repository.ts";
import type { RegisterState } from "../../objects/register.ts";
import { type Bucket, readNames } from "../branches/branch-list.ts";
import type { PromoteBranch } from "../branches/branches.ts";
import { alive, changeName } from "../branches/name-changes.ts";
import { checkBranchName } from "../branches/name-checks.ts";
import { freeze, ofBranch, type Replaced, raise } from "../branches/promotion.ts";
import type { Database, RangeRequest } from "../engine.ts";
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
 * raised revision stays, which does no harm. Stalling between any two steps is safe:
 *
 *   - The swap is on the very version of the name that was read before step 1, and `revoke` writes that name anew
 *     before it lets the old one go on. So a promotion that was taken back meanwhile swaps nothing, not even by a late
 *     request.
 *   - Whoever ends a deleted branch for ever first says so in its name, then looks whether a second name of step 2 says
 *     that the branch is to replace another one. So either that is met there, or the name that is looked at between the
 *     steps 2 and 3 is not alive.
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
    if (name === MAIN) {
      throw new DbError("branchRefuses", `branch ${MAIN} does not give up its name: promote another one over it`);
    }
    const wanted = await this.#read(name);
    const before = await this.#state(over);
    const place = alive(over, before?.body ?? null);
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
    await this.look(wanted.branch);
    await this.raise(place.branch, committed);
    const body = await this.swap(before!, wanted.branch);
    return { ...(await this.#finish(body)), replaced: await this.#kept(replaced.keepAs) };
  }

  /** Takes it back. Resolves with the branch that was to be replaced. */
  async revoke(): Promise<BranchName> {
    const { over, name } = this.#asked;
    const place = alive(over, await this.#read(over));
    const wanted = await this.#read(name);
    const { id, leading } = await this.#set.leadAny(over);
    if (id !== place.branch) throw isAnother(over);
    const { replaced } = leading.database;
    const isFrozen = replaced !== null && replaced.name === over;
    if (isFrozen && wanted !== null && !wanted.tombstone && wanted.branch !== replaced.by) {
      throw new DbError("invalidArgument", `branch ${over} is being replaced by ${replaced.by}, not by ${name}`);
    }
    const second = await this.#secondNames(place.branch);
    if (!isFrozen && second.length === 0) {
      const why = wanted?.branch === place.branch ? `${name} has taken its place already` : "nothing replaces it";
      throw new DbError("invalidArgument", `branch ${over}: ${why}`);
    }
    // From here on whoever has begun a promotion before swaps nothing.
    const body = await changeName(this.#bucket, over, (now) => {
      if (now === null || now.tombstone || now.branch !== place.branch) throw isAnother(over);
      return { ...now };
    });
    for (const each of second) await this.#free(each, place.branch);
    if (isFrozen) {
      const ends = new DbError("frozen", `branch ${over} goes on: its promotion was taken back`);
      await leading.database.last((draft) => freeze(draft, null), null, ends);
    }
    for (const each of second) await this.#set.renamed(each);
    return body;
  }

  /** Those that promotions over this one have given to the branch. */
  async #secondNames(branch: BranchId): Promise<string[]> {
    const names = await readNames(this.#bucket);
    const isSecond = (body: BranchName): boolean =>
      !body.tombstone && body.branch === branch && body.replacedBy !== undefined;
    return names.filter((each) => each.name !== this.#asked.over && isSecond(each.body)).map((each) => each.name);
  }

  /** The branch has another name: nothing goes with this one. */
  async #free(name: string, branch: BranchId): Promise<void> {
    await changeName(this.#bucket, name, (now) =>
      now === null || now.tombstone || now.branch !== branch ? null : { ...newBranchName(branch), tombstone: true },
    );
  }

  /** Step 1. */
  async freeze(old: BranchId, by: BranchId): Promise<{ replaced: Replaced; committed: number }> {
    const { over, name, keepAs } = this.#asked;
    const { id, leading } = await this.#set.leadAny(over);
    if (id !== old) throw isAnother(over);
    const { database } = leading;
    const { replaced: before } = database;
    if (before !== null && before.name === over) {
      await proven(database);
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
    const replaced = { of: ofBranch(database.identity), by, name: over, keepAs: await this.#nameToKeep() };
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

  /** Before step 3: from here on nobody ends the new one for ever. */
  async look(by: BranchId): Promise<void> {
    const { name } = this.#asked;
    const now = await this.#read(name);
    if (now?.branch === by && !now.tombstone) return;
    throw new DbError("branchRefuses", `branch ${name} was deleted meanwhile: revoke that`);
  }

  /** Step 3. */
  async raise(over: BranchId, above: number): Promise<void> {
    const { name } = this.#asked;
    const { id, leading } = await this.#set.lead(name);
    const { database } = leading;
    const { raised, replaced } = database;
    if (replaced === null && raised?.over === over && raised.above >= above) return;
    const place = replaced === null ? null : await this.#read(replaced.name);
    if (replaced !== null && place?.branch === id && !place.tombstone) {
      const why = `branch ${name} is being replaced itself, as ${replaced.name}`;
      throw new DbError("branchRefuses", `${why}: promote that to its end, or revoke it`);
    }
    const ends = new DbError("frozen", `branch ${name} goes on from a higher revision: connect again`);
    await database.last(raise, { of: ofBranch(database.identity), over, above }, ends);
  }

  /** Step 4. `before`: the name as it was before step 1. */
  async swap(before: RegisterState<BranchName>, by: BranchId): Promise<BranchName> {
    const { over } = this.#asked;
    const { store, runtime, request } = this.#bucket;
    const { replacedBy: _, ...rest } = alive(over, before.body);
    const body = { ...rest, branch: by, expiresMs: null };
    const outcome = await branchNameRegister(store, over, runtime).swap(before, body, request);
    if (outcome.kind === "swapped") return body;
    if (outcome.kind === "unknown") {
      throw new DbError("storeUnavailable", `whether ${over} was swapped is not known: ${outcome.cause.message}`);
    }
    const { found } = outcome;
    if (found?.body.branch === by && !found.body.tombstone) return found.body;
    throw new DbError("branchRefuses", `branch ${over} was changed meanwhile: ask again`);
  }

  /** The name is free; whoever serves here by either name serves what it points to now. */
  async #finish(body: BranchName): Promise<Promoted> {
    const { name, over } = this.#asked;
    const before = await this.#read(name);
    if (before !== null && !before.tombstone && before.branch === body.branch) await this.#free(name, body.branch);
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
    return (await this.#state(name))?.body ?? null;
  }

  #state(name: string): Promise<RegisterState<BranchName> | null> {
    const { store, runtime, request } = this.#bucket;
    checkBranchName(name);
    return branchNameRegister(store, name, runtime).read(request);
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

const isAnother = (name: string): DbError =>
  new DbError("branchRefuses", `branch ${name} is another one since: ask again`);

/** By a read that takes a proof, begun now: nobody else leads the branch, so what it has in memory is how it is. */
async function proven(database: Database): Promise<void> {
  await database.range(NOTHING);
}

const NOTHING: RangeRequest = {
  ...{ kind: "range", key: "\0", rangeEnd: "", limit: 1, revision: 0, sortOrder: 0, sortTarget: 0 },
  ...{ serializable: false, keysOnly: true, countOnly: false },
  ...{ minModRevision: 0, maxModRevision: 0, minCreateRevision: 0, maxCreateRevision: 0 },
};

/** Of a DNS label. */
const NAME_CHARACTERS_MAX = 63;
