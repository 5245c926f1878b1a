import type { Revision } from "../base/ids.ts";
import type { Row } from "./engine.ts";

/** What one revision did to the keys, in sub-revision order: what watchers are told once it is committed. */
export interface CommittedRevision {
  readonly revision: Revision;
  readonly changes: readonly Change[];
}

export interface Change {
  readonly key: string;
  /** The stored pair; for a deletion an encoded KeyValue that has only key and mod_revision (W11). */
  readonly kv: Row;
  readonly deleted: boolean;
  /** The pair before this revision (before the whole transaction, W10), or null if there was none. */
  readonly prev: Row | null;
}

/** Told of commits in order, each once, after `committed` has advanced past them and their responses have left. */
export interface CommitListener {
  committed(revisions: readonly CommittedRevision[]): void;
  /** The revision below which nothing can be read any more has moved (C6). */
  compacted(revision: Revision): void;
}
