import { DbError } from "../base/errors.ts";
import { type Revision, revision } from "../base/ids.ts";
import { spaces } from "../storage/storage.ts";
import type { Draft } from "./draft.ts";
import type { CompactRequest } from "./engine.ts";
import { encodeCompactRevision, metaKeys } from "./meta.ts";
import { recordKinds } from "./record.ts";

/** C1, C4: makes no revision. 0 passes once, on a branch that was never compacted; a negative one never does. */
export function compact(draft: Draft, request: CompactRequest): { revision: Revision } {
  if (!Number.isSafeInteger(request.revision)) throw new DbError("invalidArgument", "revision is an integer");
  if (request.revision <= draft.compactRevision) throw new DbError("compacted");
  if (request.revision > draft.revision) throw new DbError("futureRevision");
  const effect = draft.compactRevision === -1 ? 1 : 0;
  draft.kind = recordKinds.compaction;
  draft.entry(spaces.meta, metaKeys.compact, encodeCompactRevision(request.revision), effect);
  draft.compactRevision = revision(request.revision);
  return { revision: draft.revision };
}
