import type { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { commonNameOf } from "../../runtime/common-name.ts";
import { serialText } from "./revocations.ts";

/** What a client's certificate must be, beyond signed by an authority that is trusted. Empty: anything. */
export interface ClientRules {
  readonly allowedCommonNames: readonly string[];
  /** One of its alternative names must cover one of these. The common name does not count. */
  readonly allowedHostnames: readonly string[];
  readonly revokedSerials: ReadonlySet<string>;
}

/** Null: let in. `chain` begins with the client's certificate; each of it may be revoked. */
export function refusalOfClient(rules: ClientRules, chain: readonly X509Certificate[]): string | null {
  const [client] = chain;
  if (client === undefined) return "no certificate";
  const revoked = chain.find(({ serialNumber }) => rules.revokedSerials.has(serialText(serialNumber)));
  if (revoked !== undefined) return `certificate revoked: serial ${serialText(revoked.serialNumber)}`;
  const { allowedCommonNames, allowedHostnames } = rules;
  if (allowedCommonNames.length === 0 && allowedHostnames.length === 0) return null;
  if (allowedCommonNames.includes(commonNameOf(client))) return null;
  if (allowedHostnames.some((host) => covers(client, host))) return null;
  return "client certificate authentication failed: neither its common name nor its alternative names are allowed";
}

const covers = (certificate: X509Certificate, host: string): boolean =>
  isIP(host) === 0
    ? certificate.checkHost(host, { subject: "never" }) !== undefined
    : certificate.checkIP(host) !== undefined;
