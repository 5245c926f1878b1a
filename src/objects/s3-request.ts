import type { GetOptions } from "./objects.ts";
import type { HttpAnswer } from "./s3-http.ts";
import type { S3StoreSettings } from "./store-url.ts";

/** One request of S3's protocol, not signed yet. */
export interface S3Call {
  operation: "get" | "put" | "list" | "delete";
  method: "GET" | "PUT" | "DELETE";
  /** Escaped. */
  path: string;
  query: Record<string, string>;
  headers: Record<string, string>;
  body: Uint8Array | null;
  answerBytesMax: number;
}

/** What cannot be asked for, an empty range, is asked for as one byte, and cut. */
export function rangeHeader(range: NonNullable<GetOptions["range"]>): string {
  if ("suffix" in range) return `bytes=-${Math.max(1, range.suffix)}`;
  return `bytes=${range.start}-${Math.max(range.start, range.end - 1)}`;
}

/**
 * Size of the whole object from Content-Range, "bytes 0-9/100", or with a star for the bytes behind the end; null if it
 * is not said.
 */
export function totalOf(answer: HttpAnswer): number | null {
  const total = /^bytes [^/]*\/([0-9]{1,15})$/.exec(answer.header("content-range"))?.[1];
  return total === undefined ? null : Number(total);
}

/** Escapes all but the characters that signatures leave as they are, and slashes. */
export const pathOf = (path: string): string =>
  /^[A-Za-z0-9/_.~-]*$/.test(path) ? path : path.split("/").map(escaped).join("/");

export function queryOf(query: Record<string, string>): string {
  const fields = Object.entries(query).map(([name, value]) => `${escaped(name)}=${escaped(value)}`);
  return fields.length === 0 ? "" : `?${fields.join("&")}`;
}

const escaped = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

/** What every written object is to be given. */
export function writeHeaders(settings: Pick<S3StoreSettings, "encryption" | "storageClass">): Record<string, string> {
  const { encryption, storageClass } = settings;
  const headers: Record<string, string> = {};
  if (storageClass !== null) headers["x-amz-storage-class"] = storageClass;
  if (encryption) headers["x-amz-server-side-encryption"] = encryption.algorithm;
  if (encryption?.algorithm === "aws:kms" && encryption.keyId !== null) {
    headers["x-amz-server-side-encryption-aws-kms-key-id"] = encryption.keyId;
  }
  return headers;
}
