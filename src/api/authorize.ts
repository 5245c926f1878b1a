import type { Credentials, Database } from "../engine/engine.ts";
import type { Call } from "../transport/transport.ts";

/**
 * The one place where it is found out who makes a call. Every method of every service is given the database that this
 * returns, and no other: it asks of each operation whether its caller may (engine/guarded-database.ts). A method that
 * does something else with the node or the data says first what that takes:
 *
 *   database.require("user")   anyone who is logged in: Status, MemberList, Alarm's list
 *   database.require("root")   those with the role root: Snapshot, HashKV, Defragment, members, Alarm's changes …
 */
export const asCaller = (database: Database, call: Call): Database => database.as(new CallCredentials(call));

const BEARER = "Bearer ";

/** B1.8. Read anew by every operation of a stream: its token may have ended since the last one. */
class CallCredentials implements Credentials {
  readonly #call: Call;

  constructor(call: Call) {
    this.#call = call;
  }

  token(): string | undefined {
    const token = this.#call.metadata("token") ?? this.#call.metadata("authorization");
    return token?.startsWith(BEARER) ? token.slice(BEARER.length) : token;
  }

  /** What comes through the JSON gateway has no peer: a certificate there would be a proxy's (A17). */
  commonName(): string | null {
    const name = this.#call.peer?.commonName;
    return name === undefined ? null : Buffer.from(name, "utf8").latin1Slice();
  }
}
