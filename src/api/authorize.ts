import type { Database } from "../engine/engine.ts";
import type { Call } from "../transport/transport.ts";
import { metadataOf } from "./call-metadata.ts";

/**
 * The one place where it is found out who makes a call. Every method of every service is given the database that this
 * returns, and no other: it asks of each operation whether its caller may (engine/guarded-database.ts), as the token of
 * a stream may have ended since the last one. A method that does something else with the node or the data says first
 * what that takes:
 *
 *   database.require("user")   anyone who is logged in: Status, MemberList, Alarm's list
 *   database.require("root")   those with the role root: Snapshot, HashKV, Defragment, members, Alarm's changes …
 */
export const asCaller = (database: Database, call: Call): Database => database.as(metadataOf(call));
