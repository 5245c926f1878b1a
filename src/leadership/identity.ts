import { hash } from "node:crypto";
import { assert } from "../base/assert.ts";
import { type BranchId, branchId } from "../base/ids.ts";
import type { Random } from "../runtime/runtime.ts";

/**
 * Names that are functions of others. Each digest begins with a word of its own, so that no two of these ever agree by
 * accident; the parts have fixed forms without a newline, so that no two inputs are written alike.
 */
const digest = (purpose: string, ...parts: string[]): string => hash("sha256", ["t4", purpose, ...parts].join("\n"));

/** The first branch of a repository: whoever founds it, main has this id. */
export const mainBranchId = (repositoryId: string): BranchId => branchId(digest("main", repositoryId).slice(0, 32));

/** etcd's cluster_id of a branch. Never 0, which etcd's clients take for none. */
export const clusterId = (repositoryId: string, branch: BranchId): bigint =>
  positive(digest("cluster", repositoryId, branch));

/** etcd's member_id of the node named `name`. Never 0. */
export const memberId = (repositoryId: string, name: string): bigint =>
  positive(digest("member", repositoryId, nodeName(name)));

const positive = (hex: string): bigint => BigInt(`0x${hex.slice(0, 16)}`) || 1n;

/**
 * The n-th session of the node named `name`, from 1: `n` in 10 digits, so that a node's sessions are listed in order.
 */
export function sessionId(repositoryId: string, name: string, n: number): string {
  assert(Number.isSafeInteger(n) && n >= 1 && n <= SESSION_NUMBER_MAX, "a session's number has 10 digits, from 1");
  return sessionIdPrefix(repositoryId, name) + String(n).padStart(10, "0");
}

export const SESSION_NUMBER_MAX = 9_999_999_999;

/** What the ids of all sessions of one node begin with. */
export const sessionIdPrefix = (repositoryId: string, name: string): string =>
  `${memberId(repositoryId, name).toString(16).padStart(16, "0")}-`;

/** The number in a session's id, null if it is not one of the node with this prefix. */
export function sessionNumber(prefix: string, id: string): number | null {
  const digits = id.startsWith(prefix) ? id.slice(prefix.length) : "";
  return /^[0-9]{10}$/.test(digits) && Number(digits) >= 1 ? Number(digits) : null;
}

const NODE_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$/;

/** A node's name: 1 to 128 letters, digits and inner dots, underscores, hyphens. */
export const isNodeName = (text: string): boolean => NODE_NAME.test(text);

function nodeName(name: string): string {
  assert(
    isNodeName(name),
    `a node's name is letters, digits, dots, underscores and hyphens, not ${JSON.stringify(name)}`,
  );
  return name;
}

/** The name of a node that was given none: kept in its data directory. */
export const randomNodeName = (random: Random): string => `node-${random.bytes(8).toString("hex")}`;
