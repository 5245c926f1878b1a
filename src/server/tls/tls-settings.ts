import { cipherList } from "./cipher-suites.ts";
import type { TlsFileSettings } from "./tls-files.ts";

/** The part of the settings that TLS is made of. */
export interface TlsFlags {
  readonly "cert-file": string;
  readonly "key-file": string;
  readonly "client-cert-auth": boolean;
  readonly "trusted-ca-file": string;
  readonly "client-crl-file": string;
  readonly "client-cert-allowed-cn": readonly string[];
  readonly "client-cert-allowed-hostname": readonly string[];
  readonly "auto-tls": boolean;
  readonly "tls-min-version": "TLS1.2" | "TLS1.3";
  readonly "tls-max-version": "" | "TLS1.2" | "TLS1.3";
  readonly "cipher-suites": readonly string[];
}

/** What is wrong with the flags in themselves: a text that names the flag; null: nothing. */
export function problemOfTlsFlags(flags: TlsFlags): string | null {
  const hasCertificate = flags["cert-file"] !== "";
  if (hasCertificate !== (flags["key-file"] !== "")) return "--cert-file and --key-file: both or none must be given";
  if (flags["client-cert-allowed-cn"].length > 0 && flags["client-cert-allowed-hostname"].length > 0) {
    return "--client-cert-allowed-cn and --client-cert-allowed-hostname: only one of them may be given";
  }
  if (flags["tls-max-version"] === "TLS1.2" && flags["tls-min-version"] === "TLS1.3") {
    return "--tls-min-version: min version (TLS1.3) is greater than max version (TLS1.2)";
  }
  if (flags["tls-min-version"] === "TLS1.3" && flags["cipher-suites"].length > 0) {
    return "--cipher-suites: cipher suites cannot be configured when only TLS1.3 is enabled";
  }
  const rules = ["client-crl-file", "client-cert-allowed-cn", "client-cert-allowed-hostname"] as const;
  const given = rules.find((name) => flags[name].length > 0);
  if (given !== undefined && !requiresClientCertificate(flags)) {
    return `--${given}: needs --client-cert-auth or --trusted-ca-file, or no client certificate is asked for`;
  }
  try {
    cipherList(flags["cipher-suites"]);
  } catch (error) {
    return `--cipher-suites: ${(error as Error).message}`;
  }
  return null;
}

/** As in etcd, a file of authorities for clients asks for certificates that they have signed. */
const requiresClientCertificate = (flags: TlsFlags): boolean =>
  flags["client-cert-auth"] || flags["trusted-ca-file"] !== "";

/** The flags as TlsFiles takes them, with the pair that is used: the one given, or one that was made. */
export function tlsFileSettings(flags: TlsFlags, pair: { certificatePath: string; keyPath: string }): TlsFileSettings {
  const pathOf = (path: string): string | null => (path === "" ? null : path);
  return {
    ...pair,
    authorityPath: pathOf(flags["trusted-ca-file"]),
    revocationPath: pathOf(flags["client-crl-file"]),
    requiresClientCertificate: requiresClientCertificate(flags),
    allowedCommonNames: flags["client-cert-allowed-cn"],
    allowedHostnames: flags["client-cert-allowed-hostname"],
    minVersion: flags["tls-min-version"] === "TLS1.3" ? "TLSv1.3" : "TLSv1.2",
    maxVersion: flags["tls-max-version"] === "TLS1.2" ? "TLSv1.2" : "TLSv1.3",
    ciphers: cipherList(flags["cipher-suites"]),
  };
}
