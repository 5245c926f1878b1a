import { deepEqual, equal, match, notEqual } from "node:assert/strict";
import { Auth, KV } from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import { bytes, type EtcdClient } from "../client.ts";
import { eventually, fails, type Story } from "../story.ts";
import { auth, READ, READWRITE, refusals, WRITE, withUsers } from "./auth-setup.ts";

const refused = (call: Promise<unknown>, [code, text]: readonly [number, string]) => fails(call, code, text);
const { userGet, userList, userDelete, userChangePassword, roleGet, roleList, roleDelete } = Auth.method;

const story = (name: string, body: (client: EtcdClient) => Promise<void>): Story => ({ name, body });

/** Users, roles and logging in. */
export const authStories: Story[] = [
  story("A1 each change moves the auth revision, and not the store's", async (client) => {
    await client.put("a", "1");
    await auth.status(client);
    await auth.addUser(client, "root");
    await auth.addRole(client, "root");
    await auth.give(client, "root", "root");
    // Nothing changes.
    await auth.give(client, "root", "root");
    equal((await auth.status(client)).authRevision, 4n);
    await auth.enable(client);
    const root = await client.login("root", "root");
    const status = await auth.status(root);
    deepEqual([status.enabled, status.authRevision, status.header!.revision], [true, 4n, 2n]);
    await auth.enable(root);
    await auth.disable(root);
    equal((await auth.status(client)).authRevision, 5n);
    await auth.disable(client);
    equal((await auth.status(client)).authRevision, 5n);
  }),

  story("A2 enabling needs the user root with the role root", async (client) => {
    await refused(auth.enable(client), refusals.rootUserNotExist);
    await auth.addUser(client, "root");
    await refused(auth.enable(client), refusals.rootRoleNotExist);
    await auth.give(client, "root", "root");
    await auth.enable(client);
    const root = await client.login("root", "root");
    await auth.disable(root);
    await auth.enable(client);
  }),

  story("A3 logging in", async (client) => {
    const { root } = await withUsers(client, { alice: [] });
    const login = (name: string, password: string) => client.call(Auth.method.authenticate, { name, password });
    await refused(login("alice", "wrong"), refusals.authFailed);
    await refused(login("nobody", "alice"), refusals.authFailed);
    await refused(login("", ""), refusals.authFailed);
    await root.call(Auth.method.userAdd, { name: "cert", password: "", options: { noPassword: true } });
    await refused(login("cert", ""), refusals.noPasswordUser);
    await refused(login("cert", "x"), refusals.noPasswordUser);
    await client.transcript.silently(async () => {
      const first = await login("alice", "alice");
      const second = await login("alice", "alice");
      match(first.token, /^[a-zA-Z]{16}\.[1-9]\d*$/);
      notEqual(first.token, second.token);
      equal(first.header!.revision, 1n);
      // Both are good.
      for (const { token } of [first, second]) {
        await refused(client.withToken("alice", token).range("a"), refusals.permissionDenied);
      }
    });
  }),

  story("A3 Authenticate while authentication is off", async (client) => {
    await auth.addUser(client, "root");
    await refused(client.call(Auth.method.authenticate, { name: "root", password: "root" }), refusals.notEnabled);
    await refused(client.call(Auth.method.authenticate, { name: "nobody", password: "" }), refusals.notEnabled);
    // A token that nobody gave is passed over.
    await client.withToken("stranger", "no.1").put("a", "1");
  }),

  story("A5 without a token, and with one that is none", async (client) => {
    const { root } = await withUsers(client, { alice: [[READWRITE, "a"]] });
    await refused(client.range("a"), refusals.userEmpty);
    await refused(client.put("a", "1"), refusals.userEmpty);
    // It asks for nothing.
    await client.txn({});
    for (const token of ["no.1", "nothing", "", "abcdefghijklmnop.7"]) {
      const stranger = client.withToken(`token ${JSON.stringify(token)}`, token);
      await refused(stranger.range("a"), refusals.invalidToken);
      await refused(stranger.put("a", "1"), refusals.invalidToken);
      await refused(stranger.range(""), [3, "etcdserver: key is not provided"]);
      await refused(auth.addRole(stranger, "r"), refusals.invalidToken);
    }
    // The gateway's name for it, and what is often set before it.
    await client.transcript.silently(async () => {
      const { token } = await client.call(Auth.method.authenticate, { name: "alice", password: "alice" });
      for (const metadata of [{ authorization: token }, { authorization: `Bearer ${token}` }]) {
        equal((await client.call(KV.method.range, { key: bytes("a") }, metadata)).count, 0n);
      }
    });
    await root.range("a");
  }),

  story("A6 users", async (client) => {
    await refused(auth.addUser(client, "", "x"), refusals.userEmpty);
    await auth.addUser(client, "alice");
    await refused(auth.addUser(client, "alice", "other"), refusals.userExists);
    await auth.addUser(client, "no password", "");
    await client.call(Auth.method.userAdd, { name: "cert", options: { noPassword: true } });
    await refused(auth.addUser(client, "long", "x".repeat(73)), [2, "bcrypt: password length exceeds 72 bytes"]);
    await client.call(userList, {});
    await refused(client.call(userGet, { name: "bob" }), refusals.userNotFound);
    await client.call(userGet, { name: "alice" });
    await refused(client.call(userDelete, { name: "bob" }), refusals.userNotFound);
    await client.call(userDelete, { name: "alice" });
    await refused(client.call(userGet, { name: "alice" }), refusals.userNotFound);
    await refused(client.call(userChangePassword, { name: "alice", password: "x" }), refusals.userNotFound);
    await client.call(userChangePassword, { name: "cert", password: "x" });
    await client.call(userList, {});
    await auth.status(client);
  }),

  story("A6 passwords: changed, empty, as a hash, and what is no hash", async (client) => {
    const { root } = await withUsers(client, { alice: [[READ, "a"]] });
    const change = (password: string, hashedPassword = "") =>
      root.call(userChangePassword, { name: "alice", password, hashedPassword });
    const login = (password: string) => client.call(Auth.method.authenticate, { name: "alice", password });
    await client.transcript.silently(async () => {
      await change("new");
      await refused(login("alice"), refusals.authFailed);
      await login("new");
      // bcrypt of "secret", cost 4.
      const hash = "$2a$04$/uaF/uaF/uaF/uaF/uaF/uyUa5B4sNev9rTvA6TvEBWYO4koffwMy";
      await change("", Buffer.from(hash).toString("base64"));
      await refused(login("new"), refusals.authFailed);
      await login("secret");
      // A password that begins with a NUL, or holds one, is a password like any other.
      await change("a\0b");
      await login("a\0b");
      await refused(login("a"), refusals.authFailed);
    });
    await refused(change("", "%%"), refusals.noPasswordUser);
    await refused(change("", "abc"), refusals.noPasswordUser);
    await change("", "");
    await refused(login(""), refusals.authFailed);
    await auth.addUser(root, "empty", "");
    await client.transcript.silently(() => client.call(Auth.method.authenticate, { name: "empty", password: "" }));
    await refused(client.call(Auth.method.authenticate, { name: "empty", password: "x" }), refusals.authFailed);
  }),

  story("A6 a new password and a deletion end the user's tokens, and no one else's", async (client) => {
    const { root, alice, bob } = await withUsers(client, { alice: [[READ, "a"]], bob: [[READ, "a"]] });
    await alice.range("a");
    await root.call(userChangePassword, { name: "alice", password: "new" });
    await refused(alice.range("a"), refusals.invalidToken);
    const again = await client.login("alice", "new");
    await again.range("a");
    await root.call(userDelete, { name: "alice" });
    await refused(again.range("a"), refusals.invalidToken);
    await bob.range("a");
    await root.range("a");
  }),

  story("A6, A7 what is root's cannot be taken while authentication is on", async (client) => {
    const { root } = await withUsers(client, {});
    await auth.addRole(root, "root");
    await refused(root.call(userDelete, { name: "root" }), refusals.invalidManagement);
    await refused(auth.take(root, "root", "root"), refusals.invalidManagement);
    await refused(root.call(roleDelete, { role: "root" }), refusals.invalidManagement);
    await auth.disable(root);
    await auth.take(client, "root", "root");
    await client.call(roleDelete, { role: "root" });
    await client.call(userDelete, { name: "root" });
    await refused(auth.enable(client), refusals.rootUserNotExist);
  }),

  story("A7 roles of users", async (client) => {
    await auth.addUser(client, "alice");
    await refused(auth.give(client, "bob", "r"), refusals.userNotFound);
    await refused(auth.give(client, "alice", "r"), refusals.roleNotFound);
    await auth.give(client, "alice", "root");
    for (const role of ["z", "b", "r"]) await auth.addRole(client, role);
    for (const role of ["z", "b", "r", "b"]) await auth.give(client, "alice", role);
    deepEqual((await client.call(userGet, { name: "alice" })).roles, ["b", "r", "root", "z"]);
    await auth.take(client, "alice", "r");
    await refused(auth.take(client, "alice", "r"), refusals.roleNotGranted);
    await refused(auth.take(client, "alice", "nothing"), refusals.roleNotGranted);
    await refused(auth.take(client, "bob", "r"), refusals.userNotFound);
    await client.call(userGet, { name: "alice" });
  }),

  story("A8 roles", async (client) => {
    await refused(auth.addRole(client, ""), refusals.roleEmpty);
    await auth.addRole(client, "r");
    await refused(auth.addRole(client, "r"), refusals.roleExists);
    await refused(client.call(roleGet, { role: "nothing" }), refusals.roleNotFound);
    await refused(client.call(roleGet, { role: "root" }), refusals.roleNotFound);
    await auth.addRole(client, "root");
    await client.call(roleGet, { role: "root" });
    await client.call(roleList, {});
    await refused(client.call(roleDelete, { role: "nothing" }), refusals.roleNotFound);
    for (const user of ["alice", "bob"]) {
      await auth.addUser(client, user);
      await auth.give(client, user, "r");
    }
    await auth.addRole(client, "s");
    await auth.give(client, "bob", "s");
    await client.call(roleDelete, { role: "r" });
    deepEqual((await client.call(userGet, { name: "alice" })).roles, []);
    deepEqual((await client.call(userGet, { name: "bob" })).roles, ["s"]);
    // A role of that name that comes later is another one.
    await auth.addRole(client, "r");
    await client.call(userGet, { name: "alice" });
    await auth.status(client);
  }),

  story("A9 permissions of roles", async (client) => {
    await refused(client.call(Auth.method.roleGrantPermission, { name: "r" }), refusals.permissionNotGiven);
    await refused(auth.permit(client, "r", [READ, "a"]), refusals.roleNotFound);
    await auth.addRole(client, "r");
    for (const [key, end] of [
      ["", ""],
      ["", "z"],
      ["b", "a"],
      ["b", "b"],
    ] as const) {
      await refused(auth.permit(client, "r", [READ, key, end]), refusals.invalidManagement);
    }
    await auth.permit(client, "r", [READ, "m"]);
    await auth.permit(client, "r", [WRITE, "c", "\0"]);
    await auth.permit(client, "r", [READWRITE, "d", "f"]);
    await auth.permit(client, "r", [WRITE, "\0", "\0"]);
    await client.call(roleGet, { role: "r" });
    await auth.permit(client, "r", [READ, "d", "f"]);
    await client.call(roleGet, { role: "r" });
    await refused(auth.forbid(client, "r", "d"), refusals.permissionNotGranted);
    await refused(auth.forbid(client, "nothing", "d", "f"), refusals.roleNotFound);
    await auth.forbid(client, "r", "d", "f");
    await client.call(roleGet, { role: "r" });
    await auth.status(client);
  }),

  story("A10 what is root's alone, and what each may ask about itself", async (client) => {
    const { root, alice } = await withUsers(client, { alice: [[READ, "a"]], bob: [] });
    await client.transcript.silently(() => auth.addRole(root, "other"));
    const asks: ((who: EtcdClient) => Promise<unknown>)[] = [
      auth.enable,
      auth.disable,
      auth.status,
      (who) => auth.addUser(who, "x"),
      (who) => who.call(userGet, { name: "bob" }),
      (who) => who.call(userGet, { name: "nobody" }),
      (who) => who.call(userList, {}),
      (who) => who.call(userDelete, { name: "bob" }),
      (who) => who.call(userChangePassword, { name: "alice", password: "x" }),
      (who) => auth.give(who, "alice", "root"),
      (who) => auth.take(who, "bob", "bob"),
      (who) => auth.addRole(who, "y"),
      (who) => who.call(roleGet, { role: "other" }),
      (who) => who.call(roleGet, { role: "nothing" }),
      (who) => who.call(roleList, {}),
      (who) => who.call(roleDelete, { role: "bob" }),
      (who) => auth.permit(who, "alice", [READ, "b"]),
      (who) => auth.forbid(who, "alice", "a"),
    ];
    for (const ask of asks) {
      await refused(ask(alice), refusals.permissionDenied);
      await refused(ask(client), refusals.userEmpty);
    }
    await alice.call(userGet, { name: "alice" });
    await alice.call(roleGet, { role: "alice" });
    await refused(client.call(userGet, { name: "" }), refusals.userNotFound);
    await auth.status(root);
  }),

  story(
    "A4 a permission that is granted, changed and taken counts at once, for a token given before",
    async (client) => {
      const { root, alice } = await withUsers(client, { alice: [] });
      await refused(alice.put("a", "1"), refusals.permissionDenied);
      await auth.permit(root, "alice", [WRITE, "a"]);
      await alice.put("a", "1");
      await refused(alice.range("a"), refusals.permissionDenied);
      await auth.permit(root, "alice", [READ, "a"]);
      await alice.range("a");
      await refused(alice.put("a", "2"), refusals.permissionDenied);
      await auth.take(root, "alice", "alice");
      await refused(alice.range("a"), refusals.permissionDenied);
      await auth.give(root, "alice", "root");
      await alice.put("b", "2");
      await auth.take(root, "alice", "root");
      await auth.give(root, "alice", "alice");
      await root.call(roleDelete, { role: "alice" });
      await refused(alice.range("a"), refusals.permissionDenied);
      await auth.disable(root);
      await alice.put("b", "3");
      await auth.enable(client);
      // Tokens have ended with authentication.
      await eventually("the token is none any more", 2000, () =>
        client.transcript.silently(async () => {
          const answer = await alice.range("a").catch((error: Error) => error);
          return answer instanceof Error && answer.message.includes("invalid auth token");
        }),
      );
    },
  ),
];
