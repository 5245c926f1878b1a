import { createPrivateKey, createPublicKey, createSecretKey, type KeyObject } from "node:crypto";
import { type JwtMethod, type JwtSettings, jwtMethods, publicHalf } from "./jwt.ts";

/** What `--auth-token` asks for; keys are named by their files, which are read later. */
export type TokenChoice =
  | { readonly kind: "simple" }
  | { readonly kind: "none" }
  | { readonly kind: "jwt"; readonly method: JwtMethod; readonly files: KeyFiles; readonly ttlMs: number };

export interface KeyFiles {
  readonly publicKey: string | null;
  readonly privateKey: string | null;
}

const JWT_TTL_MS = 300_000;

/** "simple", "", "jwt,pub-key=FILE,priv-key=FILE,sign-method=RS256,ttl=10m". Throws an Error that says why not. */
export function parseTokenChoice(text: string, parseDuration: (text: string) => number): TokenChoice {
  const [kind, ...pairs] = text.split(",");
  const options = new Map<string, string>();
  for (const pair of pairs) {
    const [name, value, ...rest] = pair.split("=");
    if (value === undefined || rest.length > 0) throw new Error(`expected NAME=VALUE, not "${pair}"`);
    if (options.has(name!)) throw new Error(`"${name}" is given twice`);
    options.set(name!, value);
  }
  if (kind === "jwt") return jwtChoice(options, parseDuration);
  if (kind !== "simple" && kind !== "") throw new Error(`expected simple or jwt,…, not "${kind}"`);
  return { kind: kind === "" ? "none" : "simple" };
}

const jwtOptions = ["sign-method", "pub-key", "priv-key", "ttl"];

function jwtChoice(options: ReadonlyMap<string, string>, parseDuration: (text: string) => number): TokenChoice {
  for (const name of options.keys()) if (!jwtOptions.includes(name)) throw new Error(`jwt has no option "${name}"`);
  const method = options.get("sign-method") ?? "";
  if (!Object.hasOwn(jwtMethods, method)) {
    throw new Error(`sign-method: expected ${Object.keys(jwtMethods).join(", ")}, not "${method}"`);
  }
  const files = { publicKey: options.get("pub-key") || null, privateKey: options.get("priv-key") || null };
  if (files.publicKey === null && files.privateKey === null) throw new Error("jwt needs pub-key or priv-key");
  const ttl = options.get("ttl") ?? "";
  const ttlMs = ttl === "" ? JWT_TTL_MS : parseDuration(ttl);
  if (!(ttlMs > 0)) throw new Error(`ttl: expected a duration over 0 such as "5m", not "${ttl}"`);
  return { kind: "jwt", method: method as JwtMethod, files, ttlMs };
}

/** Checks what the files hold against the method, and the two halves against each other. Throws an Error. */
export function jwtSettings(
  { method, ttlMs }: { method: JwtMethod; ttlMs: number },
  keys: { publicKey: Buffer | null; privateKey: Buffer | null },
): JwtSettings {
  const { family } = jwtMethods[method];
  if (family === "hmac") {
    if (keys.privateKey === null || keys.privateKey.length === 0)
      throw new Error(`${method} needs a priv-key that is not empty`);
    const secret = createSecretKey(keys.privateKey);
    return { method, ttlMs, signWith: secret, verifyWith: secret };
  }
  const signWith = keys.privateKey === null ? null : fitting(method, createPrivateKey(keys.privateKey));
  const given = keys.publicKey === null ? null : fitting(method, createPublicKey(keys.publicKey));
  const own = signWith === null ? null : publicHalf(signWith);
  if (own !== null && given !== null && !own.equals(given)) throw new Error("pub-key and priv-key do not fit together");
  const verifyWith = own ?? given;
  if (verifyWith === null) throw new Error(`${method} needs pub-key or priv-key`);
  return { method, ttlMs, signWith, verifyWith };
}

const curves: Readonly<Record<number, string>> = { 256: "prime256v1", 384: "secp384r1", 512: "secp521r1" };

function fitting(method: JwtMethod, key: KeyObject): KeyObject {
  const { family, bits } = jwtMethods[method];
  const type = key.asymmetricKeyType;
  const fits = family === "rsa-pss" ? type === "rsa" || type === "rsa-pss" : type === family;
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (!fits || (family === "ec" && curve !== curves[bits])) {
    throw new Error(`${method} does not go with a ${key.type} key of type ${type}${curve ? ` (${curve})` : ""}`);
  }
  return key;
}
