import { assert } from "../base/assert.ts";
import { type BranchId, branchId, type Epoch, epoch, type ObjectKey, type Slot, slot } from "../base/ids.ts";

/**
 * The names of all objects of a repository, below its root. No other module makes or takes apart one.
 *
 * 1. Every name is canonical: `objectKey(parseKey(key))` is `key` again, so two names never mean one object.
 * 2. Names that sort by a number carry it in 20 digits (10 for a checkpoint's `n`): byte order is number order.
 * 3. No name holds "", ".", ".." as a path segment or any character but [a-z0-9.-] and "/", and none is both an object
 *    and the directory of another, so a name can be a file's path as it is and cannot climb out of the root.
 */
export type ObjectName =
  | { kind: "repository" }
  /** A branch's name → its id. */
  | { kind: "name"; name: string }
  | { kind: "session"; id: string }
  | { kind: "origin"; branch: BranchId }
  | { kind: "leader"; branch: BranchId }
  /** A segment or a fence. */
  | { kind: "segment"; branch: BranchId; slot: Slot }
  /** The n-th checkpoint (from 0) that goes up to `nextSlot`. */
  | { kind: "checkpoint"; branch: BranchId; nextSlot: Slot; n: number }
  | { kind: "table"; branch: BranchId; epoch: Epoch; sha256: string }
  | { kind: "collection"; n: number }
  | { kind: "collectionDone"; n: number }
  /** What the start-up test of the store writes and deletes again. */
  | { kind: "probe"; run: string; n: number }
  /** That the start-up test has passed on this store. */
  | { kind: "probePassed" };

export type ObjectKind = ObjectName["kind"];

const SLOT_DIGITS = 20;
const CHECKPOINT_N_DIGITS = 10;
const SESSION_ID = /^[a-z0-9](?:[a-z0-9-]{0,78}[a-z0-9])?$/;
const PROBE_RUN = /^[0-9a-f]{16}$/;
const SHA256 = /^[0-9a-f]{64}$/;
const DNS_LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** A branch's name is a DNS label (RFC 1123): 1 to 63 lower-case letters, digits and inner hyphens. */
export const isBranchName = (text: string): boolean => DNS_LABEL.test(text);
/** 1 to 80 lower-case letters, digits and inner hyphens. */
export const isSessionId = (text: string): boolean => SESSION_ID.test(text);

/** Prefixes to list by. */
export const prefixes = {
  names: "name/",
  sessions: "session/",
  branches: "branch/",
  tables: "sst/",
  collections: "collector/",
  probes: "probe/",
  branch: (id: BranchId): string => `branch/${id}/`,
  segments: (id: BranchId): string => `branch/${id}/log/`,
  checkpoints: (id: BranchId): string => `branch/${id}/checkpoint/`,
  tablesOf: (id: BranchId): string => `sst/${id}-`,
} as const;

/** Behind all objects of a branch and before those of the next: to list branches without listing what they hold. */
export const behindBranch = (id: BranchId): ObjectKey => `branch/${branchId(id)}0` as ObjectKey;

export const repositoryKey = "repository.json" as ObjectKey;
export const probePassedKey = "probe/passed" as ObjectKey;

export function nameKey(name: string): ObjectKey {
  assert(isBranchName(name), `a branch name is a DNS label, not ${JSON.stringify(name)}`);
  return `name/${name}` as ObjectKey;
}

export function sessionKey(id: string): ObjectKey {
  assert(isSessionId(id), `a session id is lower-case letters, digits and hyphens, not ${JSON.stringify(id)}`);
  return `session/${id}` as ObjectKey;
}

export const originKey = (branch: BranchId): ObjectKey => `branch/${branchId(branch)}/origin` as ObjectKey;
export const leaderKey = (branch: BranchId): ObjectKey => `branch/${branchId(branch)}/leader` as ObjectKey;

export function segmentKey(branch: BranchId, at: Slot): ObjectKey {
  assert(at >= 1, "slots begin at 1");
  return `branch/${branchId(branch)}/log/${digits(at, SLOT_DIGITS)}` as ObjectKey;
}

export function checkpointKey(branch: BranchId, nextSlot: Slot, n: number): ObjectKey {
  assert(nextSlot >= 1, "slots begin at 1");
  assert(n < 10 ** CHECKPOINT_N_DIGITS, "a checkpoint's n has 10 digits");
  const name = `${digits(nextSlot, SLOT_DIGITS)}-${digits(n, CHECKPOINT_N_DIGITS)}`;
  return `branch/${branchId(branch)}/checkpoint/${name}` as ObjectKey;
}

export function tableKey(table: { branch: BranchId; epoch: Epoch; sha256: string }): ObjectKey {
  assert(SHA256.test(table.sha256), "a table is named by a SHA-256 in hex");
  return `sst/${branchId(table.branch)}-${digits(table.epoch, 1)}-${table.sha256}` as ObjectKey;
}

export const collectionKey = (n: number): ObjectKey => `collector/${digits(n, SLOT_DIGITS)}` as ObjectKey;
export const collectionDoneKey = (n: number): ObjectKey => `collector/${digits(n, SLOT_DIGITS)}-done` as ObjectKey;

export function probeKey(run: string, n: number): ObjectKey {
  assert(PROBE_RUN.test(run), "a probe's run is 16 hex digits");
  return `probe/${run}-${digits(n, 1)}` as ObjectKey;
}

export function objectKey(name: ObjectName): ObjectKey {
  switch (name.kind) {
    case "repository":
      return repositoryKey;
    case "name":
      return nameKey(name.name);
    case "session":
      return sessionKey(name.id);
    case "origin":
      return originKey(name.branch);
    case "leader":
      return leaderKey(name.branch);
    case "segment":
      return segmentKey(name.branch, name.slot);
    case "checkpoint":
      return checkpointKey(name.branch, name.nextSlot, name.n);
    case "table":
      return tableKey(name);
    case "collection":
      return collectionKey(name.n);
    case "collectionDone":
      return collectionDoneKey(name.n);
    case "probe":
      return probeKey(name.run, name.n);
    case "probePassed":
      return probePassedKey;
  }
}

/** What `key` names; null for a foreign name: nothing of t4's, or not in its one canonical form. */
export function parseKey(key: string): ObjectName | null {
  const parts = key.split("/", 5);
  const [folder, second = "", third = "", fourth = ""] = parts;
  switch (folder) {
    case "repository.json":
      return parts.length === 1 ? { kind: "repository" } : null;
    case "name":
      return parts.length === 2 && isBranchName(second) ? { kind: "name", name: second } : null;
    case "session":
      return parts.length === 2 && isSessionId(second) ? { kind: "session", id: second } : null;
    case "branch":
      if (!/^[0-9a-f]{32}$/.test(second)) return null;
      if (parts.length === 3) return parseSingle(branchId(second), third);
      return parts.length === 4 ? parseNumbered(branchId(second), third, fourth) : null;
    case "sst":
      return parts.length === 2 ? parseTable(second) : null;
    case "collector":
      return parts.length === 2 ? parseCollection(second) : null;
    case "probe":
      return parts.length === 2 ? parseProbe(second) : null;
    default:
      return null;
  }
}

/** Whether a name is in the folder of tables, quicker than `parseKey`: asked at each read of a block. */
export const isInTables = (key: ObjectKey): boolean => key.startsWith("sst/");

function parseSingle(branch: BranchId, name: string): ObjectName | null {
  return name === "origin" || name === "leader" ? { kind: name, branch } : null;
}

function parseNumbered(branch: BranchId, folder: string, name: string): ObjectName | null {
  const at = parseDigits(name.slice(0, SLOT_DIGITS), SLOT_DIGITS);
  if (at === null || at < 1) return null;
  if (folder === "log") return name.length === SLOT_DIGITS ? { kind: "segment", branch, slot: slot(at) } : null;
  if (folder !== "checkpoint" || name[SLOT_DIGITS] !== "-") return null;
  const n = parseDigits(name.slice(SLOT_DIGITS + 1), CHECKPOINT_N_DIGITS);
  return n === null ? null : { kind: "checkpoint", branch, nextSlot: slot(at), n };
}

function parseTable(name: string): ObjectName | null {
  const match = /^([0-9a-f]{32})-([0-9]{1,16})-([0-9a-f]{64})$/.exec(name);
  const number = match && parseDigits(match[2]!, 1);
  if (!match || typeof number !== "number") return null;
  return { kind: "table", branch: branchId(match[1]!), epoch: epoch(number), sha256: match[3]! };
}

function parseCollection(name: string): ObjectName | null {
  const n = parseDigits(name.slice(0, SLOT_DIGITS), SLOT_DIGITS);
  if (n === null) return null;
  if (name.length === SLOT_DIGITS) return { kind: "collection", n };
  return name.slice(SLOT_DIGITS) === "-done" ? { kind: "collectionDone", n } : null;
}

function parseProbe(name: string): ObjectName | null {
  if (name === "passed") return { kind: "probePassed" };
  const run = name.slice(0, 16);
  const n = name[16] === "-" ? parseDigits(name.slice(17), 1) : null;
  return n !== null && PROBE_RUN.test(run) ? { kind: "probe", run, n } : null;
}

function digits(value: number, width: number): string {
  assert(Number.isSafeInteger(value) && value >= 0, `a number in a name is a safe integer >= 0, not ${value}`);
  return String(value).padStart(width, "0");
}

/** A decimal number in exactly `width` digits, or in as few as it needs where `width` is 1; else null. */
function parseDigits(text: string, width: number): number | null {
  if (!/^[0-9]{1,20}$/.test(text)) return null;
  const value = Number(text);
  return Number.isSafeInteger(value) && String(value).padStart(width, "0") === text ? value : null;
}
