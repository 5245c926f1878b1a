import { refuseFounding } from "../../leadership/data-directory.ts";
import { lookForRepository, openRoot, type Repository } from "../../leadership/repository.ts";
import type { ObjectStore, RequestOptions } from "../../objects/objects.ts";
import { ensureStoreHolds } from "../../objects/probe.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { defaultHostSettings } from "../host/default-settings.ts";

/**
 * The repository of a store; founded where there is none, but without its branch main: so that what is imported can be
 * that. `dataDirectory` is the node's, if it is there.
 */
export async function openForImport(
  store: ObjectStore,
  runtime: Runtime,
  { request, dataDirectory }: { request: RequestOptions; dataDirectory: string | null },
): Promise<Repository> {
  const known = await lookForRepository(store, request);
  if (known === null && dataDirectory !== null) await refuseFounding(runtime.disk, { path: dataDirectory }, store.name);
  await ensureStoreHolds(store, runtime, request);
  const { window } = defaultHostSettings(store);
  const { timeoutMs: requestTimeoutMs, signal } = request;
  return openRoot({ store, runtime, requestTimeoutMs, window, known, signal });
}
