import { isDbError } from "../base/errors.ts";
import { version } from "../base/version.ts";
import type { ServedBranch } from "../engine/host/served-branch.ts";
import type { HttpResponse } from "../transport/transport.ts";

/** GET /t4/status: what etcd's Status has no field for. `t4 status` shows it. */
export function statusJson(branch: ServedBranch): HttpResponse {
  const headers = { "content-type": "application/json" };
  try {
    const status = branch.database.status();
    return { status: 200, headers, body: JSON.stringify({ version, ...status }) };
  } catch (error) {
    if (!isDbError(error)) throw error;
    return { status: 503, headers, body: JSON.stringify({ version, branch: branch.name, errors: [error.message] }) };
  }
}
