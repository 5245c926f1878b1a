import { deepEqual, equal, match, rejects } from "node:assert/strict";
import { type TestContext, test } from "node:test";
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { CallCounts } from "../../src/api/call-counts.ts";
import { repositoryRoutes } from "../../src/api/repository/service.ts";
import type { Database } from "../../src/engine/engine.ts";
import type { Host } from "../../src/engine/host/host.ts";
import { Repository } from "../../src/gen/t4/v1/repository_pb.ts";
import type { Call } from "../../src/transport/transport.ts";
import { newBranch, openHost } from "../engine/open-host.ts";

const { method } = Repository;
type Caller = { remoteAddress?: string; peer?: Call["peer"]; metadata?: Record<string, string> };

const stranger = { remoteAddress: "192.0.2.7:4711" };
const certified = { ...stranger, peer: { commonName: "operator" } as NonNullable<Call["peer"]> };

async function service(t: TestContext) {
  const { host } = await openHost(t);
  const routes = repositoryRoutes(
    {
      branches: () => host.branches,
      history: () => host.history,
      databaseOf: (name) => host.database(name),
      guardOf: (name) => host.branches.guardOf(name),
      requests: () => ({ sinceMs: 0, series: [] }),
      onBug: (error) => {
        throw error;
      },
    },
    new CallCounts(),
  );
  const ask = async <I extends DescMessage, O extends DescMessage>(
    caller: Caller,
    what: { input: I; output: O; name: string },
    init: MessageInitShape<I>,
  ): Promise<MessageShape<O>> => {
    const handler = routes.unary.get(`/t4.v1.Repository/${what.name}`)!;
    const call: Call = {
      path: "",
      authority: "",
      remoteAddress: caller.remoteAddress ?? "127.0.0.1:4711",
      peer: caller.peer ?? null,
      metadata: (name) => caller.metadata?.[name],
      timeLeftMs: () => undefined,
      onCancel: () => {},
    };
    const answer = await handler(Buffer.from(toBinary(what.input, create(what.input, init))), call);
    const bytes = Buffer.alloc(answer.byteLength());
    answer.encodeInto(bytes, 0);
    return fromBinary(what.output, bytes);
  };
  return { host, ask };
}

async function enableAuth(database: Database): Promise<void> {
  const { auth } = database;
  for (const name of ["root", "reader"]) {
    await auth.userAdd({ name, password: Buffer.from(name), noPassword: false, address: "" });
  }
  await auth.roleAdd("root");
  await auth.userGrantRole({ user: "root", role: "root" });
  await auth.enable();
}

async function tokenOf(host: Host, branch: string, name: string): Promise<string> {
  const { auth } = await host.database(branch);
  const login = { name, password: Buffer.from(name), address: "", signal: new AbortController().signal };
  return (await auth.authenticate(login)).token;
}

const denied = { code: 7 };

test("without authentication: this machine, or a client certificate; nobody else", async (t) => {
  const { ask } = await service(t);
  const list = (caller: Caller) => ask(caller, method.branchList, {});
  equal((await list({})).branches.length, 1);
  equal((await list({ remoteAddress: "unix" })).branches.length, 1);
  equal((await list({ remoteAddress: "[::1]:1" })).branches.length, 1);
  equal((await list(certified)).branches.length, 1);
  await rejects(list(stranger), denied);
  await rejects(
    list({ remoteAddress: "127.evil.example:1", metadata: {} }).catch((error: unknown) => Promise.reject(error)),
    denied,
  );
  await rejects(ask(stranger, method.branchCreate, { name: "x" }), denied);
});

test("an anonymous caller cannot cut, strip, read or change a branch of a protected database", async (t) => {
  const { host, ask } = await service(t);
  await host.branches.create(newBranch("open"));
  await enableAuth(await host.database("main"));
  await host.branches.create(newBranch("stripped", { stripAuth: true }));
  const everything = async (caller: Caller): Promise<void> => {
    const state = { branch: "main" };
    await rejects(ask(caller, method.branchList, {}));
    await rejects(ask(caller, method.branchShow, { name: "main" }));
    await rejects(ask(caller, method.branchCreate, { name: "x", from: state }));
    await rejects(ask(caller, method.branchCreate, { name: "x", from: state, stripAuth: true }));
    await rejects(ask(caller, method.branchUpdate, { name: "main", protected: false }));
    await rejects(ask(caller, method.branchDelete, { name: "main" }));
    await rejects(ask(caller, method.branchPromote, { name: "open", over: "main" }));
    await rejects(ask(caller, method.branchUndelete, { name: "main" }));
    await rejects(ask(caller, method.rangeAt, { state, range: { key: Buffer.from("k") } }));
  };
  await everything({});
  await everything(stranger);
  await everything({ metadata: { token: await tokenOf(host, "main", "reader") } });
  await everything({ metadata: { token: "forged.1" } });
  // Nor what was cut off it without its users, from elsewhere.
  await rejects(ask(stranger, method.branchDelete, { name: "stripped" }), { code: 3 });
  deepEqual(
    (await host.branches.list({ deleted: true })).map(({ name }) => name),
    ["main", "open", "stripped"],
  );

  const root = { ...stranger, metadata: { token: await tokenOf(host, "main", "root") } };
  equal((await ask(root, method.branchCreate, { name: "x", stripAuth: true })).branch?.name, "x");
  equal((await ask(root, method.branchList, {})).branches.length, 4);
});

test("root of each branch named, by the token of each", async (t) => {
  const { host, ask } = await service(t);
  await enableAuth(await host.database("main"));
  await host.branches.create(newBranch("green"));
  const ofMain = await tokenOf(host, "main", "root");
  const ofGreen = await tokenOf(host, "green", "root");
  const promotion = { name: "green", over: "main" };
  await rejects(ask({ metadata: { token: ofMain } }, method.branchPromote, promotion), { code: 16 });
  const both = { metadata: { "t4-token-main": ofMain, "t4-token-green": ofGreen } };
  match((await ask(both, method.branchPromote, promotion)).replaced?.name ?? "", /^main-old-1$/);
});

test("a request that is malformed, or names nothing, is answered so", async (t) => {
  const { ask, host } = await service(t);
  await rejects(ask({}, method.branchCreate, { name: "UPPER" }), { code: 3 });
  await rejects(ask({}, method.branchCreate, { name: "x", expiresInMs: -1n }), { code: 3, message: /expires_in_ms/ });
  await rejects(ask({}, method.branchCreate, { name: "x", from: { branch: "nope" } }), { code: 5 });
  await rejects(ask({}, method.branchShow, { name: "" }), { code: 3 });
  const future = { branch: "main", moment: { at: { case: "revision" as const, value: 99n } } };
  await rejects(ask({}, method.branchCreate, { name: "x", from: future }), { code: 11, message: /newest/ });
  await rejects(ask({}, method.branchPromote, { name: "main", over: "main" }), { code: 3 });
  await rejects(ask({}, method.branchUndelete, { name: "never" }), { code: 5 });
  equal((await host.branches.list({ deleted: true })).length, 1);
});
