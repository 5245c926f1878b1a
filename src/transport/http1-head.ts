import { isFieldValue, isLowerCaseToken } from "./header-field.ts";
import { HTTP1_FIELDS_MAX } from "./limits.ts";
import { readContentLength } from "./request-head.ts";

/**
 * A request that is not answered by a handler; the connection ends after it, as its framing can no longer be trusted.
 */
export class Http1Error extends Error {
  override readonly name = "Http1Error";
  /** 0: this is not HTTP at all, and gets no answer in HTTP. */
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export interface Http1Head {
  readonly method: string;
  readonly target: string;
  readonly fields: Map<string, string>;
  /** "chunked", or the length of the body. */
  readonly body: "chunked" | number;
  readonly keepAlive: boolean;
  readonly expectsContinue: boolean;
  /** HTTP/1.0: a client that must be told that the connection stays. */
  readonly old: boolean;
}

const bad = (message: string): Http1Error => new Http1Error(400, message);

/** Fields of which a second line could make two readers see two requests. */
const single = new Set(["host", "content-length", "transfer-encoding", "expect", "authorization", "content-type"]);

/**
 * Reads request line and fields (RFC 9112 §3, §5), `text` being what lies before the empty line. Whatever leaves a
 * doubt about where the request ends is refused (§6.3, §11.2): a bare CR or LF, folded lines, space before the colon,
 * two lengths, a length beside a transfer coding.
 */
export function readHttp1Head(text: string): Http1Head {
  const [first = "", ...lines] = text.split("\r\n");
  const [method = "", target = "", version = "", ...more] = first.split(" ");
  if (!/ HTTP\/\d\.\d$/.test(first)) throw new Http1Error(0, "not HTTP");
  if (more.length > 0 || !/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(method) || !/^[\x21-\x7e\x80-\xff]+$/.test(target)) {
    throw bad("malformed request line");
  }
  if (version !== "HTTP/1.1" && version !== "HTTP/1.0")
    throw new Http1Error(505, "only HTTP/1.1 and HTTP/2 are spoken");
  const fields = readFields(lines);
  if (version === "HTTP/1.1" && !fields.has("host")) throw bad("no Host");
  const connection = (fields.get("connection") ?? "")
    .toLowerCase()
    .split(",")
    .map((option) => option.trim());
  return {
    method,
    target,
    fields,
    body: bodyOf(fields, version),
    keepAlive: version === "HTTP/1.1" ? !connection.includes("close") : connection.includes("keep-alive"),
    expectsContinue: expectsContinue(fields, version),
    old: version === "HTTP/1.0",
  };
}

/** Also for the trailers of a chunked body. */
export function readFields(lines: readonly string[]): Map<string, string> {
  if (lines.length > HTTP1_FIELDS_MAX) throw new Http1Error(431, "too many header fields");
  const fields = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(0, colon)).toLowerCase();
    // A folded line begins with a space, and one before the colon is part of the name: neither is a token.
    if (!isLowerCaseToken(name)) throw bad("malformed header field");
    const value = line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, "");
    if (!isFieldValue(value)) throw bad("malformed header field");
    const before = fields.get(name);
    if (before !== undefined && single.has(name)) throw bad(`two ${name} fields`);
    fields.set(name, before === undefined ? value : `${before}${name === "cookie" ? "; " : ", "}${value}`);
  }
  return fields;
}

function bodyOf(fields: ReadonlyMap<string, string>, version: string): "chunked" | number {
  const coding = fields.get("transfer-encoding");
  const length = fields.get("content-length");
  if (coding !== undefined) {
    if (length !== undefined) throw bad("both Content-Length and Transfer-Encoding");
    if (version !== "HTTP/1.1") throw bad("Transfer-Encoding in HTTP/1.0");
    if (coding.toLowerCase() !== "chunked") throw new Http1Error(501, "only the chunked transfer coding is known");
    return "chunked";
  }
  if (length === undefined) return 0;
  const bytes = readContentLength(length);
  if (bytes === undefined) throw bad("malformed Content-Length");
  return bytes;
}

function expectsContinue(fields: ReadonlyMap<string, string>, version: string): boolean {
  const expect = fields.get("expect");
  if (expect === undefined || version !== "HTTP/1.1") return false;
  if (expect.toLowerCase() !== "100-continue") throw new Http1Error(417, "only 100-continue can be expected");
  return true;
}
