import type { OrderedVersions, Tree, Version } from "../storage/storage.ts";
import type { OrderedVersionsRequest } from "./engine.ts";

const BATCH_VERSIONS = 4096;
const BATCH_BYTES = 1 << 20;

/** The view is of the moment of the call; nothing is read before the first batch is asked for. */
export function versionsInOrder(tree: Tree, request: OrderedVersionsRequest): AsyncIterable<readonly Version[]> {
  const { after, upTo, compacted, signal } = request;
  const all = { from: "", to: null };
  return batches(tree.versions({ range: all, after, upTo, compacted, signal }), Math.min(after, upTo), upTo);
}

async function* batches(
  reader: OrderedVersions,
  after: number,
  upTo: number,
): AsyncGenerator<readonly Version[], void, undefined> {
  try {
    // Each page gets further, as far as `upTo` at most. A process that dies here leaves scratch files, which are
    // removed when it starts again.
    for (let through = after; through < upTo; ) {
      const page = await reader.next(BATCH_VERSIONS, BATCH_BYTES);
      through = page.through;
      if (page.versions.length > 0) yield page.versions;
    }
  } finally {
    await reader.close();
  }
}
