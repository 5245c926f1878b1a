import { DbError, messageOf } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import type { ListPage } from "./objects.ts";
import { fieldOf, xmlParser } from "./s3-errors.ts";

export interface ListRequest {
  /** Root of the repository in the bucket: "" or ending with a slash. */
  root: string;
  prefix: string;
  startAfter: string | undefined;
  limit: number;
}

/** Query of ListObjectsV2. Each page starts behind a key: no token is kept, so a page can be asked for at any time. */
export function listQuery(request: ListRequest): Record<string, string> {
  const query: Record<string, string> = {
    "list-type": "2",
    "encoding-type": "url",
    "max-keys": String(request.limit),
    prefix: request.root + request.prefix,
  };
  if (request.startAfter !== undefined) query["start-after"] = request.root + request.startAfter;
  return query;
}

/** Takes a page apart; throws `storeRefused` for one that is not a list in order of what was asked. */
export async function parseList(body: Buffer, request: ListRequest): Promise<ListPage> {
  const wrong = (what: string) =>
    new DbError("storeRefused", `the store's list of ${request.root}${request.prefix}: ${what}`);
  let result: unknown;
  try {
    result = fieldOf((await xmlParser()).parse(body.toString("utf8")), "ListBucketResult");
  } catch (error) {
    throw wrong(`is no XML: ${messageOf(error)}`);
  }
  if (result === undefined) throw wrong("is no ListBucketResult");
  const encoded = fieldOf(result, "EncodingType") === "url";
  const contents = fieldOf(result, "Contents") ?? [];
  if (!Array.isArray(contents) || contents.length > request.limit) throw wrong("has more objects than were asked for");
  const objects: ListPage["objects"] = [];
  let last = request.startAfter;
  for (const entry of contents) {
    const key = keyOf(fieldOf(entry, "Key"), encoded);
    const bytes = Number(fieldOf(entry, "Size"));
    const modifiedMs = Date.parse(String(fieldOf(entry, "LastModified")));
    if (key === null || !Number.isSafeInteger(bytes) || bytes < 0 || !Number.isSafeInteger(modifiedMs)) {
      throw wrong(`has an entry without key, size or time: ${JSON.stringify(entry)?.slice(0, 200)}`);
    }
    if (!key.startsWith(request.root + request.prefix)) throw wrong(`has ${key}, which was not asked for`);
    const name = key.slice(request.root.length);
    if (last !== undefined && Buffer.compare(Buffer.from(last), Buffer.from(name)) >= 0) {
      throw wrong(`has ${name} behind ${last}: this store does not list in order of keys`);
    }
    last = name;
    objects.push({ key: name as ObjectKey, bytes, modifiedMs });
  }
  return { objects, more: fieldOf(result, "IsTruncated") === "true" };
}

function keyOf(value: unknown, encoded: boolean): string | null {
  if (typeof value !== "string") return null;
  if (!encoded) return value;
  try {
    return decodeURIComponent(value.replaceAll("+", "%20"));
  } catch {
    return null;
  }
}
