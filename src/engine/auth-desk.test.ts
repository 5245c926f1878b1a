import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { test } from "node:test";
import { openRig, type Rig, settle } from "../../test/engine/doubles.ts";
import { quickPasswords } from "../../test/engine/quick-passwords.ts";
import { put, range, txn } from "../../test/engine/requests.ts";
import { DbError, type ErrorKind, isDbError } from "../base/errors.ts";
import type { LogRecord } from "../log/log.ts";
import { type Credentials, type Database, type Permission, permissionTypes } from "./engine.ts";

const isKind = (kind: ErrorKind) => (error: unknown) => isDbError(error, kind);
const settings = quickPasswords;
const bytes = (text: string): Uint8Array => Buffer.from(text);
const address = "10.0.0.1";

const showing = (token: string | undefined): Credentials => ({ token: () => token, commonName: () => null });
const nobody = showing(undefined);
const byCertificate = (name: string): Credentials => ({ token: () => undefined, commonName: () => name });

const read = (key: string, rangeEnd = ""): Permission => ({ type: permissionTypes.read, key, rangeEnd });
const write = (key: string, rangeEnd = ""): Permission => ({ type: permissionTypes.write, key, rangeEnd });

/** Users root and alice (role r, no permission); authentication on. The program itself sets up. */
async function openWithUsers(options: Parameters<typeof openRig>[0] = {}): Promise<Rig> {
  const rig = await openRig({ settings, ...options });
  const { auth } = rig.database;
  for (const name of ["root", "alice"]) await auth.userAdd({ name, password: bytes(name), noPassword: false, address });
  await auth.userGrantRole({ user: "root", role: "root" });
  await auth.roleAdd("r");
  await auth.userGrantRole({ user: "alice", role: "r" });
  await auth.enable();
  return rig;
}

async function loggedIn({ database }: Rig, name: string, password = name): Promise<Database> {
  const signal = new AbortController().signal;
  const { token } = await database.auth.authenticate({ name, password: bytes(password), address, signal });
  return database.as(showing(token));
}

const permit = async ({ database }: Rig, permission: Permission) =>
  database.auth.roleGrantPermission({ role: "r", permission });
const forbid = async ({ database }: Rig, key: string) =>
  database.auth.roleRevokePermission({ role: "r", key, rangeEnd: "" });

test("changes of users move no revision of the store, one record each, none where nothing changes", async () => {
  const rig = await openWithUsers();
  equal(rig.database.committed, 1);
  const before = rig.log.head;
  const answer = await rig.database.auth.userGrantRole({ user: "alice", role: "r" });
  deepEqual([answer.revision, rig.log.head], [1, before]);
  await rig.database.auth.enable();
  equal(rig.log.head, before);
  await permit(rig, read("a"));
  deepEqual([rig.log.head, rig.database.auth.revision, rig.database.committed], [before + 1, 7, 1]);
});

test("a fresh database from the same records has the same users, and no tokens", async () => {
  const rig = await openWithUsers();
  await permit(rig, read("a"));
  await rig.database.put(put("a", "1"));
  const alice = await loggedIn(rig, "alice");
  equal((await alice.range(range("a"))).count, 1);
  const replay: readonly LogRecord[] = rig.log.records;
  const fresh = await openRig({ settings, replay, epoch: 2 });
  throws(() => fresh.database.as(nobody).range(range("a")), isKind("userEmpty"));
  equal((await (await loggedIn(fresh, "alice")).range(range("a"))).count, 1);
  deepEqual((await fresh.database.auth.userGet("alice")).roles, ["r"]);
  deepEqual((await fresh.database.auth.roleGet("r")).permissions, [read("a")]);
  equal(fresh.database.auth.revision, rig.database.auth.revision);
});

test("what is granted, and not durable, shows nothing; a write under it waits for it", async () => {
  const rig = await openWithUsers();
  await rig.database.put(put("a", "1"));
  const alice = await loggedIn(rig, "alice");
  rig.log.auto = false;
  const granting = permit(rig, { ...read("a"), type: permissionTypes.readWrite });
  throws(() => alice.range(range("a")), isKind("permissionDenied"));
  let answered = false;
  const writing = Promise.resolve(alice.put(put("a", "2"))).then(() => (answered = true));
  await settle();
  equal(answered, false);
  rig.log.commit();
  await granting;
  await writing;
  equal((await alice.range(range("a"))).count, 1);
});

test("what is taken away counts from its place in the log: a later write is refused once that is durable", async () => {
  const rig = await openWithUsers();
  await permit(rig, write("a"));
  const alice = await loggedIn(rig, "alice");
  rig.log.auto = false;
  const forbidding = forbid(rig, "a");
  const writing = Promise.resolve(alice.put(put("a", "1")));
  let refused = false;
  writing.catch(() => (refused = true));
  await settle();
  equal(refused, false, "a refusal is an answer, and waits");
  rig.log.commit();
  await forbidding;
  await rejects(writing, isKind("permissionDenied"));
});

test("A18 E43 a request that waited for a read is held against what may be done by then", async () => {
  const rig = await openWithUsers();
  await permit(rig, { ...read("a"), type: permissionTypes.readWrite });
  const alice = await loggedIn(rig, "alice");
  let arrive = (): void => {};
  const away = () => {
    rig.tree.arrival = () => new Promise<void>((resolve) => (arrive = resolve));
    rig.tree.isAway = (what) => what === "get";
  };
  away();
  const writing = Promise.resolve(alice.txn(txn([range("a"), put("a", "2")])));
  await settle();
  rig.tree.isAway = () => false;
  await forbid(rig, "a");
  arrive();
  await rejects(writing, isKind("authOldRevision"));
  equal((await rig.database.range(range("a"))).count, 0);

  await permit(rig, read("a"));
  away();
  const reading = Promise.resolve(alice.range(range("a")));
  rig.tree.isAway = () => false;
  await forbid(rig, "a");
  arrive();
  await rejects(reading, isKind("authOldRevision"));
});

test("enabling counts for what was under way: it had not logged in", async () => {
  const rig = await openWithUsers();
  await rig.database.auth.disable();
  const stranger = rig.database.as(nobody);
  let arrive = (): void => {};
  rig.tree.arrival = () => new Promise<void>((resolve) => (arrive = resolve));
  rig.tree.isAway = (what) => what === "get";
  const writing = Promise.resolve(stranger.put(put("a", "1")));
  await settle();
  rig.tree.isAway = () => false;
  await rig.database.auth.enable();
  arrive();
  await rejects(writing, isKind("userEmpty"));
});

test("a password that is changed while it is being checked does not log in", async () => {
  const rig = await openWithUsers();
  const login = loggedIn(rig, "alice");
  await rig.database.auth.userChangePassword({ name: "alice", password: bytes("new"), hashedPassword: "", address });
  await rejects(login, isKind("authFailed"));
  ok(await loggedIn(rig, "alice", "new"));
});

test("A17 names of certificates are users' only where that is asked for, and a token comes first", async () => {
  const rig = await openWithUsers();
  await permit(rig, read("a"));
  throws(() => rig.database.as(byCertificate("alice")).range(range("a")), isKind("userEmpty"));
  const other = await openRig({
    settings: { auth: { ...settings.auth, namesByCertificate: true } },
    replay: rig.log.records,
    epoch: 2,
  });
  const alice = other.database.as(byCertificate("alice"));
  equal((await alice.range(range("a"))).count, 0);
  throws(() => alice.range(range("b")), isKind("permissionDenied"));
  throws(() => alice.require("root"), isKind("permissionDenied"));
  other.database.as(byCertificate("root")).require("root");
  throws(() => other.database.as(byCertificate("eve")).range(range("a")), isKind("permissionDenied"));
  throws(() => other.database.as(byCertificate("eve")).require("root"), isKind("userNotFound"));
  throws(() => other.database.as(byCertificate("")).require("root"), isKind("userEmpty"));
  const both = { token: () => "no.1", commonName: () => "root" };
  throws(() => other.database.as(both).range(range("a")), isKind("invalidAuthToken"));
});

test("without proof of leading nobody logs in, and nothing is told of users", async () => {
  const rig = await openWithUsers();
  rig.leadership.answer = new DbError("noLeader");
  await rejects(loggedIn(rig, "alice"), isKind("noLeader"));
  throws(() => rig.database.auth.userList(), isKind("noLeader"));
});

test("M3 who may not put raises no alarm for want of space: else anybody could stop the writes of others", async () => {
  const rig = await openWithUsers({ settings: { ...settings, quotaBytes: 10_000 }, bytesInUse: () => 9_999 });
  const large = put("a", "v".repeat(1000));
  const alice = await loggedIn(rig, "alice");
  await rejects(async () => rig.database.as(nobody).put(large), isKind("userEmpty"));
  await rejects(async () => alice.put(large), isKind("permissionDenied"));
  await rejects(async () => alice.txn(txn([large])), isKind("permissionDenied"));
  deepEqual(rig.database.maintenance.alarms, []);
  await permit(rig, write("a"));
  await rejects(async () => alice.put(large), isKind("noSpace"));
  equal(rig.database.maintenance.alarms.length, 1);
});
