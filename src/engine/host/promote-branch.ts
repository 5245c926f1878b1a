import { DbError } from "../../base/errors.ts";
import type { BranchId } from "../../base/ids.ts";
import {
  alive,
  type BranchName,
  branchNameRegister,
  isFree,
  listNames,
  newBranchName,
} from "../../leadership/branch-name.ts";
import { MAIN } from "../../leadership/repository.ts";
import type { RegisterState } from "../../objects/register.ts";
import { type Bucket, readNames } from "../branches/branch-list.ts";
import type { PromoteBranch } from "../branches/branches.ts";
import { changeName } from "../branches/name-changes.ts";
import { checkBranchName } from "../branches/name-checks.ts";
import { freeze, ofBranch, type Replaced, raise } from "../branches/promotion.ts";
import type { BranchSet } from "./branch-set.ts";

export interface Promoted {
  readonly promoted: { readonly name: string; readonly body: BranchName };
  /** Null where a promotion that had happened already is told of again. */
  readonly replaced: { readonly name: string; readonly body: BranchName; readonly revision: number } | null;
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
 *   - Steps 2 and 4 swap the very versions of the two names that were read before step 1, and `revoke` writes both anew
 *     before it lets the old one go on. So a promotion that was taken back meanwhile names nothing, not even by a late
 *     request.
 *   - Step 1 is logged anew where it was before, and so is its taking back: each ends the leadership that it is logged
 *     under. So of two that have found the old branch as it was, one fails.
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
    const { replaced, committed, second } = await this.freeze(place.branch, wanted.branch);
    await this.keep(place.branch, replaced, second);
    await this.look(wanted.branch);
    await this.raise(place.branch, committed);
    const body = await this.swap(before!, wanted.branch);
    return { ...(await this.#finish(body)), replaced: await this.#kept(replaced.keepAs, committed) };
  }

  /** Takes it back. Resolves with the branch that was to be replaced. */
  async revoke(): Promise<BranchName> {
    const { over, name } = this.#asked;
    const place = alive(over, await this.#read(over));
    const wanted = await this.#read(name);
    const { id, leading } = await this.#set.leadAny(over);
    if (id !== place.branch) throw isAnother(over);
    const { replaced } = leading.database.settings;
    const isFrozen = replaced !== null && replaced.name === over;
    if (isFrozen && wanted !== null && !wanted.tombstone && wanted.branch !== replaced.by) {
      throw new DbError("invalidArgument", `branch ${over} is being replaced by ${replaced.by}, not by ${name}`);
    }
    if (!isFrozen && (await this.#secondNames(place.branch)).length === 0) {
      const why = wanted?.branch === place.branch ? `${name} has taken its place already` : "nothing replaces it";
      throw new DbError("invalidArgument", `branch ${over}: ${why}`);
    }
    // From here on whoever has begun a promotion before swaps nothing.
    const body = await changeName(this.#bucket, over, (now) => {
      if (now === null || now.tombstone || now.branch !== place.branch) throw isAnother(over);
      return { ...now };
    });
    if (isFrozen) await this.#withdraw(replaced.keepAs, place.branch);
    // Behind that: a late request may have given one since this was begun.
    const second = await this.#secondNames(place.branch);
    if (isFrozen) {
      const ends = new DbError("frozen", `branch ${over} goes on: its promotion was taken back`);
      await leading.database.last((draft) => freeze(draft, null), null, ends);
    }
    // Only once the old branch goes on: until then who goes on with the promotion counts on them.
    for (const each of second) await this.#freeSecond(each, place.branch);
    for (const { name: freed } of second) await this.#set.renamed(freed);
    return body;
  }

  /** Those that promotions over this one have given to the branch. */
  async #secondNames(branch: BranchId): Promise<SecondName[]> {
    const isSecond = (body: BranchName): boolean =>
      !body.tombstone && body.branch === branch && body.replacedBy !== undefined;
    const second: SecondName[] = [];
    for (const { name, body } of await readNames(this.#bucket)) {
      if (name === this.#asked.over || !isSecond(body)) continue;
      const state = await this.#state(name);
      if (state !== null && isSecond(state.body)) second.push({ name, state });
    }
    return second;
  }

  /** As it was looked at: a promotion that has begun since writes it anew, and keeps it. */
  async #freeSecond({ name, state }: SecondName, branch: BranchId): Promise<void> {
    const { store, runtime, request } = this.#bucket;
    const body = { ...newBranchName(branch), tombstone: true };
    const outcome = await branchNameRegister(store, name, runtime).swap(state, body, request);
    if (outcome.kind === "unknown") {
      throw new DbError("storeUnavailable", `whether ${name} was freed is not known: ${outcome.cause.message}`);
    }
  }

  /** The branch has another name: nothing goes with this one. */
  async #free(name: string, branch: BranchId): Promise<void> {
    await changeName(this.#bucket, name, (now) =>
      now === null || now.tombstone || now.branch !== branch ? null : { ...newBranchName(branch), tombstone: true },
    );
  }

  /**
   * The second name is written anew, whether it is free or given: who goes on with what is being taken back may be
   * about to give it, or to write it anew.
   */
  async #withdraw(name: string, branch: BranchId): Promise<void> {
    await changeName(this.#bucket, name, (now) => {
      if (isFree(now)) return { ...(now ?? newBranchName(branch)), tombstone: true };
      return now?.branch === branch && !now.tombstone ? { ...now } : null;
    });
  }

  /** Step 1; with what the second name was before it. */
  async freeze(
    old: BranchId,
    by: BranchId,
  ): Promise<{ replaced: Replaced; committed: number; second: RegisterState<BranchName> | null }> {
    const { over, name, keepAs } = this.#asked;
    const { id, leading } = await this.#set.leadAny(over);
    if (id !== old) throw isAnother(over);
    const { database } = leading;
    const { replaced: before } = database.settings;
    if (before?.name === over) {
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
    } else if (before !== null) await this.#checkReplaced(old, before);
    const kept = before?.name === over ? before.keepAs : await this.#nameToKeep();
    const replaced = { of: ofBranch(database.identity), by, name: over, keepAs: kept };
    const second = await this.#state(kept);
    const ends = new DbError("frozen", `branch ${over} is being replaced by ${name}: connect again`);
    await database.last((draft) => freeze(draft, replaced), null, ends);
    return { replaced, committed: database.committed, second };
  }

  /** Throws where a branch is being replaced still, under a name that it has. */
  async #checkReplaced(branch: BranchId, { name }: Replaced): Promise<void> {
    const place = await this.#read(name);
    if (place?.branch !== branch || place.tombstone) return;
    const why = `the branch named ${name} is being replaced itself`;
    throw new DbError("branchRefuses", `${why}: promote that to its end, or revoke it`);
  }

  /** Step 2. `before`: the name as it was before step 1. */
  async keep(old: BranchId, { keepAs, by }: Replaced, before: RegisterState<BranchName> | null): Promise<void> {
    const isKept = (state: RegisterState<BranchName> | null): boolean =>
      state !== null && !state.body.tombstone && state.body.branch === old;
    // One that it has is written anew, too: who has taken the promotion back may be about to free it.
    if (!isKept(before) && !isFree(before?.body ?? null)) throw isTaken(keepAs);
    const { store, runtime, request } = this.#bucket;
    const body = { ...newBranchName(old), replacedBy: by };
    const outcome = await branchNameRegister(store, keepAs, runtime).swap(before, body, request);
    // Another process may have gone on with the same promotion, and was at this step before.
    if (outcome.kind === "swapped" || (outcome.kind === "conflict" && isKept(outcome.found))) return;
    if (outcome.kind === "unknown") {
      throw new DbError("storeUnavailable", `whether ${keepAs} was given is not known: ${outcome.cause.message}`);
    }
    throw isKept(before) || isFree(outcome.found?.body ?? null)
      ? new DbError("branchRefuses", `the promotion over ${this.#asked.over} was taken back meanwhile`)
      : isTaken(keepAs);
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
    const { raised, replaced } = database.settings;
    if (replaced === null && raised?.over === over && raised.above >= above) return;
    if (replaced !== null) await this.#checkReplaced(id, replaced);
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

  async #kept(keepAs: string, revision: number): Promise<Promoted["replaced"]> {
    const body = await this.#read(keepAs);
    return body === null ? null : { name: keepAs, body, revision };
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
      if (isFree(body)) return keepAs;
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

interface SecondName {
  readonly name: string;
  readonly state: RegisterState<BranchName>;
}

const isAnother = (name: string): DbError =>
  new DbError("branchRefuses", `branch ${name} is another one since: ask again`);

const isTaken = (name: string): DbError =>
  new DbError("branchRefuses", `there is a branch named ${name} already: revoke, and choose another name`);

/** Of a DNS label. */
const NAME_CHARACTERS_MAX = 63;
