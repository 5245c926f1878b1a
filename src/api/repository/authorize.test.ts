import { equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { openRig } from "../../../test/engine/doubles.ts";
import { quickPasswords } from "../../../test/engine/quick-passwords.ts";
import { isDbError } from "../../base/errors.ts";
import type { Database } from "../../engine/engine.ts";
import type { Call } from "../../transport/transport.ts";
import { authorize } from "./authorize.ts";

interface Caller {
  readonly from?: string;
  readonly metadata?: Record<string, string>;
  readonly commonName?: string;
}

const callOf = ({ from = "10.0.0.9:4711", metadata = {}, commonName }: Caller): Call => ({
  path: "/t4.v1.Repository/BranchList",
  authority: "node:2379",
  remoteAddress: from,
  peer: commonName === undefined ? null : { commonName },
  metadata: (name) => metadata[name],
  timeLeftMs: () => undefined,
  onCancel() {},
});

/** A branch; with authentication its root's password is its name, and alice is nobody there. */
async function branch(name: string, withAuth: boolean): Promise<Database> {
  const { database } = await openRig({ settings: quickPasswords });
  if (!withAuth) return database;
  const { auth } = database;
  const password = Buffer.from(name);
  for (const user of ["root", "alice"]) await auth.userAdd({ name: user, password, noPassword: false, address: "" });
  await auth.userGrantRole({ user: "root", role: "root" });
  await auth.enable();
  // The rigs' chance is the same: their tokens differ by the number of the newest record.
  for (let role = 0; role < name.length; role++) await auth.roleAdd(`role ${role}`);
  return database;
}

const tokenOf = async (database: Database, name: string, user = "root"): Promise<string> => {
  const { signal } = new AbortController();
  return (await database.auth.authenticate({ name: user, password: Buffer.from(name), address: "", signal })).token;
};

async function world(withAuth: readonly string[]) {
  const names = ["main", "dev", "other"];
  const branches = new Map<string, Database>();
  for (const name of names) branches.set(name, await branch(name, withAuth.includes(name)));
  const asked: string[] = [];
  const databaseOf = (name: string): Database => {
    asked.push(name);
    return branches.get(name)!;
  };
  return {
    of: (name: string) => branches.get(name)!,
    ask: (caller: Caller, named: readonly string[]) => authorize(callOf(caller), named, databaseOf),
  };
}

const is = (kind: "permissionDenied" | "userEmpty" | "invalidAuthToken") => (error: unknown) => isDbError(error, kind);

test("without authentication: from this machine, or with a client certificate; no web page", async () => {
  const { ask } = await world([]);
  for (const from of ["127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "unix"]) {
    equal(await ask({ from }, ["dev"]), undefined, from);
    await rejects(ask({ from, metadata: { origin: "https://evil.example" } }, ["dev"]), is("permissionDenied"), from);
  }
  for (const from of ["10.0.0.9:1", "[fe80::1]:1", "1.127.0.0:1", "[::127.0.0.1]:1", ""]) {
    await rejects(ask({ from }, []), is("permissionDenied"), from);
  }
  equal(await ask({ commonName: "ops" }, ["dev"]), undefined);
  await rejects(ask({ commonName: "ops", metadata: { origin: "null" } }, ["dev"]), is("permissionDenied"));
});

test("with authentication on main: its root, wherever the caller is, for what has none of its own", async () => {
  const { of, ask } = await world(["main"]);
  const token = await tokenOf(of("main"), "main");
  const local = { from: "127.0.0.1:1", commonName: "ops" };
  for (const named of [[], ["dev"], ["main"], ["dev", "other"]]) {
    await rejects(ask(local, named), is("userEmpty"));
    await rejects(ask({ ...local, metadata: { token: "made.up" } }, named), is("invalidAuthToken"));
    equal(await ask({ metadata: { token } }, named), undefined);
    equal(await ask({ metadata: { authorization: `Bearer ${token}` } }, named), undefined);
  }
  const alice = await tokenOf(of("main"), "main", "alice");
  await rejects(ask({ ...local, metadata: { token: alice } }, ["dev"]), is("permissionDenied"));
});

test("root of every branch named that has authentication; a token of one is none on another", async () => {
  const { of, ask } = await world(["main", "dev", "other"]);
  const [dev, other] = [await tokenOf(of("dev"), "dev"), await tokenOf(of("other"), "other")];
  equal(await ask({ metadata: { token: dev } }, ["dev"]), undefined);
  await rejects(ask({ metadata: { token: dev } }, ["dev", "other"]), is("invalidAuthToken"));
  await rejects(ask({ metadata: { token: dev } }, ["main"]), is("invalidAuthToken"));
  await rejects(ask({ metadata: { token: dev } }, []), is("invalidAuthToken"));
  equal(await ask({ metadata: { "t4-token-dev": dev, "t4-token-other": other } }, ["dev", "other"]), undefined);
  await rejects(ask({ metadata: { "t4-token-dev": dev } }, ["dev", "other"]), is("userEmpty"));
});
