import { constants, createHmac, createPublicKey, type KeyObject, sign, timingSafeEqual, verify } from "node:crypto";
import { DbError } from "../../base/errors.ts";
import type { Caller } from "./auth-state.ts";
import type { TokenProvider } from "./tokens.ts";

/**
 * JSON web tokens (RFC 7519, signatures of RFC 7518 and 8037) as etcd gives them: claims username, revision (of the
 * auth store) and exp. Valid on every node that has the key, and until they expire: a user that is deleted keeps its
 * token, which then permits nothing.
 *
 * All branches of a server sign with one key, and each has its own users: a token that a server of ours has given names
 * the branch, by its cluster id, and is none on any other. Else who is root of one branch could make a user of any name
 * there, and be that user everywhere. A token of somebody else's who has the key names no branch, and is taken by all.
 */
export interface JwtSettings {
  readonly method: JwtMethod;
  /** PEM keys of RS, PS, ES, EdDSA; of HS the secret. Null: tokens of others are verified, none are given. */
  readonly signWith: KeyObject | null;
  readonly verifyWith: KeyObject;
  readonly ttlMs: number;
}

type Bits = 256 | 384 | 512;
export const jwtMethods = {
  RS256: { family: "rsa", bits: 256 },
  RS384: { family: "rsa", bits: 384 },
  RS512: { family: "rsa", bits: 512 },
  PS256: { family: "rsa-pss", bits: 256 },
  PS384: { family: "rsa-pss", bits: 384 },
  PS512: { family: "rsa-pss", bits: 512 },
  ES256: { family: "ec", bits: 256 },
  ES384: { family: "ec", bits: 384 },
  ES512: { family: "ec", bits: 512 },
  EdDSA: { family: "ed25519", bits: 512 },
  HS256: { family: "hmac", bits: 256 },
  HS384: { family: "hmac", bits: 384 },
  HS512: { family: "hmac", bits: 512 },
} as const satisfies Record<string, { family: string; bits: Bits }>;
export type JwtMethod = keyof typeof jwtMethods;

/** A longer one is not looked at: ours have a few hundred characters, and all is decoded before any is believed. */
const TOKEN_LENGTH_MAX = 16 * 1024;
/** Verified tokens that are remembered: to verify one takes about 0.1 ms. */
const VERIFIED_MAX = 10_000;

const BRANCH_CLAIM = "t4.cluster";

/** Where tokens are given and shown. */
export interface JwtSurroundings {
  readonly wallMs: () => number;
  readonly clusterId: bigint;
}

interface Verified {
  readonly caller: Caller;
  /** Seconds since 1970; null: never. */
  readonly expires: number | null;
  readonly notBefore: number | null;
}

export class JwtTokens implements TokenProvider {
  readonly #settings: JwtSettings;
  readonly #wallMs: () => number;
  readonly #branch: string;
  readonly #verified = new Map<string, Verified>();

  constructor(settings: JwtSettings, { wallMs, clusterId }: JwtSurroundings) {
    this.#settings = settings;
    this.#wallMs = wallMs;
    this.#branch = clusterId.toString(16);
  }

  get size(): number {
    return this.#verified.size;
  }

  callerOf(token: string): Caller | null {
    const known = this.#verified.get(token);
    const verified = known ?? this.#verify(token);
    if (verified === null) return null;
    const seconds = this.#wallMs() / 1000;
    if (verified.expires !== null && seconds >= verified.expires) {
      this.#verified.delete(token);
      return null;
    }
    if (verified.notBefore !== null && seconds < verified.notBefore) return null;
    if (known === undefined) this.#remember(token, verified);
    return verified.caller;
  }

  #remember(token: string, verified: Verified): void {
    if (this.#verified.size >= VERIFIED_MAX) {
      const [first] = this.#verified.keys();
      this.#verified.delete(first!);
    }
    this.#verified.set(token, verified);
  }

  #verify(token: string): Verified | null {
    if (token.length > TOKEN_LENGTH_MAX) return null;
    const parts = token.split(".");
    if (parts.length !== 3 || !parts.every(isBase64Url)) return null;
    const [header, payload, signature] = parts as [string, string, string];
    if (fieldOf(json(header), "alg") !== this.#settings.method) return null;
    const signed = Buffer.from(`${header}.${payload}`, "latin1");
    if (!isSignedBy(this.#settings, signed, Buffer.from(signature, "base64url"))) return null;
    const claims = json(payload);
    const branch = fieldOf(claims, BRANCH_CLAIM);
    return branch === undefined || branch === this.#branch ? claimsOf(claims) : null;
  }

  issue(user: string, { revision }: { revision: number }): string {
    const { method, signWith, ttlMs } = this.#settings;
    if (signWith === null) throw new DbError("tokenNotSigned");
    const header = base64Url(JSON.stringify({ alg: method, typ: "JWT" }));
    const exp = Math.floor((this.#wallMs() + ttlMs) / 1000);
    const username = Buffer.from(user, "latin1").toString("utf8");
    const payload = base64Url(JSON.stringify({ exp, revision, username, [BRANCH_CLAIM]: this.#branch }));
    const signature = signatureOf(method, Buffer.from(`${header}.${payload}`, "latin1"), signWith);
    return `${header}.${payload}.${signature.toString("base64url")}`;
  }

  /** They cannot be called back: what they permit is looked up, not written in them. */
  end(_user: string | null): void {}
}

/** Numbers and texts as etcd takes them: both must be there, with their types; the times may be left out. */
function claimsOf(claims: unknown): Verified | null {
  const name = fieldOf(claims, "username");
  const revision = fieldOf(claims, "revision");
  const times = [fieldOf(claims, "exp"), fieldOf(claims, "nbf")].map((time) => time ?? null);
  if (typeof name !== "string" || typeof revision !== "number") return null;
  if (times.some((time) => time !== null && typeof time !== "number")) return null;
  const [expires, notBefore] = times as (number | null)[];
  const caller = { name: Buffer.from(name, "utf8").latin1Slice(), revision: Math.trunc(revision) };
  return { caller, expires: expires!, notBefore: notBefore! };
}

const isBase64Url = (text: string): boolean => /^[\w-]+$/.test(text);
const base64Url = (text: string): string => Buffer.from(text, "utf8").toString("base64url");

function json(part: string): unknown {
  try {
    return JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
  } catch {
    // Not JSON: a foreign or broken token, which is refused like any other.
    return null;
  }
}

const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;

function signatureOf(method: JwtMethod, data: Buffer, key: KeyObject): Buffer {
  const { family, bits } = jwtMethods[method];
  if (family === "hmac") return createHmac(`sha${bits}`, key).update(data).digest();
  return sign(family === "ed25519" ? null : `sha${bits}`, data, { key, ...formOf(family) });
}

function isSignedBy({ method, verifyWith: key }: JwtSettings, data: Buffer, signature: Buffer): boolean {
  const { family, bits } = jwtMethods[method];
  if (family === "hmac") {
    const expected = signatureOf(method, data, key);
    return expected.length === signature.length && timingSafeEqual(expected, signature);
  }
  const salt = family === "rsa-pss" ? { saltLength: constants.RSA_PSS_SALTLEN_AUTO } : {};
  return verify(family === "ed25519" ? null : `sha${bits}`, data, { key, ...formOf(family), ...salt }, signature);
}

function formOf(family: string): object {
  if (family === "rsa-pss") {
    return { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
  }
  return family === "ec" ? { dsaEncoding: "ieee-p1363" as const } : {};
}

/** The other half of a private key. */
export const publicHalf = (key: KeyObject): KeyObject => (key.type === "private" ? createPublicKey(key) : key);
