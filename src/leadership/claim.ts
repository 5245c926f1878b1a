import { DbError } from "../base/errors.ts";
import type { MemberState } from "./disk-identity.ts";
import { type LeaderRecord, membershipOf } from "./leader-record.ts";
import type { Durability } from "./leadership.ts";

/**
 * Whether a node may take a branch, and what must happen first: a pure function of the leader record and of what the
 * node is. It looks at no clock and asks nobody; the one who acts on the answer swaps on the very version judged.
 *
 *   record                                    answer
 *   none                                      take, no fence: no earlier epoch exists
 *   released                                  take, no fence: nothing is unresolved
 *   set empty, held by a session              that session must be dead first, then take
 *   `local`, the set is this disk             take: who holds the disk's lock has outlived the leader
 *   `local`, the set is another disk          refused; by force: that session must be dead, and what is lost is said
 */
export type Claim =
  | { kind: "refused"; error: DbError }
  /** An opening of this member disk was cut short: its generation is swapped in and made present, then judge anew. */
  | { kind: "finishOpening"; disk: string; generation: string; swapped: boolean }
  | {
      kind: "take";
      durability: Durability;
      /** This session must be dead before the swap; null: nobody needs to be. */
      outlive: string | null;
      /** Epochs before this one may have writes on their way. */
      fence: boolean;
      /** What becomes of this node's disk: no member, the member that it was, or a member anew with an empty log. */
      disk: "none" | "keep" | "join";
      /** What may be lost, for the operator who asked for it. */
      warning: string | null;
    };

export interface Claimant {
  /** Asked for by the operator; null: as the branch is, or `durabilityDefault` for a new one. */
  readonly durability: Durability | null;
  readonly durabilityDefault: Durability;
  readonly changeDurability: boolean;
  readonly force: boolean;
  /** It takes the branch to end it: nothing that was acknowledged needs to be kept. */
  readonly ending: boolean;
  /** For texts. */
  readonly branchName: string;
  /** Why this node's directory does not do for `local` (none given, shared file system); null when it does. */
  readonly localRefusal: string | null;
  /** The identity of this branch's local log here; null before the first. */
  readonly disk: MemberState | null;
  /** Sessions of this very process: whatever they led is given up. */
  readonly ownSession: string | null;
}

export function judge(record: LeaderRecord | null, claimant: Claimant): Claim {
  if (record?.tombstone === true) {
    return refused("notFound", `branch ${claimant.branchName} is deleted`);
  }
  if (claimant.ending) return judgeEnding(record, claimant);
  const durability = claimant.durability ?? record?.durability ?? claimant.durabilityDefault;
  const change = record === null ? null : changeRefusal(record, durability, claimant);
  if (change !== null) return change;
  if (durability === "local" && claimant.localRefusal !== null) {
    return refused("invalidArgument", `branch ${claimant.branchName} has durability local: ${claimant.localRefusal}`);
  }
  const disk = durability === "local" ? "join" : "none";
  if (record === null) return { kind: "take", durability, outlive: null, fence: false, disk, warning: null };
  if (record.inSync.length > 0) return judgeMembers(record, durability, claimant);
  const outlive = record.released || record.session === claimant.ownSession ? null : record.session;
  return { kind: "take", durability, outlive, fence: !record.released, disk, warning: null };
}

/** Whoever leads must be dead all the same: what it still acknowledged would be a lie. */
function judgeEnding(record: LeaderRecord | null, { ownSession }: Claimant): Claim {
  const isFree = record === null || record.released || record.session === ownSession;
  const outlive = isFree ? null : record.session;
  return { kind: "take", durability: "object", outlive, fence: true, disk: "none", warning: null };
}

/** Durability is a setting of the branch: another flag is an error, unless the change is asked for and can be made. */
function changeRefusal(record: LeaderRecord, durability: Durability, claimant: Claimant): Claim | null {
  if (durability === record.durability) return null;
  const is = `branch ${claimant.branchName} has durability ${record.durability}, not ${durability}`;
  if (!claimant.changeDurability) {
    return refused(
      "invalidArgument",
      `${is}: leave --durability out, or change it by stopping its leader cleanly and then starting once with ` +
        `--durability=${durability} --change-durability`,
    );
  }
  if (record.inSync.length === 0) return null;
  return refused(
    "invalidArgument",
    `${is}, and what disk ${record.inSync[0]!.disk} of node ${record.node} acknowledged may not be uploaded yet: ` +
      `start it there once with --durability=${record.durability} and stop it cleanly, then change it`,
  );
}

function judgeMembers(record: LeaderRecord, durability: Durability, claimant: Claimant): Claim {
  if (record.inSync.length > 1) {
    return refused("unimplemented", `branch ${claimant.branchName} is held by ${record.inSync.length} disks in sync`);
  }
  const membership = membershipOf(record, claimant.disk);
  if (membership !== "stranger" && membership !== "rolledBack" && !claimant.disk!.established) {
    // A crash came between the swap and the making of the log: this identity has acknowledged nothing.
    return { kind: "take", durability, outlive: null, fence: true, disk: "join", warning: null };
  }
  switch (membership) {
    case "member":
      return { kind: "take", durability, outlive: null, fence: true, disk: "keep", warning: null };
    case "openingNotSwapped":
    case "openingSwapped": {
      const { disk, next } = claimant.disk!;
      return { kind: "finishOpening", disk, generation: next!, swapped: membership === "openingSwapped" };
    }
    case "stranger":
    case "rolledBack": {
      if (!claimant.force) return refused("storeRefused", strangerText(record, membership, claimant));
      const outlive = record.session === claimant.ownSession ? null : record.session;
      return { kind: "take", durability, outlive, fence: true, disk: "join", warning: lossText(record, claimant) };
    }
  }
}

function strangerText(record: LeaderRecord, membership: "stranger" | "rolledBack", claimant: Claimant): string {
  const member = record.inSync[0]!;
  const why =
    membership === "rolledBack"
      ? `this is an old copy of disk ${member.disk}: the leader record shows generation ${member.generation}, ` +
        "which it does not know"
      : `only disk ${member.disk} of node ${record.node} (${record.addresses.join(", ")}) may lead it`;
  return (
    `branch ${claimant.branchName} has durability local, and ${why}. Start t4 there, with that data directory; or ` +
    "take over with --force-takeover, which loses what was acknowledged there and not yet uploaded"
  );
}

const lossText = (record: LeaderRecord, claimant: Claimant): string =>
  `forced takeover of branch ${claimant.branchName}: what disk ${record.inSync[0]!.disk} of node ${record.node} ` +
  `acknowledged in epoch ${record.epoch} and had not uploaded is lost; that node may go on serving until it reaches ` +
  "the bucket or is stopped";

const refused = (kind: DbError["kind"], text: string): Claim => ({ kind: "refused", error: new DbError(kind, text) });
