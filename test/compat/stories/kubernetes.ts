import { deepEqual, equal, match, ok } from "node:assert/strict";
import { Maintenance, Compare_CompareResult as Result } from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import { bytes, type EtcdClient, text } from "../client.ts";
import { eventually, fails, type Story } from "../story.ts";
import { compare, del, get, put } from "./txn.ts";

/**
 * What kube-apiserver asks of its store, call by call (k8s.io/apiserver, pkg/storage/etcd3). It puts and deletes in
 * transactions alone, lists in pages of one revision, and watches whole prefixes with the pairs before.
 */

const PODS = "/registry/pods/";
const PODS_END = "/registry/pods0";
const COMPACTED = "etcdserver: mvcc: required revision has been compacted";
const FUTURE = "etcdserver: mvcc: required revision is a future revision";

const at = (key: string, revision: bigint) => compare(key, "modRevision", Result.EQUAL, revision);

const createPod = (client: EtcdClient, name: string, value = "{}", lease = 0n) =>
  client.txn({ compare: [at(PODS + name, 0n)], success: [put(PODS + name, value, { lease })] });
const updatePod = (client: EtcdClient, name: string, revision: bigint, value: string) =>
  client.txn({
    compare: [at(PODS + name, revision)],
    success: [put(PODS + name, value)],
    failure: [get(PODS + name)],
  });
const deletePod = (client: EtcdClient, name: string, revision: bigint) =>
  client.txn({ compare: [at(PODS + name, revision)], success: [del(PODS + name)], failure: [get(PODS + name)] });

async function pods(client: EtcdClient, count: number): Promise<void> {
  for (let n = 0; n < count; n++) await createPod(client, `pod-${String(n).padStart(2, "0")}`, `{"n":${n}}`);
}

export const kubernetesStories: Story[] = [
  {
    name: "KA1 Get: the newest, an old revision, one not reached yet, one that is gone",
    async body(client) {
      const key = `${PODS}a`;
      const missing = await client.range(key, { limit: 1n });
      equal(missing.header!.revision, 1n, "a list that finds nothing has a resource version, too");
      await createPod(client, "a", "1");
      await updatePod(client, "a", 2n, "2");
      await client.range(key, { limit: 1n });
      const old = await client.range(key, { limit: 1n, revision: 2n });
      deepEqual([text(old.kvs[0]!.value), old.header!.revision], ["1", 3n]);
      await fails(client.range(key, { limit: 1n, revision: 4n }), 11, FUTURE);
      await client.compact(3);
      await fails(client.range(key, { limit: 1n, revision: 2n }), 11, COMPACTED);
    },
  },
  {
    name: "KA2 List in pages of one revision: what is written meanwhile is not seen, count tells what remains",
    async body(client) {
      await pods(client, 12);
      const first = await client.range(PODS, { end: PODS_END, limit: 5n });
      const { revision } = first.header!;
      deepEqual([first.kvs.length, first.count, first.more], [5, 12n, true]);
      await createPod(client, "pod-055");
      await deletePod(client, "pod-07", 9n);
      const seen = first.kvs.map(({ key }) => text(key));
      for (let more = true; more; ) {
        const page = await client.range(`${seen.at(-1)}\0`, { end: PODS_END, limit: 5n, revision });
        equal(page.count, BigInt(12 - seen.length), "what remains of that revision");
        seen.push(...page.kvs.map(({ key }) => text(key)));
        more = page.more;
      }
      equal(seen.length, 12);
      ok(seen.includes(`${PODS}pod-07`) && !seen.includes(`${PODS}pod-055`));
      await client.compact(15);
      await fails(client.range(`${seen[4]}\0`, { end: PODS_END, limit: 5n, revision }), 11, COMPACTED);
    },
  },
  {
    name: "KA4 KA5 KA6 counts, sizes by keys_only, the present revision of a resource",
    async body(client) {
      await pods(client, 7);
      const count = await client.range(PODS, { end: PODS_END, countOnly: true });
      deepEqual([count.count, count.kvs.length], [7n, 0]);
      const keys = await client.range(PODS, { end: PODS_END, keysOnly: true });
      ok(keys.kvs.every(({ value, modRevision }) => value.length === 0 && modRevision > 0n));
      equal((await client.range(PODS)).header!.revision, 8n);
    },
  },
  {
    name: "KA7 Create: once; who comes second is told, without the object and with it",
    async body(client) {
      const created = await createPod(client, "a", "1");
      deepEqual([created.succeeded, created.header!.revision], [true, 2n]);
      const again = await createPod(client, "a", "2");
      deepEqual([again.succeeded, again.header!.revision, again.responses.length], [false, 2n, 0]);
      await updatePod(client, "a", 0n, "3");
      // What was deleted can be created again, and counts from one.
      await deletePod(client, "a", 2n);
      await createPod(client, "a", "4");
      const { kvs } = await client.range(`${PODS}a`, { limit: 1n });
      deepEqual([kvs[0]!.version, kvs[0]!.createRevision], [1n, 4n]);
    },
  },
  {
    name: "KA8 GuaranteedUpdate: a conflict answers the object as it is, from which it is tried again",
    async body(client) {
      await createPod(client, "a", "1");
      await updatePod(client, "a", 2n, "2");
      const conflict = await updatePod(client, "a", 2n, "stale");
      const answer = conflict.responses[0]!.response;
      ok(!conflict.succeeded && answer.case === "responseRange");
      const { modRevision, value } = answer.value.kvs[0]!;
      deepEqual([modRevision, text(value)], [3n, "2"]);
      ok((await updatePod(client, "a", modRevision, "3")).succeeded);
      // Of several at once with one revision just one gets through.
      const racers = await client.transcript.silently(() =>
        Promise.all(Array.from({ length: 20 }, (_, n) => updatePod(client, "a", 4n, `racer ${n}`))),
      );
      equal(racers.filter(({ succeeded }) => succeeded).length, 1);
      for (const { responses, succeeded } of racers) {
        const got = responses[0]!.response;
        if (!succeeded) ok(got.case === "responseRange" && got.value.kvs[0]!.modRevision === 5n);
      }
    },
  },
  {
    name: "KA9 Delete with a precondition: a conflict answers the object; one that is gone, nothing",
    async body(client) {
      await createPod(client, "a", "1");
      await updatePod(client, "a", 2n, "2");
      const conflict = await deletePod(client, "a", 2n);
      ok(!conflict.succeeded && conflict.responses[0]!.response.case === "responseRange");
      const deleted = await deletePod(client, "a", 3n);
      const answer = deleted.responses[0]!.response;
      ok(answer.case === "responseDeleteRange" && answer.value.deleted === 1n);
      const gone = await deletePod(client, "a", 3n);
      const none = gone.responses[0]!.response;
      ok(!gone.succeeded && none.case === "responseRange" && none.value.kvs.length === 0);
    },
  },
  {
    name: "KA10 KA11 the compactors elect one by compact_rev_key, and watch it",
    async body(client) {
      const key = "compact_rev_key";
      const elect = (version: bigint, revision: bigint) =>
        client.txn({
          compare: [compare(key, "version", Result.EQUAL, version)],
          success: [put(key, String(revision))],
          failure: [get(key)],
        });
      await pods(client, 5);
      const watch = client.watch();
      await watch.created(key, { startRevision: 7n });
      const won = await elect(0n, 6n);
      ok(won.succeeded);
      const lost = await elect(0n, 6n);
      const seen = lost.responses[0]!.response;
      ok(!lost.succeeded && seen.case === "responseRange" && seen.value.kvs[0]!.version === 1n);
      await client.compact(6);
      await elect(1n, 7n);
      const told = await watch.events(2);
      deepEqual(
        told.map(({ kv }) => text(kv!.value)),
        ["6", "7"],
      );
      await client.compact(7);
      await fails(client.compact(7), 11, COMPACTED);
    },
  },
  {
    name: "KA12 Watch from a list's revision: with the pair before, of deletions too, and nothing twice",
    async body(client) {
      await createPod(client, "a", "1");
      const list = await client.range(PODS, { end: PODS_END, limit: 500n });
      await updatePod(client, "a", 2n, "2");
      const watch = client.watch({ hasleader: "true" });
      const startRevision = list.header!.revision + 1n;
      await watch.created(PODS, { end: PODS_END, startRevision, prevKv: true, progressNotify: true });
      await createPod(client, "b", "1");
      await client.put("/registry/podsecurity/x", "not watched");
      await deletePod(client, "a", 3n);
      const events = await watch.events(3);
      deepEqual(
        events.map(({ type, kv, prevKv }) => [type, kv!.modRevision, prevKv === undefined ? null : text(prevKv.value)]),
        [
          [0, 3n, "1"],
          [0, 4n, null],
          [1, 6n, "2"],
        ],
      );
      // As the watcher tells creations from updates.
      ok(events[1]!.kv!.createRevision === events[1]!.kv!.modRevision);
    },
  },
  {
    name: "KA12 Watch from a revision that was compacted: told so, to list anew",
    async body(client) {
      await pods(client, 4);
      await client.compact(4);
      const watch = client.watch({ hasleader: "true" });
      await watch.created(PODS, { end: PODS_END, startRevision: 2n, prevKv: true });
      const canceled = await watch.message();
      deepEqual([canceled.canceled, canceled.compactRevision], [true, 4n]);
    },
  },
  {
    name: "KA13 RequestProgress: within a second a revision not below the one at hand, no event at or below it later",
    async body(client) {
      const watch = client.watch({ hasleader: "true" });
      await watch.created(PODS, { end: PODS_END, prevKv: true });
      await client.transcript.silently(async () => {
        let bookmark = 0n;
        let events = 0;
        for (let round = 0; round < 10; round++) {
          await createPod(client, `pod-${round}`);
          const wanted = (await client.range(PODS)).header!.revision;
          await eventually("a bookmark that is new enough", 1000, async () => {
            watch.progress();
            const message = await watch.message(1000);
            for (const event of message.events) {
              events++;
              ok(event.kv!.modRevision > bookmark, "no event at or below a bookmark");
            }
            if (message.events.length > 0) return false;
            equal(message.watchId, -1n);
            bookmark = message.header!.revision;
            return bookmark >= wanted;
          });
          ok(events >= round + 1, "all up to it was told");
        }
      });
    },
  },
  {
    name: "KA14 events and masterleases: one lease for many objects, which go with it in one revision",
    async body(client) {
      const { ID } = await client.grant(3600);
      const watch = client.watch();
      await watch.created(PODS, { end: PODS_END, prevKv: true });
      for (const name of ["c", "a", "b"]) await createPod(client, name, name, ID);
      await createPod(client, "stays", "s");
      await client.timeToLive(ID, true);
      // An update without the lease takes the object out of it, as the API's objects do.
      await updatePod(client, "b", 4n, "kept");
      await client.revoke(ID);
      const events = await watch.events(7);
      deepEqual(
        events.slice(5).map(({ kv, prevKv }) => [text(kv!.key), kv!.modRevision, text(prevKv!.value)]),
        [
          [`${PODS}a`, 7n, "a"],
          [`${PODS}c`, 7n, "c"],
        ],
      );
      const gone = createPod(client, "late", "", ID);
      await fails(gone, 5, "etcdserver: requested lease not found");
    },
  },
  {
    name: "KA15 health: a range of a key that nobody writes",
    async body(client) {
      const answer = await client.range("/registry/health", { limit: 1n });
      deepEqual([answer.kvs.length, answer.header!.revision], [0, 1n]);
    },
  },
  {
    name: "KA16 Status: a version with RequestWatchProgress, and a size",
    async body(client) {
      await client.put("a", "1");
      await client.transcript.silently(async () => {
        const status = await client.call(Maintenance.method.status, {});
        match(status.version, /^\d+\.\d+\.\d+$/);
        const [major, minor, patch] = status.version.split(".").map(Number) as [number, number, number];
        // Kubernetes' feature checker: from 3.5.13 on, or 3.4.31 of that line.
        ok(major === 3 && (minor > 5 || (minor === 5 && patch >= 13)), status.version);
        ok(status.dbSize > 0n);
      });
    },
  },
  {
    name: "KA2 KA12 names with any bytes stay in their prefix",
    async body(client) {
      for (const key of [PODS, `${PODS}\xff`, `${PODS}a/b`, "/registry/pod", PODS_END]) {
        await client.txn({ compare: [at(key, 0n)], success: [put(key, "v")] });
      }
      const { kvs } = await client.range(PODS, { end: PODS_END });
      deepEqual(
        kvs.map(({ key }) => Buffer.from(key).toString("hex")),
        [PODS, `${PODS}a/b`, `${PODS}\xff`].map((key) => Buffer.from(bytes(key)).toString("hex")),
      );
    },
  },
];
