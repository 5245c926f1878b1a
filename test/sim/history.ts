import type { ErrorKind } from "../../src/base/errors.ts";
import type { LeaseId } from "../../src/base/ids.ts";
import type { DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest } from "../../src/engine/engine.ts";

/** A place in the order of all that the world saw happen, and when that was in true time. */
export interface Moment {
  readonly order: number;
  readonly ms: number;
}

export type ClientRequest =
  | RangeRequest
  | PutRequest
  | DeleteRangeRequest
  | TxnRequest
  | { readonly kind: "compact"; readonly revision: number }
  | { readonly kind: "grant"; readonly id: LeaseId; readonly ttlSeconds: number }
  | { readonly kind: "revoke"; readonly id: LeaseId }
  | { readonly kind: "keepAlive"; readonly id: LeaseId }
  | { readonly kind: "timeToLive"; readonly id: LeaseId; readonly keys: boolean }
  | { readonly kind: "leases" };

/** What a client knows of its call. */
export type Outcome =
  /**
   * Plain data, as Model.evaluate gives it, and the revision that it tells. `changed`: it says that it wrote something.
   */
  | { kind: "answered"; answer: string; revision: number; changed: boolean }
  /** An answer like any other: the request was evaluated, and refused. */
  | { kind: "refused"; error: ErrorKind }
  /** Said not to have been carried out. */
  | { kind: "notDone"; error: ErrorKind }
  | { kind: "unknown"; error: ErrorKind };

export interface Call {
  readonly id: number;
  readonly request: ClientRequest;
  readonly begun: Moment;
  /** Null where nothing was ever heard of it. */
  ended: Moment | null;
  outcome: Outcome;
}

export interface TruePair {
  key: string;
  create: number;
  mod: number;
  version: number;
  value: string;
  lease: bigint;
}

/** One record of the branch's log, as the bucket has it in the end. */
export interface TrueRecord {
  readonly epoch: number;
  /** After it. */
  readonly revision: number;
  /** In the order of sub-revisions; null: deleted. */
  readonly changes: readonly { readonly key: string; readonly pair: TruePair | null }[];
  readonly granted: readonly { readonly id: bigint; readonly ttlSeconds: number }[];
  readonly ended: readonly bigint[];
  readonly compacted: number | null;
  /** When it was in the bucket. */
  readonly uploadedMs: number;
}

export interface SeenEvent {
  readonly key: string;
  /** As `shownPair` has it; null for a deletion. */
  readonly pair: string | null;
  readonly mod: number;
  readonly prev: string | null;
}

export type SeenMessage = { readonly at: Moment } & (
  | { kind: "created"; revision: number }
  | { kind: "canceled"; compactRevision: number; reason: string }
  | { kind: "events"; revision: number; events: readonly SeenEvent[]; more: boolean }
  | { kind: "progress"; revision: number }
);

/** One watcher from its creation to the end of its stream. */
export interface WatchRun {
  readonly name: string;
  readonly key: string;
  readonly rangeEnd: string;
  /** 0: from the next revision on. */
  readonly start: number;
  readonly prevKv: boolean;
  readonly noPut: boolean;
  readonly noDelete: boolean;
  readonly messages: SeenMessage[];
}

/** All that clients did and saw, and what the bucket says of it in the end. */
export interface History {
  readonly calls: readonly Call[];
  readonly watches: readonly WatchRun[];
  readonly records: readonly TrueRecord[];
  /** A disk was lost whose records were not all uploaded: what was known of later revisions before `at` is void. */
  readonly loss: { readonly at: Moment; readonly revision: number } | null;
}

/** The tag of a call, at the beginning of every value that it writes: no two calls write the same. */
export const tagOf = (call: number): string => `#${call};`;

/** The call that made up a value; null if none did. */
export function callOfValue(value: string): number | null {
  const found = /^#(\d+);/.exec(value);
  return found === null ? null : Number(found[1]);
}
