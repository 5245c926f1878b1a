import { DbError } from "../../base/errors.ts";
import type { MaybePromise } from "../../base/maybe-promise.ts";
import type { Credentials, Database } from "../../engine/engine.ts";
import type { Call } from "../../transport/transport.ts";

/** The branch whose authentication guards the repository. */
const MAIN = "main";

/**
 * Whether a caller may do something to branches (DESIGN: branches):
 *
 *   1. of every branch named, where authentication is on there, it must have the role root there;
 *   2. where none of them has asked for that, main is asked, too;
 *   3. where main has no authentication, either, the caller must be on this machine, or show a client certificate. A
 *      web page that a browser on this machine shows is no such caller: its requests say where they come from (Origin).
 *
 * A token is good for the branch that gave it: that of branch NAME comes as the metadata `t4-token-NAME`, else `token`.
 */
export async function authorize(
  call: Call,
  names: readonly string[],
  databaseOf: (name: string) => MaybePromise<Database>,
): Promise<void> {
  let proven = false;
  for (const name of new Set(names)) proven = (await isRoot(call, name, databaseOf)) || proven;
  if (proven) return;
  if (!names.includes(MAIN) && (await isRoot(call, MAIN, databaseOf))) return;
  if (!isOfWebPage(call) && (isLocal(call) || call.peer !== null)) return;
  throw new DbError(
    "permissionDenied",
    "branches are changed and read by root alone, where authentication is on, else from the server's own machine or " +
      "with a client certificate",
  );
}

/** Throws where authentication is on and the caller is not root; false where it is off. */
async function isRoot(
  call: Call,
  name: string,
  databaseOf: (name: string) => MaybePromise<Database>,
): Promise<boolean> {
  const database = await databaseOf(name);
  const { enabled } = await database.auth.status();
  database.as(new BranchCredentials(call, name)).require("root");
  return enabled;
}

const isLocal = ({ remoteAddress }: Call): boolean => remoteAddress === "unix" || LOOPBACK.test(remoteAddress);

const LOOPBACK = /^(127(\.\d{1,3}){3}|\[::1\]|\[::ffff:127(\.\d{1,3}){3}\]):\d+$/;

const isOfWebPage = (call: Call): boolean => call.metadata("origin") !== undefined;

class BranchCredentials implements Credentials {
  readonly #call: Call;
  readonly #branch: string;

  constructor(call: Call, branch: string) {
    this.#call = call;
    this.#branch = branch;
  }

  token(): string | undefined {
    const token = this.#call.metadata(`t4-token-${this.#branch}`) ?? this.#call.metadata("token");
    return token ?? this.#call.metadata("authorization")?.replace(/^Bearer /, "");
  }

  commonName(): string | null {
    const name = this.#call.peer?.commonName;
    return name === undefined ? null : Buffer.from(name, "utf8").latin1Slice();
  }
}
