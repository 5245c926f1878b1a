import { assert } from "../base/assert.ts";
import { DbError, messageOf } from "../base/errors.ts";
import {
  type BranchId,
  branchId,
  type Epoch,
  epoch,
  type RecordNumber,
  type Revision,
  recordNumber,
  revision,
  type Slot,
  slot,
} from "../base/ids.ts";
import { readDecoded } from "../objects/checked-read.ts";
import { decodeEnvelope, encodeEnvelope } from "../objects/envelope.ts";
import { isBranchName, originKey } from "../objects/keys.ts";
import type { ObjectStore, RequestOptions } from "../objects/objects.ts";
import { Fields, patterns } from "./fields.ts";

/**
 * Where a branch begins (docs/formats/control-objects.md): created once, never changed, the same bytes by whoever
 * founds the repository. A root branch begins with nothing, or with the checkpoint that an import has made; a cut one
 * with a checkpoint and the log behind it, up to a point.
 */
export interface Origin {
  readonly branch: BranchId;
  /** The branch that it was cut from; null for a root. */
  readonly parent: BranchId | null;
  /**
   * The name that it was cut to get, so that who meets an origin without a name knows which name it may get still; left
   * out: the main that a repository is founded with, or one that was cut by an earlier version.
   */
  readonly name?: string | undefined;
  /** The newest checkpoint at or before the point, of the parent or of one of its ancestors; null: there was none. */
  readonly checkpoint: OriginCheckpoint | null;
  /**
   * What to replay behind the checkpoint, in this order: slots `first` to `last`, both included, up to `lastRecord`.
   */
  readonly runs: readonly OriginRun[];
  /** What the branch's own log goes on from: its own first slot, and all else as of the point. */
  readonly position: OriginPosition;
  /**
   * What is left out of the state at the point, in this order: its first leader logs that before anything else. A
   * branch that is cut off one which had no checkpoint yet has that one's, too.
   */
  readonly strips?: readonly OriginStrip[] | undefined;
}

export interface OriginStrip {
  /** The branch that was cut with it. */
  readonly by: BranchId;
  /** Users, roles, and that authentication is on. */
  readonly auth: boolean;
  /** Leases, and that keys hang on them. */
  readonly leases: boolean;
}

export interface OriginCheckpoint {
  readonly branch: BranchId;
  readonly nextSlot: Slot;
  readonly n: number;
  /** Its id: the SHA-256 of its bytes. */
  readonly sha256: string;
}

export interface OriginRun {
  readonly branch: BranchId;
  readonly first: Slot;
  readonly last: Slot;
  /** Records behind this one are not of this history: the branch that the next run is of was cut there. */
  readonly lastRecord: RecordNumber;
}

/** The same fields as a log's position. A branch's first epoch is one above `highestEpoch`. */
export interface OriginPosition {
  readonly nextSlot: Slot;
  readonly highestEpoch: Epoch;
  readonly lastHash: string;
  readonly lastRecord: RecordNumber;
  readonly lastRecordEpoch: Epoch;
  readonly revision: Revision;
  readonly wallMs: number;
}

const RUNS_MAX = 10_000;
const STRIPS_MAX = 1000;

/** A branch that begins with nothing: etcd's revision 1, no record. */
export const rootOrigin = (branch: BranchId): Origin => ({
  branch,
  parent: null,
  checkpoint: null,
  runs: [],
  position: {
    nextSlot: slot(1),
    highestEpoch: epoch(0),
    lastHash: "0".repeat(64),
    lastRecord: recordNumber(0),
    lastRecordEpoch: epoch(0),
    revision: revision(1),
    wallMs: 0,
  },
});

export function encodeOrigin(origin: Origin): Buffer {
  const bytes = encodeEnvelope(originKey(origin.branch), { counter: 0, body: origin });
  assert(decodeOrigin(origin.branch, bytes).branch === origin.branch, "what is written can be read");
  return bytes;
}

export function decodeOrigin(branch: BranchId, bytes: Uint8Array): Origin {
  const key = originKey(branch);
  const { body } = decodeEnvelope(key, bytes);
  try {
    const origin = originOf(body);
    if (origin.branch !== branch) throw new Error(`field branch: expected ${branch}, found ${origin.branch}`);
    return origin;
  } catch (error) {
    throw new DbError("corrupt", `object ${key}: ${messageOf(error)}`, { cause: error });
  }
}

function originOf(body: unknown): Origin {
  const fields = new Fields(body, ["branch", "parent", "name", "checkpoint", "runs", "position", "strips"]);
  return {
    branch: branchOf(fields, "branch"),
    parent: fields.orNull("parent", () => branchOf(fields, "parent")),
    ...(fields.has("name") && { name: nameOf(fields) }),
    checkpoint: fields.orNull("checkpoint", () => {
      const checkpoint = fields.object("checkpoint", ["branch", "nextSlot", "n", "sha256"]);
      return {
        branch: branchOf(checkpoint, "branch"),
        nextSlot: slot(checkpoint.count("nextSlot", { min: 1 })),
        n: checkpoint.count("n"),
        sha256: checkpoint.text("sha256", patterns.sha256),
      };
    }),
    runs: fields.list("runs", RUNS_MAX, runOf),
    position: positionOf(
      fields.object("position", [
        "nextSlot",
        "highestEpoch",
        "lastHash",
        "lastRecord",
        "lastRecordEpoch",
        "revision",
        "wallMs",
      ]),
    ),
    ...(fields.has("strips") && { strips: fields.list("strips", STRIPS_MAX, stripOf) }),
  };
}

function nameOf(fields: Fields): string {
  const name = fields.text("name", patterns.line);
  if (!isBranchName(name)) throw new Error(`field name: expected a DNS label, found ${JSON.stringify(name)}`);
  return name;
}

function stripOf(item: unknown, where: string): OriginStrip {
  const strip = new Fields(item, ["by", "auth", "leases"], where);
  return { by: branchOf(strip, "by"), auth: strip.flag("auth"), leases: strip.flag("leases") };
}

function runOf(item: unknown, where: string): OriginRun {
  const run = new Fields(item, ["branch", "first", "last", "lastRecord"], where);
  const first = slot(run.count("first", { min: 1 }));
  return {
    branch: branchOf(run, "branch"),
    first,
    last: slot(run.count("last", { min: first })),
    lastRecord: recordNumber(run.count("lastRecord")),
  };
}

const positionOf = (fields: Fields): OriginPosition => ({
  nextSlot: slot(fields.count("nextSlot", { min: 1 })),
  highestEpoch: epoch(fields.count("highestEpoch")),
  lastHash: fields.text("lastHash", patterns.sha256),
  lastRecord: recordNumber(fields.count("lastRecord")),
  lastRecordEpoch: epoch(fields.count("lastRecordEpoch")),
  revision: revision(fields.count("revision", { min: 1 })),
  wallMs: fields.count("wallMs"),
});

const branchOf = (fields: Fields, name: string): BranchId => branchId(fields.text(name, patterns.hex16));

/** Throws `notFound` where the branch has none: it was never made, or is deleted. */
export async function readOrigin(store: ObjectStore, branch: BranchId, request: RequestOptions): Promise<Origin> {
  const origin = await readDecoded(store, originKey(branch), request, ({ body }) => decodeOrigin(branch, body));
  if (origin === null) throw new DbError("notFound", `branch ${branch} has no origin in ${store.name}`);
  return origin;
}
