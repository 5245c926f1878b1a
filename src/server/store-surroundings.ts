import { resolve } from "node:path";
import type { StoreSurroundings } from "../objects/open-store.ts";
import type { CredentialSource } from "../objects/s3-signing.ts";
import type { StoreSettings } from "../objects/store-url.ts";

/** Where a repository lives when it is not said: beside what the node keeps on its own disk. */
export const defaultPlace = (dataDirectory: string): StoreSettings => ({
  kind: "file",
  directory: resolve(dataDirectory, "store"),
});

/**
 * What a store takes from the environment, as AWS's tools do: HTTPS_PROXY is for https alone, NO_PROXY lists hosts that
 * go without.
 */
export function surroundingsOfStore(store: StoreSettings): StoreSurroundings {
  const { env } = process;
  const region = env["AWS_REGION"] ?? env["AWS_DEFAULT_REGION"];
  const proxy = store.kind === "s3" ? proxyFor(store.endpoint, env) : undefined;
  const credentials = store.kind === "s3" && store.profile === null ? credentialsIn(env) : undefined;
  return {
    ...(region === undefined ? {} : { region }),
    ...(proxy === undefined ? {} : { proxy }),
    ...(credentials === undefined ? {} : { credentials }),
  };
}

/**
 * What the official chain would find first. The chain itself is a hundred modules, which a start need not wait for; it
 * is asked where a profile is named, and for credentials that expire.
 */
function credentialsIn(env: NodeJS.ProcessEnv): CredentialSource | undefined {
  const accessKeyId = env["AWS_ACCESS_KEY_ID"];
  const secretAccessKey = env["AWS_SECRET_ACCESS_KEY"];
  const sessionToken = env["AWS_SESSION_TOKEN"];
  if (!accessKeyId || !secretAccessKey || env["AWS_PROFILE"] || env["AWS_CREDENTIAL_EXPIRATION"]) return undefined;
  const found = { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) };
  return async () => found;
}

function proxyFor(endpoint: string | null, env: NodeJS.ProcessEnv): string | undefined {
  const url = new URL(endpoint ?? "https://s3.amazonaws.com");
  if (url.protocol !== "https:") return undefined;
  const excluded = (env["NO_PROXY"] ?? env["no_proxy"] ?? "")
    .split(",")
    .map((host) => host.trim().replace(/^\*?\./, ""));
  const isExcluded = excluded.some((host) => host === "*" || (host !== "" && `.${url.hostname}`.endsWith(`.${host}`)));
  return isExcluded ? undefined : (env["HTTPS_PROXY"] ?? env["https_proxy"]);
}
