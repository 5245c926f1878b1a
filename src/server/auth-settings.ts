import { type AuthSettings, defaultAuthSettings, SIMPLE_TOKENS_MAX } from "../engine/auth/auth-settings.ts";
import { jwtSettings, parseTokenChoice, type TokenChoice } from "../engine/auth/token-settings.ts";
import type { Disk } from "../runtime/runtime.ts";
import { etcd } from "./setting.ts";
import { durationKind, integerKind, type Kind } from "./setting-kinds.ts";

const YEAR_MS = 366 * 86_400_000;
const ttl = durationKind({ min: 1, max: 100 * YEAR_MS });

const tokenKind: Kind<TokenChoice> = {
  name: "text",
  parse: (text) => parseTokenChoice(text, (duration) => ttl.parse(duration)),
};

/** Settings of authentication. */
export const authSettings = {
  "auth-token": etcd(
    tokenKind,
    "simple",
    'tokens of those who log in: simple, jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=5m, or "": none',
  ),
  "auth-token-ttl": etcd(
    integerKind({ min: 0, max: 100_000_000 }),
    "300",
    "seconds for which a simple token lives without use",
  ),
  "bcrypt-cost": etcd(integerKind({ min: 4, max: 31 }), "10", "cost of hashing a password; each one more doubles it"),
} as const;

interface AuthFlags {
  readonly "auth-token": TokenChoice;
  readonly "auth-token-ttl": number;
  readonly "bcrypt-cost": number;
  readonly "client-cert-auth": boolean;
}

const KEY_BYTES_MAX = 1 << 20;

/** Reads the keys. Throws an Error that says what is wrong with --auth-token. */
export async function engineAuthSettings(flags: AuthFlags, disk: Disk): Promise<AuthSettings> {
  return {
    ...defaultAuthSettings,
    bcryptCost: flags["bcrypt-cost"],
    namesByCertificate: flags["client-cert-auth"],
    tokens: await tokenSettings(flags, disk),
  };
}

async function tokenSettings(flags: AuthFlags, disk: Disk): Promise<AuthSettings["tokens"]> {
  const choice = flags["auth-token"];
  if (choice.kind === "none") return choice;
  if (choice.kind === "simple") {
    // 0 is etcd's way to say the default.
    const ttlSeconds = flags["auth-token-ttl"] || 300;
    return { kind: "simple", ttlMs: ttlSeconds * 1000, tokensMax: SIMPLE_TOKENS_MAX };
  }
  const { publicKey, privateKey } = choice.files;
  const keys = { publicKey: await keyFile(publicKey, disk), privateKey: await keyFile(privateKey, disk) };
  return { kind: "jwt", jwt: jwtSettings(choice, keys) };
}

async function keyFile(path: string | null, disk: Disk): Promise<Buffer | null> {
  if (path === null) return null;
  const bytes = await disk.readFile(path, KEY_BYTES_MAX);
  if (bytes === null) throw new Error(`${path}: no such file`);
  return bytes;
}
