import type { Compacted, KeyRange, Tree, Version } from "../../src/storage/storage.ts";

interface Asked {
  readonly range: KeyRange;
  readonly after: number;
  readonly upTo: number;
  /** Versions and bytes of a page. */
  readonly limit: number;
  readonly bytesMax?: number;
  readonly compacted?: Compacted | null;
}

/** All of a tree's versions in order, page by page. Throws when a page gets no further or splits a revision. */
export async function historyOf(tree: Pick<Tree, "versions">, asked: Asked): Promise<Version[]> {
  return (await pagesOf(tree, asked)).flat();
}

export async function pagesOf(tree: Pick<Tree, "versions">, asked: Asked): Promise<Version[][]> {
  const { range, after, upTo, limit, bytesMax = 1 << 20, compacted = null } = asked;
  const reader = tree.versions({ range, after, upTo, compacted });
  const pages: Version[][] = [];
  for (let at = after; at < upTo; ) {
    const page = await reader.next(limit, bytesMax);
    if (page.through <= at || page.through > upTo) throw new Error(`a page from ${at} through ${page.through}`);
    for (const { main } of page.versions) {
      if (main <= at || main > page.through) throw new Error(`${main} in a page from ${at} through ${page.through}`);
    }
    at = page.through;
    if (page.versions.length > 0) pages.push([...page.versions]);
  }
  await reader.close();
  return pages;
}
