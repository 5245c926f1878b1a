import { deepEqual, equal, match, ok } from "node:assert/strict";
import { describe, test } from "node:test";
import { etcdIsMissing, type ServerProcess, startEtcd } from "./etcd-process.ts";
import { stableNames, withoutMeaning } from "./metric-names.ts";
import { serverIsMissing, startServer } from "./server-runner.ts";

const known = new Set(stableNames);

/** What is served over plain HTTP beside the gateway, on our server and on a real etcd. */
const servers = [
  { name: "t4", missing: serverIsMissing(), start: (flags: string[]) => startServer(flags) },
  { name: "etcd", missing: etcdIsMissing(), start: (flags: string[]) => startEtcd({ flags }) },
];

for (const { name, missing, start } of servers) {
  describe(`HTTP of ${name}`, { skip: missing }, () => {
    async function using(flags: string[], body: (get: Get, server: ServerProcess) => Promise<void>): Promise<void> {
      const server = await start(flags);
      try {
        await body((path, init) => fetch(`http://${server.address}${path}`, init), server);
      } finally {
        await server.stop();
      }
    }

    test("B2.4 etcd's stable metric names are told, or it is written down why not", () =>
      using([], async (get) => {
        for (const path of ["/livez", "/readyz"]) await (await get(path)).text();
        await get("/v3/kv/range", { method: "POST", body: '{"key":"YQ=="}' }).then((answer) => answer.text());
        const text = await (await get("/metrics")).text();
        const told = new Set(Array.from(text.matchAll(/^# TYPE (\S+) /gm), ([, metric]) => metric!));
        const reasons = Object.keys(withoutMeaning);
        const isExcused = (metric: string) => reasons.some((prefix) => metric.startsWith(prefix));
        if (name === "t4")
          deepEqual(
            stableNames.filter((metric) => told.has(metric) === isExcused(metric)),
            [],
          );
        // What a single etcd tells is in the list: it is not out of date.
        else
          deepEqual(
            [...told].filter((metric) => /^etcd_(?!debugging|grpc_proxy)/.test(metric) && !known.has(metric)),
            [],
          );
        ok(told.has("etcd_debugging_lease_ttl_total"));
      }));

    test("B2.1 B2.2 B2.3 B2.6 health, checks, versions, and what is not there", () =>
      using([], async (get) => {
        deepEqual(await (await get("/health")).json(), { health: "true", reason: "" });
        for (const method of ["POST", "PUT", "DELETE"]) equal((await get("/health", { method })).status, 405);
        for (const query of ["serializable=true", "exclude=NOSPACE", "exclude=NOSPACE&exclude=CORRUPT"]) {
          equal((await get(`/health?${query}`)).status, 200);
        }
        for (const [path, checks] of [
          ["/livez", ["serializable_read"]],
          ["/readyz", ["data_corruption", "serializable_read", "linearizable_read", "non_learner"]],
        ] as const) {
          deepEqual(await statusAndText(get(path)), [200, "ok\n"]);
          for (const check of checks) deepEqual(await statusAndText(get(`${path}/${check}`)), [200, "ok\n"]);
          const [status, text] = await statusAndText(get(`${path}?verbose`));
          equal(status, 200);
          for (const check of checks) ok(text.includes(`[+]${check} ok`), text);
          const [, without] = await statusAndText(get(`${path}?verbose&exclude=${checks[0]}`));
          ok(!without.includes(`[+]${checks[0]} ok`), without);
          equal((await get(`${path}/nonsense`)).status, 404);
        }
        const version = (await (await get("/version")).json()) as Record<string, string>;
        match(version["etcdserver"]!, /^3\.6\.\d+$/);
        match(version["etcdcluster"]!, /^3\.6\.0$/);
        for (const path of ["/", "/v2/keys", "/v2/members", "/nonsense"]) equal((await get(path)).status, 404, path);
      }));

    test("B2.5 /debug/vars always, /debug/pprof with --enable-pprof alone", async () => {
      await using([], async (get) => {
        const answer = await get("/debug/vars");
        equal(answer.status, 200);
        match(answer.headers.get("content-type")!, /^application\/json/);
        const vars = (await answer.json()) as Record<string, unknown>;
        ok("cmdline" in vars && "memstats" in vars, Object.keys(vars).join());
        equal((await get("/debug/pprof/")).status, 404);
        equal((await get("/debug/pprof/heap")).status, 404);
      });
      await using(["--enable-pprof"], async (get) => {
        equal((await get("/debug/pprof/")).status, 200);
        const profile = await get("/debug/pprof/profile?seconds=1");
        equal(profile.status, 200);
        ok((await profile.arrayBuffer()).byteLength > 100);
        const heap = await get("/debug/pprof/heap?seconds=1");
        equal(heap.status, 200);
        ok((await heap.arrayBuffer()).byteLength > 100);
      });
    });
  });
}

type Get = (path: string, init?: RequestInit) => Promise<Response>;

async function statusAndText(answering: Promise<Response>): Promise<[number, string]> {
  const answer = await answering;
  return [answer.status, await answer.text()];
}
