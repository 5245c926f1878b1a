import { deepEqual, equal, match, ok } from "node:assert/strict";
import { request } from "node:http";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Program, run } from "../compat/etcdctl/command-line.ts";
import { startServer } from "../compat/server-runner.ts";

/** t4.v1.Repository as JSON, on a server of its own. */

const b64 = (value: string): string => Buffer.from(value).toString("base64");
const text = (value: unknown): string => Buffer.from(String(value), "base64").toString();

interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: JSON of many kinds
  readonly lines: any[];
}

let server: Awaited<ReturnType<typeof startServer>>;
let program: Program;

before(async () => {
  server = await startServer();
  const path = fileURLToPath(new URL("../../bin/t4", import.meta.url));
  program = { path, env: { T4_ENDPOINTS: server.address } };
});
after(async () => server.stop());

function post(path: string, body: object, headers: Record<string, string> = {}): Promise<Answer> {
  const [host, port] = server.address.split(":") as [string, string];
  return new Promise((resolve, reject) => {
    const call = request({ host, port, path: `/t4/v1/${path}`, method: "POST", headers }, (response) => {
      let heard = "";
      response.on("data", (chunk: Buffer) => {
        heard += chunk.toString();
      });
      response.on("end", () => {
        const lines = heard.split("\n").filter((line) => line !== "");
        resolve({ status: response.statusCode!, lines: lines.map((line) => JSON.parse(line)) });
      });
    });
    call.on("error", reject);
    call.end(JSON.stringify(body));
  });
}

async function t4(...args: string[]): Promise<void> {
  const { code, stderr } = await run(program, args);
  equal(code, 0, `${args.join(" ")}: ${stderr}`);
}

test("branches are made, compared, merged and restored by JSON", { timeout: 120_000 }, async () => {
  await t4("put", "k", "base");
  const made = await post("branch/create", { name: "fix", from: { branch: "main" }, expires_in_ms: "3600000" });
  deepEqual([made.status, made.lines[0].branch.name, made.lines[0].revision], [200, "fix", "2"]);
  await t4("put", "k", "fixed", "--branch", "fix");
  await t4("put", "new", "1", "--branch", "fix");

  const diff = await post("diff", { from: { branch: "main" }, to: { branch: "fix" } });
  const [page, last] = diff.lines.map(({ result }) => result);
  deepEqual(
    page.differences.map((each: Record<string, { value: string } | string>) => [
      text(each["key"]),
      each["before"] && text((each["before"] as { value: string }).value),
      each["after"] && text((each["after"] as { value: string }).value),
    ]),
    [
      ["k", "base", "fixed"],
      ["new", undefined, "1"],
    ],
  );
  deepEqual([last.summary.added, last.summary.changed, last.summary.to_revision], ["1", "1", "4"]);
  const keys = await post("diff", { from: { branch: "main" }, to: { branch: "fix" }, key: b64("k"), keys_only: true });
  equal(keys.lines[0].result.differences.length, 1);
  equal(keys.lines[0].result.differences[0].after.value, undefined);

  await t4("put", "k", "meanwhile");
  const conflict = await post("merge", { source: "fix", into: "main", apply: true });
  deepEqual(
    [text(conflict.lines[0].result.conflicts[0].key), conflict.lines.at(-1).result.summary.applied],
    ["k", undefined],
  );
  const merged = await post("merge", { source: "fix", into: "main", apply: true, on_conflict: "THEIRS" });
  deepEqual([merged.lines.at(-1).result.summary.applied, merged.lines.at(-1).result.summary.transactions], ["2", "1"]);

  const past = await post("rangeat", { state: { branch: "main", moment: { revision: 3 } }, range: { key: b64("k") } });
  equal(text(past.lines[0].range.kvs[0].value), "meanwhile");
  const restored = await post("branch/restore", { name: "main", moment: { revision: 2 }, keep_as: "broken" });
  deepEqual([restored.lines[0].restored.name, restored.lines[0].replaced.name], ["main", "broken"]);
  deepEqual(
    (await post("branch/list", {})).lines[0].branches.map(({ name }: { name: string }) => name),
    ["broken", "fix", "main"],
  );

  const usage = await post("usage", { prefix_depth: 1 });
  equal(usage.lines[0].branches.length, 3);
  ok(usage.lines[0].requests.length > 5);
  deepEqual((await post("retention/get", { branch: "fix" })).lines[0].own, undefined);
  const retention = { log: "1h", checkpoints: "none" };
  const preview = await post("retention/set", { branch: "fix", retention, preview: true });
  deepEqual(preview.lines[0].retention, retention);
});

test("what is wrong is told as by gRPC", async () => {
  const told = async (path: string, body: object): Promise<unknown[]> => {
    const { status, lines } = await post(path, body);
    const { code, message } = lines[0].error ?? lines[0];
    return [status, code, message];
  };
  deepEqual(await told("branch/show", { name: "fixx" }), [404, 5, "there is no branch named fixx; did you mean fix?"]);
  const far = { branch: "fix", moment: { revision: "999" } };
  const [status, code, message] = await told("diff", { from: { branch: "fix" }, to: far });
  deepEqual([status, code], [400, 11]);
  match(String(message), /^revision 999 is not there yet: the newest in the store is 4 /);
  deepEqual((await told("diff", { from: { branch: "fix" } })).slice(0, 2), [400, 3]);
  deepEqual((await told("usage", { prefix_depth: 99 })).slice(0, 2), [400, 3]);
  deepEqual((await told("log", { branch: "fix", limit: "-1" })).slice(0, 2), [400, 3]);
  deepEqual((await told("merge", { source: "fix", into: "fix", on_conflict: 7 })).slice(0, 2), [400, 3]);
  deepEqual((await told("branch/restore", { name: "fix" })).slice(0, 2), [400, 3]);
  await t4("branch", "protect", "fix");
  const [refused, , why] = await told("branch/delete", { name: "fix" });
  deepEqual([refused, why], [400, "branch fix is protected: t4 branch unprotect fix"]);
  equal((await post("nothing", {})).status, 404);
});

test("a web page that a browser on this machine shows can do nothing", async () => {
  const { status, lines } = await post("branch/delete", { name: "broken" }, { origin: "https://evil.example" });
  deepEqual([status, lines[0].code], [403, 7]);
  const posed = { origin: "https://evil.example", "grpc-metadata-origin": "" };
  equal((await post("branch/create", { name: "evil" }, posed)).status, 403);
  equal((await post("diff", { from: { branch: "fix" }, to: { branch: "fix" } }, posed)).status, 403);
});

test("an anonymous caller cannot cut, strip or read a branch of a protected database", async () => {
  await t4("user", "add", "root:pw");
  await t4("user", "add", "alice:pw");
  await t4("role", "add", "root");
  await t4("user", "grant-role", "root", "root");
  await t4("auth", "enable");
  const state = { branch: "main" };
  const calls: [string, object][] = [
    ["branch/create", { name: "stolen", from: state }],
    ["branch/create", { name: "stolen", from: state, strip_auth: true }],
    ["branch/list", {}],
    ["branch/show", { name: "main" }],
    ["branch/update", { name: "main", protected: false }],
    ["branch/delete", { name: "fix" }],
    ["branch/undelete", { name: "fix" }],
    ["branch/promote", { name: "fix", over: "main" }],
    ["branch/restore", { name: "main", moment: { revision: 2 } }],
    ["log", { branch: "main" }],
    ["diff", { from: state, to: { branch: "fix" } }],
    ["merge", { source: "main", into: "fix", apply: true }],
    ["rangeat", { state, range: { key: b64("k") } }],
    ["usage", {}],
    ["usage", { branch: "main" }],
    ["retention/get", { branch: "main" }],
    ["retention/set", { branch: "main", preview: true }],
  ];
  const login = async (name: string): Promise<string> => {
    const { stdout } = await run({ path: "curl", env: {} }, [
      "-s",
      `http://${server.address}/v3/auth/authenticate`,
      "-d",
      JSON.stringify({ name, password: "pw" }),
    ]);
    return JSON.parse(stdout.toString()).token;
  };
  const alice = await login("alice");
  for (const [path, body] of calls) {
    for (const headers of [{}, { authorization: alice }, { authorization: "forged.1" }] as Record<string, string>[]) {
      const { status } = await post(path, body, headers);
      ok([400, 401, 403].includes(status), `${path} as ${headers["authorization"] ?? "nobody"}: ${status}`);
    }
  }
  const root = { authorization: await login("root") };
  const { lines } = await post("branch/list", {}, root);
  deepEqual(
    lines[0].branches.map(({ name }: { name: string }) => name),
    ["broken", "fix", "main"],
    "nothing was made, nothing deleted",
  );
  equal((await post("usage", {}, root)).status, 200);
  equal((await post("branch/create", { name: "cut", from: state }, root)).status, 200);
});
