import { readFileSync } from "node:fs";
import { DbError, fileTrouble } from "../base/errors.ts";
import { type CheckpointSigner, signerOf } from "../storage/checkpoint-signature.ts";

/** What --signing-key names; null: nothing is signed. Read once, at the start. */
export function signerOfFlag(path: string): CheckpointSigner | null {
  if (path === "") return null;
  try {
    return signerOf(readFileSync(path, "utf8"));
  } catch (error) {
    throw new DbError("invalidArgument", `--signing-key: ${path}: ${fileTrouble(error)}`, { cause: error });
  }
}
