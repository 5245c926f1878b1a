import { isDbError } from "../base/errors.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import { version } from "../base/version.ts";
import type { CollectionStats } from "../collector/background.ts";
import type { Database } from "../engine/engine.ts";
import type { HttpResponse } from "../transport/transport.ts";

/** GET /t4/status: what etcd's Status has no field for. `t4 status` shows it. */
export async function statusJson(
  database: () => MaybePromise<Database>,
  collections: () => CollectionStats | null,
): Promise<HttpResponse> {
  const headers = { "content-type": "application/json" };
  try {
    const status = (await database()).status();
    const collection = collections();
    const errors = collection?.error == null ? status.errors : [...status.errors, collection.error];
    return { status: 200, headers, body: JSON.stringify({ version, ...status, errors, collection }) };
  } catch (error) {
    if (!isDbError(error)) throw error;
    return { status: 503, headers, body: JSON.stringify({ version, errors: [error.message] }) };
  }
}
