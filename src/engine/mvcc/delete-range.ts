import { KEYS, type Version } from "../../storage/storage.ts";
import type { Draft } from "../draft.ts";
import type { DeleteRangeRequest, DeleteRangeResult } from "../engine.ts";
import type { Reads } from "../reads.ts";
import { keyRange } from "./key-range.ts";

const NONE: readonly Version[] = [];

/** The pairs that a delete is about, before this request. */
export function readDeleted(reads: Reads, request: DeleteRangeRequest): readonly Version[] {
  if (request.rangeEnd !== "") return reads.scan(KEYS, keyRange(request.key, request.rangeEnd));
  const version = reads.get(request.key);
  return version === null ? NONE : [version];
}

/** A delete by itself (D2 to D6). */
export function deleteRange(draft: Draft, request: DeleteRangeRequest): DeleteRangeResult {
  const versions = readDeleted(draft.reads, request);
  for (const version of versions) draft.delete(version.key, { prev: version, before: version });
  return {
    kind: "deleteRange",
    revision: draft.revisionSoFar,
    deleted: versions.length,
    prevs: request.prevKv ? versions : NONE,
  };
}
