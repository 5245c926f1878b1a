import { HeaderField } from "./header-field.ts";

/** RFC 7541 appendix A, in order; index 1 is the first. A name alone has the empty value. */
const entries = [
  ":authority",
  ":method GET",
  ":method POST",
  ":path /",
  ":path /index.html",
  ":scheme http",
  ":scheme https",
  ":status 200",
  ":status 204",
  ":status 206",
  ":status 304",
  ":status 400",
  ":status 404",
  ":status 500",
  "accept-charset",
  "accept-encoding gzip, deflate",
  "accept-language",
  "accept-ranges",
  "accept",
  "access-control-allow-origin",
  "age",
  "allow",
  "authorization",
  "cache-control",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-length",
  "content-location",
  "content-range",
  "content-type",
  "cookie",
  "date",
  "etag",
  "expect",
  "expires",
  "from",
  "host",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "last-modified",
  "link",
  "location",
  "max-forwards",
  "proxy-authenticate",
  "proxy-authorization",
  "range",
  "referer",
  "refresh",
  "retry-after",
  "server",
  "set-cookie",
  "strict-transport-security",
  "transfer-encoding",
  "user-agent",
  "vary",
  "via",
  "www-authenticate",
];

export const STATIC_FIELDS: readonly HeaderField[] = entries.map((entry) => {
  const space = entry.indexOf(" ");
  return space < 0 ? new HeaderField(entry, "") : new HeaderField(entry.slice(0, space), entry.slice(space + 1));
});

/** Index of the first entry of a name. */
export const STATIC_INDEX: ReadonlyMap<string, number> = new Map(
  STATIC_FIELDS.map((field, i): [string, number] => [field.name, i + 1]).reverse(),
);

/** Index of a `:status` that the table has with its value. */
export const STATIC_STATUS: ReadonlyMap<number, number> = new Map(
  STATIC_FIELDS.flatMap((field, i): [number, number][] =>
    field.name === ":status" ? [[Number(field.value), i + 1]] : [],
  ),
);
