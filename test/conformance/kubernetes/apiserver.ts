// kube-apiserver on t4: objects of several kinds are made, patched and deleted by many clients, watched by others,
// listed in pages and from the cache, compacted, while t4 is killed by SIGKILL and started again; then a branch is cut
// and served to an API server of its own. Exits with 1 if something is not as it must be.
//
//   t4-node test/conformance/kubernetes/apiserver.ts --apiserver PATH [--durability local|object] [--objects 2000]
import { spawnSync } from "node:child_process";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { freePort } from "../../contract/free-port.ts";
import { root, type ServerProcess } from "../../faults/server.ts";
import { eventually, httpGet, World } from "../../faults/world.ts";
import type { ApiClient, KubeList, KubeObject } from "./api-client.ts";
import { type Kind, kinds, type Load, runLoad, widgetDefinition, wrongIn } from "./api-load.ts";
import { type Beginning, CopyByWatch, idOf } from "./api-watcher.ts";
import { ApiServer } from "./apiserver-process.ts";

const { values: flags } = parseArgs({
  options: {
    apiserver: { type: "string", default: "kube-apiserver" },
    durability: { type: "string", default: "local" },
    objects: { type: "string", default: "2000" },
    kills: { type: "string", default: "3" },
    workers: { type: "string", default: "16" },
    keep: { type: "string" },
  },
});

const wrong: string[] = [];

function say(text: string): void {
  console.log(`${new Date().toISOString().slice(11, 19)} ${text}`);
}

function found(what: string, faults: readonly string[]): void {
  say(`${what}: ${faults.length === 0 ? "as it must be" : `${faults.length} FAULTS`}`);
  for (const fault of faults.slice(0, 10)) say(`  ${fault}`);
  wrong.push(...faults.map((fault) => `${what}: ${fault}`));
}

async function listInPages(client: ApiClient, path: string, limit: number): Promise<KubeObject[]> {
  const items: KubeObject[] = [];
  let more = "";
  do {
    const next = more === "" ? "" : `&continue=${encodeURIComponent(more)}`;
    const page = await client.list(`${path}?limit=${limit}${next}`);
    items.push(...page.items);
    more = page.metadata.continue ?? "";
    const left = page.metadata.remainingItemCount;
    if (more !== "" && left === undefined) wrong.push(`${path}: a page without the count of what is left`);
  } while (more !== "");
  return items;
}

async function prepare(client: ApiClient): Promise<string[]> {
  await client.must("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", widgetDefinition);
  const namespaces = Array.from({ length: 25 }, (_, i) => `smoke-${i}`);
  for (const name of namespaces) await client.must("POST", "/api/v1/namespaces", { metadata: { name } });
  await eventually(
    "custom resources are served",
    30_000,
    () => client.call("GET", kinds[2]!.all),
    ({ code }) => code === 200,
  );
  return namespaces;
}

/** Kills t4 at even parts of the load. */
async function loadWithKills(load: Load, t4: ServerProcess): Promise<void> {
  const times = Number(flags.kills);
  const abort = new AbortController();
  let done = 0;
  const running = runLoad(load, abort.signal, (count) => (done = count));
  running.catch(() => abort.abort());
  for (let kill = 1; kill <= times && !abort.signal.aborted; kill++) {
    while (done < (load.objects * kill) / (times + 1) && !abort.signal.aborted) await sleep(20);
    await t4.stop("SIGKILL");
    say(`t4 is killed after ${done} objects`);
    await sleep(300);
    say(`t4 answers again ${Math.round(await t4.start())} ms after its start`);
  }
  await running;
}

async function checkLists(client: ApiClient, load: Load): Promise<void> {
  for (const kind of kinds) {
    const expected = load.expected.get(kind)!;
    const consistent = await client.list(kind.all);
    found(`${kind.name}, ${consistent.items.length} by a consistent list`, wrongIn(consistent.items, expected));
    const revision = consistent.metadata.resourceVersion;
    const exact = await client.list(`${kind.all}?resourceVersion=${revision}&resourceVersionMatch=Exact&limit=5000`);
    found(`${kind.name}, exactly at ${revision}`, wrongIn(exact.items, expected));
    const cached = await client.list(`${kind.all}?resourceVersion=${revision}&resourceVersionMatch=NotOlderThan`);
    found(`${kind.name}, from the cache`, wrongIn(cached.items, expected));
    found(`${kind.name}, in pages of 37`, wrongIn(await listInPages(client, kind.all, 37), expected));
  }
}

/** What kube-apiserver lists, which comes from its caches, against the keys of the store. */
async function checkStore(client: ApiClient, url: string): Promise<void> {
  for (const kind of kinds) {
    const { items } = await client.list(kind.all);
    const stored = await revisionsOf(url, `/registry/${kind.stored}/`);
    const faults: string[] = [];
    for (const object of items) {
      const revision = stored.get(idOf(object));
      const listed = object.metadata.resourceVersion;
      if (revision !== listed) faults.push(`${idOf(object)} is at ${listed}, in the store at ${revision}`);
    }
    if (stored.size !== items.length) faults.push(`${stored.size} are stored, ${items.length} listed`);
    found(`${kind.name}, as they are stored`, faults);
  }
}

/** "namespace/name" → modification revision of all keys below a prefix. */
async function revisionsOf(url: string, prefix: string): Promise<Map<string, string>> {
  const end = `${prefix.slice(0, -1)}0`; // "0" follows "/"
  const body = JSON.stringify({ key: btoa(prefix), range_end: btoa(end), keys_only: true });
  const answer = await fetch(`${url}/v3/kv/range`, { method: "POST", body });
  const { kvs = [] } = (await answer.json()) as { kvs?: { key: string; mod_revision: string }[] };
  return new Map(kvs.map(({ key, mod_revision }) => [atob(key).slice(prefix.length), mod_revision]));
}

type Watchers = ReadonlyMap<Kind, readonly CopyByWatch[]>;

async function checkWatchers(client: ApiClient, watchers: Watchers): Promise<void> {
  for (const [kind, copies] of watchers) {
    const list = await client.list(kind.all);
    const last = Math.max(...list.items.map(({ metadata }) => Number(metadata.resourceVersion)));
    for (const copy of copies) {
      const faults = [...copy.wrong];
      if (!(await copy.untilAt(last, 30_000))) faults.push(`is at ${copy.revision}, not at ${last}`);
      faults.push(...differences(copy, list));
      const { events, bookmarks, resumed, relisted } = copy;
      const what = `${events} events, ${bookmarks} bookmarks, begun again ${resumed} times, read anew ${relisted}`;
      found(`a watcher of ${kind.name}, ${what}`, faults);
    }
  }
}

function differences(watcher: CopyByWatch, list: KubeList): string[] {
  const faults: string[] = [];
  for (const object of list.items) {
    const revision = watcher.copy.get(idOf(object))?.metadata.resourceVersion;
    const wanted = object.metadata.resourceVersion;
    if (revision !== wanted) faults.push(`${idOf(object)} is at ${revision}, not at ${wanted}`);
  }
  if (watcher.copy.size !== list.items.length) faults.push(`has ${watcher.copy.size}, not ${list.items.length}`);
  return faults;
}

/** What is older than two compactions is gone: lists and their pages, and watches, are told so. */
async function checkCompaction(client: ApiClient, early: { revision: string; continue: string }): Promise<void> {
  const path = "/api/v1/configmaps";
  const exact = `${path}?resourceVersion=${early.revision}&resourceVersionMatch=Exact&limit=1`;
  const { answer: isGone } = await eventually(
    "the first revision is compacted",
    60_000,
    () => client.call("GET", exact),
    ({ code }) => code !== 200,
  );
  const faults = isGone.code === 410 ? [] : [`list of ${early.revision}: ${isGone.code} ${isGone.body.reason}`];
  const page = await client.call("GET", `${path}?limit=10&continue=${encodeURIComponent(early.continue)}`);
  // One that expired comes with a token to go on from, at a revision of now.
  if (page.code !== 410) faults.push(`a page of ${early.revision}: ${page.code}`);
  const goOn = page.body.metadata.continue;
  if (goOn === undefined) faults.push("the expired page has no token to go on from");
  else await client.list(`${path}?limit=10&continue=${encodeURIComponent(goOn)}`);
  found("what is compacted", faults);
}

/** The cluster as it is, on a branch: what is changed there is not seen here, and the other way round. */
async function checkBranch(world: World, t4: ServerProcess, url: string, client: ApiClient, load: Load): Promise<void> {
  const begunMs = performance.now();
  const cut = spawnSync(join(root, "bin/t4"), ["branch", "create", "rehearsal", `--endpoints=${t4.endpoint}`]);
  if (cut.status !== 0) throw new Error(`t4 branch create: ${cut.stderr}`);
  say(`t4 branch create: ${Math.round(performance.now() - begunMs)} ms`);
  const other = await ApiServer.start(flags.apiserver, world.path("kube-branch"), url);
  const there = other.client();
  try {
    await checkLists(there, load);
    await checkStore(there, url);
    const before = await client.list("/api/v1/configmaps");
    for (const namespace of load.namespaces) await there.must("DELETE", kinds[0]!.path(namespace));
    await client.must("POST", kinds[0]!.path(load.namespaces[0]!), { metadata: { name: "only-here" } });
    const faults: string[] = [];
    const left = await there.list("/api/v1/configmaps?labelSelector=");
    const ours = left.items.filter(({ metadata }) => metadata.namespace!.startsWith("smoke-"));
    for (const object of ours.filter(({ metadata }) => metadata.name !== "kube-root-ca.crt")) {
      faults.push(`${idOf(object)} is left on the branch`);
    }
    const after = await client.list("/api/v1/configmaps");
    if (after.items.length !== before.items.length + 1) {
      faults.push(`${before.items.length} objects before, ${after.items.length} after one more was made`);
    }
    found("a branch with an API server of its own", faults);
  } finally {
    there.close();
    await other.stop();
    if (flags.keep !== undefined) cpSync(other.log, `${flags.keep}-branch.log`);
  }
}

async function metricOf(t4: ServerProcess, pattern: RegExp): Promise<string[]> {
  const { body } = await httpGet(t4, "/metrics");
  return body.split("\n").filter((line) => pattern.test(line));
}

async function main(): Promise<void> {
  const isObject = flags.durability === "object";
  await using world = await World.create(isObject ? "s3" : "directory");
  const branchUrl = `http://127.0.0.1:${await freePort()}`;
  const t4 = await world.server("data", [
    `--durability=${flags.durability}`,
    `--listen-branch=rehearsal=${branchUrl}`,
    "--watch-progress-notify-interval=5s",
  ]);
  await t4.start();
  const api = await ApiServer.start(flags.apiserver, world.path("kube"), t4.url);
  say(`kube-apiserver is ready, on a t4 with --durability=${flags.durability}`);
  const client = api.client();
  try {
    const namespaces = await prepare(client);
    await client.must("POST", kinds[0]!.path("default"), { metadata: { name: "a" } });
    await client.must("POST", kinds[0]!.path("default"), { metadata: { name: "b" } });
    const page = await client.list(`${kinds[0]!.path("default")}?limit=1`);
    const early = { revision: page.metadata.resourceVersion!, continue: page.metadata.continue! };
    const beginnings: Beginning[] = ["list", "watch-list", "list"];
    const watchers = new Map(
      kinds.map((kind) => [kind, beginnings.map((how) => new CopyByWatch(api.client(), kind.all, how))]),
    );
    for (const copies of watchers.values()) for (const copy of copies) copy.start();

    const tally = { acknowledged: 0, unknown: 0, longestGapMs: 0 };
    const expected = new Map(kinds.map((kind) => [kind, new Map()]));
    const objects = Number(flags.objects);
    const load: Load = { client, namespaces, objects, workers: Number(flags.workers), expected, tally };
    const begunMs = performance.now();
    await loadWithKills(load, t4);
    const seconds = (performance.now() - begunMs) / 1000;
    const gap = Math.round(tally.longestGapMs);
    say(`${tally.acknowledged} calls in ${seconds.toFixed(1)} s, ${tally.unknown} tried again, longest ${gap} ms`);

    await checkLists(client, load);
    await checkStore(client, t4.url);
    await checkWatchers(client, watchers);
    await checkCompaction(client, early);
    for (const copies of watchers.values()) await Promise.all(copies.map((copy) => copy.stop()));
    await checkBranch(world, t4, branchUrl, client, load);
    const streamed = await metricOf(t4, /^grpc_server_started_total.*"RangeStream"/);
    say(`RangeStream since the last start: ${streamed.join().split(" ").at(-1)}`);
    if (!api.isRunning) wrong.push("kube-apiserver has ended");
  } finally {
    client.close();
    await api.stop();
    if (flags.keep !== undefined) cpSync(api.log, `${flags.keep}.log`);
  }
  say(wrong.length === 0 ? "all as it must be" : `${wrong.length} faults`);
  process.exitCode = wrong.length === 0 ? 0 : 1;
}

await main();
