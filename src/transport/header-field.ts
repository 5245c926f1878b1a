/**
 * What a field means to a request; known when the field is made, so that a request made of seen fields costs a switch.
 */
export const FieldKind = {
  other: 0,
  method: 1,
  scheme: 2,
  path: 3,
  authority: 4,
  contentType: 5,
  contentLength: 6,
  te: 7,
  grpcTimeout: 8,
  grpcEncoding: 9,
  host: 10,
  /** Not allowed in a request: makes it malformed (RFC 9113 §8.2, §8.3). */
  malformed: 11,
} as const;

const kinds = new Map<string, number>([
  [":method", FieldKind.method],
  [":scheme", FieldKind.scheme],
  [":path", FieldKind.path],
  [":authority", FieldKind.authority],
  ["content-type", FieldKind.contentType],
  ["content-length", FieldKind.contentLength],
  ["te", FieldKind.te],
  ["grpc-timeout", FieldKind.grpcTimeout],
  ["grpc-encoding", FieldKind.grpcEncoding],
  ["host", FieldKind.host],
  // Connection-specific fields (RFC 9113 §8.2.2).
  ["connection", FieldKind.malformed],
  ["keep-alive", FieldKind.malformed],
  ["proxy-connection", FieldKind.malformed],
  ["transfer-encoding", FieldKind.malformed],
  ["upgrade", FieldKind.malformed],
]);

/** One field line, immutable; names and values are latin1. */
export class HeaderField {
  readonly name: string;
  readonly value: string;
  readonly kind: number;
  /** Its share of a header list or table (RFC 7541 §4.1). */
  readonly bytes: number;

  constructor(name: string, value: string) {
    this.name = name;
    this.value = value;
    this.bytes = name.length + value.length + 32;
    this.kind = kindOf(name, value);
  }
}

function kindOf(name: string, value: string): number {
  if (!isFieldValue(value)) return FieldKind.malformed;
  const kind = kinds.get(name);
  if (kind !== undefined) return kind;
  return isLowerCaseToken(name) ? FieldKind.other : FieldKind.malformed;
}

/** RFC 9113 §8.2.1: no NUL, LF or CR anywhere, no space or tab at either end. */
export function isFieldValue(value: string): boolean {
  const length = value.length;
  if (length === 0) return true;
  for (let i = 0; i < length; i++) {
    const code = value.charCodeAt(i);
    if (code < 0x20 && (code === 0 || code === 0x0a || code === 0x0d)) return false;
  }
  return !isBlank(value.charCodeAt(0)) && !isBlank(value.charCodeAt(length - 1));
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09;

/** Characters of a token (RFC 9110 §5.6.2) but for capitals; also what an HTTP/1.1 name is after lower-casing. */
const tokenCharacters = makeTokenCharacters();

function makeTokenCharacters(): Uint8Array {
  const allowed = new Uint8Array(256);
  for (const character of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") allowed[character.charCodeAt(0)] = 1;
  return allowed;
}

export function isLowerCaseToken(name: string): boolean {
  for (let i = 0; i < name.length; i++) if (tokenCharacters[name.charCodeAt(i)] !== 1) return false;
  return name.length > 0;
}
