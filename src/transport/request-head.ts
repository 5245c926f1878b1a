import { readGrpcTimeout } from "../base/grpc-timeout.ts";
import { FieldKind, type HeaderField } from "./header-field.ts";
import type { Route } from "./router.ts";

/**
 * The header list of one request, checked and taken apart. Immutable but for `shared`: requests of equal header blocks
 * share one.
 */
export interface RequestHead {
  readonly fields: readonly HeaderField[];
  readonly method: string;
  readonly scheme: string;
  readonly path: string;
  readonly authority: string;
  readonly contentType: string;
  /** undefined: the field was not sent. */
  readonly contentLength: number | undefined;
  readonly grpcEncoding: string;
  /** undefined: no grpc-timeout. */
  readonly timeoutMs: number | undefined;
  /** grpc-timeout was sent, and is none. */
  readonly timeoutMalformed: boolean;
  readonly route: Route;
  /** As HPACK counts it (RFC 7541 §4.1). */
  readonly listBytes: number;
  /** See Call. */
  readonly shared: { known: unknown };
}

/** What is known of a head before its route is. */
export type UnroutedHead = Omit<RequestHead, "route" | "listBytes" | "shared">;

/** The reason for which the list makes no request (RFC 9113 §8.1.1: a stream error), or the request's head. */
export function readRequestHead(fields: readonly HeaderField[]): UnroutedHead | string {
  let method: string | undefined;
  let scheme: string | undefined;
  let path: string | undefined;
  let authority: string | undefined;
  let host: string | undefined;
  let contentType = "";
  let contentLength: number | undefined;
  let grpcEncoding = "";
  let timeoutMs: number | undefined;
  let timeoutMalformed = false;
  let regular = false;
  for (const field of fields) {
    const kind = field.kind;
    if (kind >= FieldKind.method && kind <= FieldKind.authority) {
      if (regular) return "pseudo-header field after a regular one";
    } else regular = true;
    switch (kind) {
      case FieldKind.other:
        break;
      case FieldKind.method:
        if (method !== undefined) return "two :method fields";
        method = field.value;
        break;
      case FieldKind.scheme:
        if (scheme !== undefined) return "two :scheme fields";
        scheme = field.value;
        break;
      case FieldKind.path:
        if (path !== undefined) return "two :path fields";
        path = field.value;
        break;
      case FieldKind.authority:
        if (authority !== undefined) return "two :authority fields";
        authority = field.value;
        break;
      case FieldKind.host:
        if (host !== undefined) return "two host fields";
        host = field.value;
        break;
      case FieldKind.contentType:
        contentType = field.value;
        break;
      case FieldKind.contentLength: {
        const length = readContentLength(field.value);
        if (length === undefined || (contentLength !== undefined && contentLength !== length)) {
          return "content-length is not one number";
        }
        contentLength = length;
        break;
      }
      case FieldKind.te:
        if (field.value !== "trailers") return "te is not trailers";
        break;
      case FieldKind.grpcTimeout:
        timeoutMs = readGrpcTimeout(field.value);
        timeoutMalformed = timeoutMs === undefined;
        break;
      case FieldKind.grpcEncoding:
        grpcEncoding = field.value;
        break;
      default:
        return "a field that no request may have";
    }
  }
  if (method === undefined || method === "") return "no :method";
  if (method === "CONNECT") {
    if (scheme !== undefined || path !== undefined) return "CONNECT with :scheme or :path";
  } else if (scheme === undefined || scheme === "" || path === undefined || path === "") return "no :scheme or :path";
  return {
    fields,
    method,
    scheme: scheme ?? "",
    path: path ?? "",
    authority: authority ?? host ?? "",
    contentType,
    contentLength,
    grpcEncoding,
    timeoutMs,
    timeoutMalformed,
  };
}

/** Digits only, at most fifteen of them. */
export function readContentLength(text: string): number | undefined {
  if (text.length === 0 || text.length > 15) return undefined;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return value;
}

/** Trailers of a request: no pseudo-header field, nothing malformed. */
export const areTrailers = (fields: readonly HeaderField[]): boolean =>
  fields.every((field) => field.kind !== FieldKind.malformed && !field.name.startsWith(":"));

/** The fields as a map, lower-case names; several lines of one name are joined as RFC 9110 §5.3 has it. */
export function fieldMap(head: RequestHead): Map<string, string> {
  const map = new Map<string, string>();
  for (const { name, value } of head.fields) {
    if (name.startsWith(":")) continue;
    const before = map.get(name);
    map.set(name, before === undefined ? value : `${before}${name === "cookie" ? "; " : ", "}${value}`);
  }
  // Where both were sent, :authority is the one that counts (RFC 9113 §8.3.1): one name for all who ask for it.
  if (head.authority !== "") map.set("host", head.authority);
  return map;
}
