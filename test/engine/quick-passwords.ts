import { defaultAuthSettings } from "../../src/engine/auth/auth-settings.ts";

/** Settings of an engine in which a password costs a millisecond. */
export const quickPasswords = { auth: { ...defaultAuthSettings, bcryptCost: 4 } };
