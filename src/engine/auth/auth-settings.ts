import type { JwtSettings } from "./jwt.ts";

export interface AuthSettings {
  readonly tokens: TokenSettings;
  /** Of new passwords (`--bcrypt-cost`): each one more takes twice the time. */
  readonly bcryptCost: number;
  /** Logins and new passwords that may wait for their turn. */
  readonly passwordsWaitingMax: number;
  /** A verified client certificate's common name is a user's name. */
  readonly namesByCertificate: boolean;
}

export type TokenSettings =
  | { readonly kind: "simple"; readonly ttlMs: number; readonly tokensMax: number }
  | { readonly kind: "jwt"; readonly jwt: JwtSettings }
  | { readonly kind: "none" };

export const SIMPLE_TOKENS_MAX = 100_000;

export const defaultAuthSettings: AuthSettings = {
  tokens: { kind: "simple", ttlMs: 300_000, tokensMax: SIMPLE_TOKENS_MAX },
  bcryptCost: 10,
  passwordsWaitingMax: 1024,
  namesByCertificate: false,
};
