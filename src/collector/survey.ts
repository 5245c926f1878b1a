import { DbError } from "../base/errors.ts";
import type { ObjectKey, Slot } from "../base/ids.ts";
import { parseKey, prefixes } from "../objects/keys.ts";
import { LIST_LIMIT_MAX, type ListPage, type ObjectStore, type RequestOptions } from "../objects/objects.ts";
import { type BranchReferences, type ReferenceOptions, tablesIn } from "./branch-references.ts";
import type { CollectionLedger } from "./ledger.ts";
import type { OldSegments } from "./old-segments.ts";
import type { References } from "./references.ts";
import type { SpentCollections } from "./spent-collections.ts";

/** Something that a collection would delete. */
export interface Candidate {
  readonly key: ObjectKey;
  readonly bytes: number;
  readonly why: CandidateReason;
}

export type CandidateReason =
  /** Log below the first slot kept. */
  | "old segment"
  /** No branch needs it, or the table in it, any more. */
  | "dropped table"
  /** Uploaded, and never in a checkpoint that counts. */
  | "orphan table"
  | "thinned checkpoint"
  | "done collection"
  /** Abandoned, and nothing that it names is left. */
  | "spent collection";

export interface SurveyOptions extends ReferenceOptions {
  readonly references: References;
  readonly segments: OldSegments;
  readonly ledger: CollectionLedger;
  readonly spent: SpentCollections;
  readonly candidatesMax: number;
}

type Objects = ListPage["objects"];

/**
 * What exists, is old enough and is needed by nobody, in the order in which it may be deleted: checkpoints behind the
 * tables that they alone tell to have been referenced once, so that a crash between them forgets nothing.
 *
 * A table that was never referenced may be about to be: by a checkpoint that its leader is writing. It is listed only
 * once its branch has a checkpoint of a later epoch.
 */
export async function survey(options: SurveyOptions): Promise<{ candidates: Candidate[]; more: boolean }> {
  const { candidatesMax, ledger } = options;
  const candidates: Candidate[] = [];
  for await (const some of inOrder(options)) {
    candidates.push(...some);
    if (candidates.length > candidatesMax) return { candidates: candidates.slice(0, candidatesMax), more: true };
  }
  // Alone they are no reason for a collection: each would leave its own behind.
  if (candidates.length === 0) return { candidates, more: false };
  for (const { key, bytes } of ledger.old) candidates.push({ key, bytes, why: "done collection" });
  const abandoned = ledger.abandoned.filter((each) => isOld(each, options));
  candidates.push(...(await options.spent.among(abandoned, options.request)));
  return { candidates: candidates.slice(0, candidatesMax), more: candidates.length > candidatesMax };
}

async function* inOrder(options: SurveyOptions): AsyncGenerator<Candidate[]> {
  const { references, segments, request } = options;
  for (const { branch, logFrom } of references.branches.values()) {
    const before = (logFrom ?? Number.MAX_SAFE_INTEGER) as Slot;
    for await (const page of segments.below(branch, before, request)) {
      yield page
        .filter((each) => isOld(each, options) && !references.has({ kind: "segment", branch, slot: each.slot }))
        .map(({ key, bytes }) => ({ key, bytes, why: "old segment" }));
    }
  }
  const dropped = await droppedTables(options);
  for await (const page of pages(options.store, prefixes.tables, request)) {
    yield page.filter((each) => isOld(each, options)).flatMap((each) => tableCandidate(each, dropped, references));
  }
  for (const branch of references.branches.values()) {
    yield unneededCheckpoints(branch, options).map(({ key, bytes }) => ({ key, bytes, why: "thinned checkpoint" }));
  }
}

const isOld = (object: { modifiedMs: number }, { graceFromMs }: SurveyOptions): boolean =>
  object.modifiedMs <= graceFromMs;

function tableCandidate(
  { key, bytes }: Objects[number],
  dropped: ReadonlySet<ObjectKey>,
  references: References,
): Candidate[] {
  const name = parseKey(key);
  if (name?.kind !== "table") throw new DbError("corrupt", `object ${key}: is foreign, expected only tables there`);
  if (references.has(name)) return [];
  if (dropped.has(key)) return [{ key, bytes, why: "dropped table" }];
  return references.isOrphan(name) ? [{ key, bytes, why: "orphan table" }] : [];
}

/** Checkpoints that nobody needs: their tables have been referenced once. */
function unneededCheckpoints(branch: BranchReferences, options: SurveyOptions): Objects {
  const { references } = options;
  return branch.existing.filter((each) => {
    const name = parseKey(each.key);
    return name?.kind === "checkpoint" && isOld(each, options) && !references.has(name);
  });
}

/** The tables in checkpoints that are about to go. */
async function droppedTables(options: SurveyOptions): Promise<Set<ObjectKey>> {
  const { references } = options;
  const tables = new Set<ObjectKey>();
  for (const branch of references.branches.values()) {
    for (const { key } of unneededCheckpoints(branch, options)) {
      for (const table of await tablesIn(key, options)) tables.add(table);
    }
  }
  return tables;
}

async function* pages(store: ObjectStore, prefix: string, request: RequestOptions): AsyncGenerator<Objects> {
  let last: ObjectKey | undefined;
  for (;;) {
    const after = last === undefined ? {} : { startAfter: last };
    const page = await store.list(prefix, { ...request, ...after, limit: LIST_LIMIT_MAX });
    yield page.objects;
    if (!page.more || page.objects.length === 0) return;
    last = page.objects.at(-1)!.key;
  }
}
