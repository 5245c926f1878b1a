import { resolve } from "node:path";
import type { StoreSurroundings } from "../objects/open-store.ts";
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
  return { ...(region === undefined ? {} : { region }), ...(proxy === undefined ? {} : { proxy }) };
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
