import { hashSync, verifySync } from "@node-rs/bcrypt";

/** One password's work, as it goes to a worker thread. */
export type PasswordWork =
  | { readonly kind: "hash"; readonly password: Uint8Array; readonly cost: number; readonly salt: Uint8Array }
  | { readonly kind: "verify"; readonly password: Uint8Array; readonly hash: string };

/** Does it here and now. The form is "2a", as Go's bcrypt writes it; what is no bcrypt hash fits no password. */
export function doPasswordWork(work: PasswordWork): string | boolean {
  if (work.kind === "verify") return verifySync(work.password, work.hash);
  const { password, cost, salt } = work;
  return hashSync(password, { cost, salt, version: "2a", rejectLongPasswords: true });
}
