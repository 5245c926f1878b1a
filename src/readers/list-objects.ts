import type { ObjectKey } from "../base/ids.ts";
import { LIST_LIMIT_MAX, type ListPage, type ObjectStore, type RequestOptions } from "../objects/objects.ts";

export type ListedObject = ListPage["objects"][number];

/** All objects below a prefix in byte order, page by page: what is in memory is one page. */
export async function* listObjects(
  store: ObjectStore,
  prefix: string,
  request: RequestOptions,
  startAfter?: ObjectKey,
): AsyncGenerator<ListedObject> {
  let after = startAfter;
  for (;;) {
    const options = { ...request, limit: LIST_LIMIT_MAX, ...(after !== undefined && { startAfter: after }) };
    const page = await store.list(prefix, options);
    yield* page.objects;
    // Bounded by the bucket: each further page begins behind objects that exist.
    if (!page.more || page.objects.length === 0) return;
    after = page.objects.at(-1)!.key;
  }
}

/**
 * The folders and objects directly below a prefix ("branch/", "repository.json"), by one or two requests each: what
 * lies in a folder is skipped.
 */
export async function* listFolders(
  store: ObjectStore,
  prefix: string,
  request: RequestOptions,
): AsyncGenerator<{ name: string; folder: boolean; object: ListedObject }> {
  let after: ObjectKey | undefined;
  for (;;) {
    const options = { ...request, limit: 1, ...(after !== undefined && { startAfter: after }) };
    const page = await store.list(prefix, options);
    const object = page.objects[0];
    if (object === undefined) return;
    const end = object.key.indexOf("/", prefix.length);
    const name = end === -1 ? object.key : object.key.slice(0, end + 1);
    yield { name, folder: end !== -1, object };
    after = end === -1 ? object.key : (`${name}~` as ObjectKey);
  }
}

/** So much is asked for at once; what is larger than `bytes` alone is asked for by itself. */
export interface Width {
  readonly requests: number;
  readonly bytes: number;
}

/** Runs `work` over what `items` gives, several at once, and hands the results on in order. */
export async function* inOrder<T extends { readonly bytes: number }, R>(
  items: AsyncIterable<T>,
  width: Width,
  work: (item: T) => Promise<R>,
): AsyncGenerator<{ item: T; result: R }> {
  const under: { item: T; result: Promise<R> }[] = [];
  let bytes = 0;
  const next = async () => {
    const { item, result } = under.shift()!;
    bytes -= item.bytes;
    return { item, result: await result };
  };
  for await (const item of items) {
    while (under.length > 0 && (under.length >= width.requests || bytes + item.bytes > width.bytes)) yield await next();
    const result = work(item);
    // Its failure is met when its turn comes; till then nobody awaits it.
    result.catch(() => {});
    under.push({ item, result });
    bytes += item.bytes;
  }
  while (under.length > 0) yield await next();
}
