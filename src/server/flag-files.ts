import { messageOf } from "../base/errors.ts";
import type { AuthSettings } from "../engine/auth/auth-settings.ts";
import type { Disk } from "../runtime/runtime.ts";
import type { CheckpointSigner } from "../storage/checkpoint-signature.ts";
import { engineAuthSettings } from "./auth-settings.ts";
import type { RunSettings } from "./settings.ts";
import { signerOfFlag } from "./signing-key.ts";

/** What files that flags name hold. */
export interface FlagFiles {
  readonly auth: AuthSettings;
  readonly signer: CheckpointSigner | null;
}

/** A flag's file cannot be read, or does not hold what it should: as wrong as a bad value. The message is one line. */
export class BadFlagFile extends Error {
  override readonly name = "BadFlagFile";
}

/** Read before a port is bound or anything is written. Throws BadFlagFile. */
export async function readFlagFiles(settings: RunSettings, disk: Disk): Promise<FlagFiles> {
  const auth = await named("--auth-token", () => engineAuthSettings(settings, disk));
  const signer = await named("--signing-key", () => signerOfFlag(settings["signing-key"]));
  return { auth, signer };
}

async function named<T>(flag: string, read: () => T | Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const why = messageOf(error).replaceAll(/\s*\n\s*/g, " ");
    throw new BadFlagFile(why.startsWith(flag) ? why : `${flag}: ${why}`, { cause: error });
  }
}
