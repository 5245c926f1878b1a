import { hashSync, verifySync } from "@node-rs/bcrypt";
import { assert } from "../base/assert.ts";

/** One password's work, as it goes to a worker thread. */
export type PasswordWork =
  | { readonly kind: "hash"; readonly password: Uint8Array; readonly cost: number; readonly salt: Uint8Array }
  | { readonly kind: "verify"; readonly password: Uint8Array; readonly hash: string };

/** Longer passwords would be cut in silence: who asks refuses them first. */
const PASSWORD_BYTES_MAX = 72;

/**
 * Does it here and now. The form is "2a", as Go's bcrypt writes it ("2b" is the same for passwords of this length);
 * what is no bcrypt hash fits no password.
 */
export function doPasswordWork(work: PasswordWork): string | boolean {
  if (work.kind === "verify") return verifySync(work.password, work.hash);
  const { password, cost, salt } = work;
  assert(password.length <= PASSWORD_BYTES_MAX, "a password to be hashed has 72 bytes at most");
  return hashSync(password, cost, salt).replace(/^\$2[by]\$/, "$2a$");
}
