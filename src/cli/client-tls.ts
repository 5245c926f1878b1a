import { readFileSync } from "node:fs";
import { type ChannelCredentials, credentials } from "@grpc/grpc-js";
import { Option } from "commander";
import { fileTrouble } from "../base/errors.ts";
import { UsageError } from "./errors.ts";

/** etcdctl's flags for TLS, with variables of ours. */
export const tlsOptions = (): Option[] => [
  new Option("--cacert <file>", "authorities that sign servers' certificates, PEM").env("T4_CACERT"),
  new Option("--cert <file>", "this client's certificate, PEM").env("T4_CERT"),
  new Option("--key <file>", "its key").env("T4_KEY"),
  new Option("--insecure-skip-tls-verify", "do not check servers' certificates: whoever answers is believed").env(
    "T4_INSECURE_SKIP_TLS_VERIFY",
  ),
];

export interface TlsOptions {
  readonly cacert?: string;
  readonly cert?: string;
  readonly key?: string;
  /** A text where it came from the environment. */
  readonly insecureSkipTlsVerify?: boolean | string;
}

/** How each endpoint is spoken to: by its scheme; without one by TLS where a flag asks for it. */
export function credentialsFor(options: TlsOptions): (endpoint: string) => ChannelCredentials {
  if ((options.cert === undefined) !== (options.key === undefined)) {
    throw new UsageError("--cert and --key: both or none must be given");
  }
  const skips = isTrue(options.insecureSkipTlsVerify);
  const asked = options.cacert !== undefined || options.cert !== undefined || skips;
  const secure = once(() => {
    const [authorities, key, certificate] = [
      read("--cacert", options.cacert),
      read("--key", options.key),
      read("--cert", options.cert),
    ];
    try {
      return credentials.createSsl(authorities, key, certificate, skips ? { rejectUnauthorized: false } : {});
    } catch (error) {
      throw new UsageError(`--cacert, --cert, --key: cannot be used: ${(error as Error).message}`);
    }
  });
  const plain = once(() => credentials.createInsecure());
  if (asked) secure();
  return (endpoint) => {
    const scheme = /^(\w+):\/\//.exec(endpoint)?.[1];
    return scheme === "https" || scheme === "unixs" || (scheme === undefined && asked) ? secure() : plain();
  };
}

const isTrue = (value: boolean | string | undefined): boolean =>
  typeof value === "string" ? /^(1|t|true|yes)$/i.test(value) : value === true;

function read(flag: string, path: string | undefined): Buffer | null {
  if (path === undefined) return null;
  try {
    return readFileSync(path);
  } catch (error) {
    throw new UsageError(`${flag}: ${path}: ${fileTrouble(error)}`);
  }
}

function once<T>(make: () => T): () => T {
  let made: { value: T } | null = null;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
