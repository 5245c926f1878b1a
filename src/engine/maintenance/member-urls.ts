import { DbError } from "../../base/errors.ts";

/** More, or longer ones, are no addresses of one node. */
const URLS_MAX = 16;
const URL_LENGTH_MAX = 512;

/** The addresses of a member as etcd takes them: checked, sorted [E19]. */
export function memberUrls(urls: readonly unknown[]): string[] {
  if (urls.length === 0 || urls.length > URLS_MAX) throw new DbError("memberBadUrls");
  return urls.map(memberUrl).sort();
}

function memberUrl(text: unknown): string {
  if (typeof text !== "string" || text.length > URL_LENGTH_MAX) throw new DbError("memberBadUrls");
  const trimmed = text.trim();
  const match = /^(https?|unixs?):\/\/([^/?#\s]*)([^\s]*)$/.exec(trimmed);
  if (match === null) throw new DbError("memberBadUrls");
  const [, scheme, host, rest] = match;
  if (scheme!.startsWith("unix")) return trimmed;
  if (rest !== "" || !/^(\[[0-9A-Fa-f:.%]+\]|[^:@[\]]*):\d{0,5}$/.test(host!)) throw new DbError("memberBadUrls");
  return trimmed;
}
