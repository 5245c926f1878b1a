import { hash } from "node:crypto";
import { DbError, messageOf } from "../../base/errors.ts";
import { AT_HEAD, spaces, type Tree } from "../../storage/storage.ts";
import type { Draft } from "../draft.ts";
import type { Identity } from "../engine.ts";
import { metaKeys } from "../meta.ts";
import { recordKinds } from "../record.ts";
import type { Member, MemberAddresses, MemberChange, MemberChanged } from "./maintenance.ts";
import { memberUrls } from "./member-urls.ts";

/** What is logged of a member. The one of a node that has joined tells its addresses where they were changed. */
interface Stored {
  readonly peerUrls: readonly string[];
  readonly isLearner: boolean;
}

/**
 * The members of a branch (M8). A node is one by having joined: it needs nobody's leave, as it holds no data. What etcd
 * calls adding a member is here an announcement: it is logged and listed as unstarted, until the node that has its peer
 * URL joins or it is removed. So the steps of etcd's tools go through, in their order and with their errors.
 */
export class Members {
  readonly #identity: Identity;
  readonly #head: Map<bigint, Stored>;
  #committed: ReadonlyMap<bigint, Stored>;

  private constructor(identity: Identity, stored: Map<bigint, Stored>) {
    this.#identity = identity;
    this.#head = stored;
    this.#committed = new Map(stored);
  }

  static async read(tree: Tree, identity: Identity): Promise<Members> {
    const prefix = metaKeys.member("");
    const range = { from: prefix, to: `${prefix}\xff` };
    const stored = new Map<bigint, Stored>();
    for (const { key, bytes, start, end } of await tree.scan(spaces.meta, range, AT_HEAD, { limit: 0 }))
      stored.set(idOf(key.slice(prefix.length)), decode(Buffer.from(bytes.subarray(start, end))));
    return new Members(identity, stored);
  }

  /** As readers see them. */
  list(self: MemberAddresses): Member[] {
    return this.#members(this.#committed, self);
  }

  /** As of the head. */
  sequenced(self: MemberAddresses): Member[] {
    return this.#members(this.#head, self);
  }

  evaluate(draft: Draft, { self, change }: { self: MemberAddresses; change: MemberChange }): MemberChanged {
    const before = this.#members(this.#head, self);
    const id = change.kind === "add" ? this.#add(draft, before, change) : this.#change(draft, before, change);
    const members = this.#members(this.#head, self);
    return { member: members.find((member) => member.id === id) ?? null, members };
  }

  #add(draft: Draft, members: readonly Member[], change: Extract<MemberChange, { kind: "add" }>): bigint {
    const { isLearner } = change;
    const peerUrls = memberUrls(change.peerUrls);
    checkUnused(peerUrls, members);
    if (isLearner && members.some((member) => member.isLearner)) throw new DbError("tooManyLearners");
    // With a voter that has not started and another one, most would be missing.
    if (!isLearner && members.some((member) => !member.isLearner && member.name === ""))
      throw new DbError("membersNotStarted");
    const id = this.#newId(peerUrls, draft.record);
    this.#write(draft, id, { peerUrls, isLearner });
    return id;
  }

  #change(draft: Draft, members: readonly Member[], change: Exclude<MemberChange, { kind: "add" }>): bigint {
    const { id } = change;
    const member = members.find((each) => each.id === id);
    if (member === undefined) throw new DbError("memberNotFound");
    const peerUrls = change.kind === "update" ? memberUrls(change.peerUrls) : [];
    if (change.kind === "promote") throw new DbError(member.isLearner ? "learnerNotReady" : "memberNotLearner");
    if (change.kind === "remove") {
      if (member.name !== "") throw new DbError("membersNotStarted");
      this.#write(draft, id, null);
    } else {
      const others = members.filter((each) => each !== member);
      checkUnused(peerUrls, others);
      this.#write(draft, id, { peerUrls, isLearner: member.isLearner });
    }
    return id;
  }

  #write(draft: Draft, id: bigint, stored: Stored | null): void {
    const key = metaKeys.member(id.toString(16).padStart(16, "0"));
    const effect = stored === null ? -1 : this.#head.has(id) ? 0 : 1;
    draft.kind = recordKinds.setting;
    draft.entry(spaces.meta, key, stored === null ? null : encode(stored), effect);
    if (stored === null) this.#head.delete(id);
    else this.#head.set(id, stored);
    const committed = new Map(this.#head);
    draft.afterCommit = () => {
      this.#committed = committed;
    };
  }

  #members(stored: ReadonlyMap<bigint, Stored>, self: MemberAddresses): Member[] {
    const { memberId, name } = this.#identity;
    const own = stored.get(memberId);
    const peerUrls = own?.peerUrls ?? self.peerUrls;
    const members: Member[] = [{ id: memberId, name, peerUrls, clientUrls: self.clientUrls, isLearner: false }];
    for (const [id, announced] of stored) {
      // The one that was announced with this node's address is this node.
      if (id === memberId || announced.peerUrls.some((url) => self.peerUrls.includes(url))) continue;
      members.push({ id, name: "", clientUrls: [], ...announced });
    }
    return members.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** The record that it comes with has a number of its own, so an address announced again gets a new id. */
  #newId(peerUrls: readonly string[], record: number): bigint {
    const digest = hash("sha256", ["t4", "announced", this.#identity.clusterId, record, ...peerUrls].join("\n"));
    return BigInt(`0x${digest.slice(0, 16)}`) || 1n;
  }
}

function checkUnused(peerUrls: readonly string[], others: readonly Member[]): void {
  const taken = new Set(others.flatMap((member) => member.peerUrls));
  if (peerUrls.some((url) => taken.has(url))) throw new DbError("peerUrlExists");
}

const encode = ({ peerUrls, isLearner }: Stored): Buffer => Buffer.from(JSON.stringify({ peerUrls, isLearner }));

function decode(bytes: Buffer): Stored {
  try {
    const { peerUrls, isLearner } = JSON.parse(bytes.toString("utf8")) as Record<string, unknown>;
    if (!Array.isArray(peerUrls) || typeof isLearner !== "boolean") throw new RangeError("lacks a field");
    return { peerUrls: memberUrls(peerUrls as string[]), isLearner };
  } catch (error) {
    throw new DbError("corrupt", `a stored member: ${messageOf(error)}`, { cause: error });
  }
}

function idOf(hex: string): bigint {
  if (!/^[0-9a-f]{16}$/.test(hex)) throw new DbError("corrupt", `a stored member's id is ${JSON.stringify(hex)}`);
  return BigInt(`0x${hex}`);
}
