import { DbError } from "../base/errors.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { FileStore } from "./fs.ts";
import { MemoryStore } from "./memory.ts";
import type { ObjectStore } from "./objects.ts";
import type { S3RequestReport } from "./s3-sender.ts";
import type { CredentialSource } from "./s3-signing.ts";
import type { StoreSettings } from "./store-url.ts";

/** What a store takes from its surroundings rather than from its URL; the composition root reads the environment. */
export interface StoreSurroundings {
  /** Where the URL names none (AWS_REGION). */
  region?: string;
  /** URL of the proxy for this store's requests (HTTPS_PROXY, unless NO_PROXY excludes the host). */
  proxy?: string;
  /** Instead of the chain of environment, files, SSO, container and instance metadata. */
  credentials?: CredentialSource;
  onRequest?: (request: S3RequestReport) => void;
}

const CA_FILE_BYTES_MAX = 4 << 20;

/** Builds the store; asks nothing of it yet. Throws `invalidArgument` for a setting that cannot work. */
export async function openStore(
  settings: StoreSettings,
  runtime: Runtime,
  surroundings: StoreSurroundings = {},
): Promise<ObjectStore> {
  switch (settings.kind) {
    case "memory":
      return new MemoryStore(runtime);
    case "file":
      return new FileStore(runtime, settings.directory);
    case "s3": {
      // A start without S3 does not pay for loading it.
      const { S3Store } = await import("./s3.ts");
      const { region = "us-east-1", proxy = null, credentials = null, onRequest } = surroundings;
      if (proxy !== null && !/^https?:$/.test(URL.parse(proxy)?.protocol ?? "")) {
        throw new DbError("invalidArgument", `proxy ${JSON.stringify(proxy)} of the store is not an http or https URL`);
      }
      const ca = settings.caFile === null ? null : await readCa(runtime, settings.caFile);
      return new S3Store(settings, { region, proxy, credentials, ca, ...(onRequest ? { onRequest } : {}) }, runtime);
    }
  }
}

async function readCa(runtime: Runtime, file: string): Promise<Buffer> {
  const ca = await runtime.disk.readFile(file, CA_FILE_BYTES_MAX);
  if (!ca?.includes("-----BEGIN CERTIFICATE-----")) {
    throw new DbError(
      "invalidArgument",
      `option ca of the store: ${file} ${ca ? "holds no certificate" : "does not exist"}`,
    );
  }
  return ca;
}
