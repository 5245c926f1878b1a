import { doPasswordWork } from "./password-work.ts";
import type { Passwords } from "./runtime.ts";

/** bcrypt in this thread: for simulations and tests, with low costs. */
export const passwordsHere: Passwords = {
  atOnce: 1,
  hash: async (password, options) => doPasswordWork({ kind: "hash", password, ...options }) as string,
  verify: async (password, hash) => doPasswordWork({ kind: "verify", password, hash }) as boolean,
};
