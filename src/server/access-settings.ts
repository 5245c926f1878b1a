import { readRetention } from "./auto-compaction.ts";
import { etcd, ours } from "./setting.ts";
import {
  type BranchUrl,
  booleanKind,
  type ClientUrl,
  integerKind,
  isSecure,
  oneOf,
  optionalUrlsKind,
  textKind,
  textsKind,
} from "./setting-kinds.ts";
import { problemOfTlsFlags, type TlsFlags } from "./tls/tls-settings.ts";

/** Settings of how clients reach the server over HTTP and TLS, and of what it does by itself. */
export const accessSettings = {
  "auto-compaction-mode": etcd(oneOf("periodic", "revision"), "periodic", "what --auto-compaction-retention counts"),
  "auto-compaction-retention": etcd(
    textKind,
    "0",
    "history that is kept: a duration (a bare number is hours) or a number of revisions; 0: all",
  ),
  "log-outputs": etcd(textsKind, "default", "where the log goes: stderr (default), stdout, files; comma-separated"),
  "listen-client-http-urls": etcd(optionalUrlsKind, "", "addresses for HTTP alone; the others then serve gRPC alone"),
  "listen-metrics-urls": etcd(optionalUrlsKind, "", "further addresses for /metrics, /health, /livez and /readyz"),
  "cert-file": etcd(textKind, "", "the server's certificate, PEM"),
  "key-file": etcd(textKind, "", "its key"),
  "client-cert-auth": etcd(
    booleanKind,
    "false",
    "require clients' certificates, signed by an authority that is trusted",
  ),
  "trusted-ca-file": etcd(textKind, "", "authorities whose clients are let in, PEM; requires clients' certificates"),
  "client-crl-file": etcd(textKind, "", "clients' certificates that were taken back"),
  "client-cert-allowed-cn": ours(textsKind, "", "common names of clients that are let in (default: all)"),
  "client-cert-allowed-hostname": etcd(textsKind, "", "alternative names of clients that are let in (default: all)"),
  "auto-tls": etcd(booleanKind, "false", "serve TLS with a certificate that the server makes itself"),
  "self-signed-cert-validity": etcd(integerKind({ min: 1, max: 100 }), "1", "years for which that one holds"),
  "tls-min-version": etcd(oneOf("TLS1.2", "TLS1.3"), "TLS1.2", "oldest version of TLS"),
  "tls-max-version": etcd(oneOf("", "TLS1.2", "TLS1.3"), "", "newest version of TLS (default: TLS1.3)"),
  "cipher-suites": etcd(textsKind, "", "cipher suites of TLS 1.2, by IANA's names"),
  cors: etcd(textsKind, "*", "origins whose pages may call the JSON gateway; *: all"),
  "host-whitelist": etcd(textsKind, "*", "names by which plain HTTP requests may call this server; *: any"),
  "enable-grpc-gateway": etcd(booleanKind, "true", "serve the API as JSON over HTTP, too"),
  "enable-pprof": etcd(booleanKind, "false", "serve profiles of the process under /debug/pprof/"),
  metrics: etcd(oneOf("basic", "extensive"), "basic", "extensive: histograms of how long calls took, too"),
} as const;

interface AccessFlags extends TlsFlags {
  readonly "auto-compaction-mode": "periodic" | "revision";
  readonly "auto-compaction-retention": string;
  readonly "listen-client-urls": readonly ClientUrl[];
  readonly "listen-client-http-urls": readonly ClientUrl[];
  readonly "listen-metrics-urls": readonly ClientUrl[];
  readonly "listen-branch": readonly BranchUrl[];
}

/** What does not fit together: a text that names the flag. */
export function problemOfAccess(flags: AccessFlags): string | null {
  const problem = problemOfTlsFlags(flags) ?? problemOfRetention(flags);
  if (problem !== null) return problem;
  if (flags["cert-file"] !== "" || flags["auto-tls"]) return null;
  for (const name of ["listen-client-urls", "listen-client-http-urls", "listen-metrics-urls"] as const) {
    const secure = flags[name].find(isSecure);
    if (secure !== undefined) {
      const lacks = `${name === "listen-metrics-urls" ? "client " : ""}TLS key/cert (--cert-file, --key-file)`;
      const where = name === "listen-metrics-urls" ? " for metrics secure url" : "";
      return `--${name}: ${secure.text}: ${lacks} must be provided${where}, or --auto-tls`;
    }
  }
  const secure = flags["listen-branch"].find(({ url }) => isSecure(url))?.url;
  if (secure === undefined) return null;
  return `--listen-branch: ${secure.text}: TLS key/cert (--cert-file, --key-file) must be provided, or --auto-tls`;
}

function problemOfRetention(flags: AccessFlags): string | null {
  try {
    readRetention(flags["auto-compaction-mode"], flags["auto-compaction-retention"]);
    return null;
  } catch (error) {
    return `--auto-compaction-retention: ${(error as Error).message}`;
  }
}

/** What was asked for and has no effect. */
export function warningsOfAccess(flags: AccessFlags): string[] {
  const warnings: string[] = [];
  const urls = [...flags["listen-client-urls"], ...flags["listen-client-http-urls"], ...flags["listen-metrics-urls"]];
  const plain = urls.filter((url) => !isSecure(url)).map((url) => url.text);
  if (plain.length > 0) {
    const text = plain.join(",");
    if (flags["cert-file"] !== "") warnings.push(`${text}: not TLS, --cert-file and --key-file are not used there`);
    if (flags["client-cert-auth"]) warnings.push(`${text}: not TLS, --client-cert-auth is not followed there`);
  }
  if (flags["auto-tls"] && flags["cert-file"] !== "") {
    warnings.push("--auto-tls has no effect: --cert-file and --key-file are given");
  }
  return warnings;
}
