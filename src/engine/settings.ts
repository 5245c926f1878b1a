import { type AuthSettings, defaultAuthSettings } from "./auth/auth-settings.ts";
import { defaultLeaseSettings, type LeaseSettings } from "./lease/lessor.ts";

export interface EngineSettings {
  /** Of each of compare, success and failure of a transaction, and of what nested ones may add (B1.3). */
  readonly txnOpsMax: number;
  /** A call whose outcome is not durable by then is told so (B1.5). */
  readonly requestTimeoutMs: number;
  /** Calls not answered yet; past either bound they are refused (B1.4). */
  readonly callsMax: number;
  readonly bytesMax: number;
  readonly lease: LeaseSettings;
  /** Leases revoked a second at most once they are due (L6). */
  readonly expiriesPerSecond: number;
  readonly auth: AuthSettings;
  /** Bytes that live versions may take; null: no bound (M3). */
  readonly quotaBytes: number | null;
}

export const defaultEngineSettings: EngineSettings = {
  txnOpsMax: 128,
  requestTimeoutMs: 7000,
  callsMax: 10_000,
  bytesMax: 64 << 20,
  lease: defaultLeaseSettings,
  expiriesPerSecond: 15_000,
  auth: defaultAuthSettings,
  quotaBytes: null,
};
