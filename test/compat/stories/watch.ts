import { deepEqual, equal, ok } from "node:assert/strict";
import { WatchCreateRequest_FilterType as Filter } from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import type { Event } from "../../../src/gen/mvccpb/kv_pb.ts";
import { text } from "../client.ts";
import { eventually, fails, type Story, sleep } from "../story.ts";
import { del, nested, put } from "./txn.ts";

const brief = (events: readonly Event[]): string[] =>
  events.map((event) => `${event.type === 1 ? "-" : "+"}${text(event.kv!.key)}@${event.kv!.modRevision}`);

export const watchStories: Story[] = [
  {
    name: "W1 W4 created comes first, with the current revision; then events",
    async body(client) {
      await client.put("a", "1");
      const watch = client.watch();
      const created = await watch.created("a");
      equal(created.header!.revision, 2n);
      await client.put("a", "2");
      const message = await watch.message();
      deepEqual(brief(message.events), ["+a@3"]);
      equal(message.header!.revision, 3n);
      await client.put("b", "not watched");
      await client.del("a");
      deepEqual(brief((await watch.message()).events), ["-a@5"]);
      await watch.quiet();
    },
  },
  {
    name: "W2 W21 watch ids, in the order of the requests",
    async body(client) {
      const watch = client.watch();
      for (const [key, watchId] of [
        ["a", 0n],
        ["b", 0n],
        ["c", 5n],
        ["d", 0n],
        ["e", 5n],
        ["f", -7n],
        ["g", 3n],
        ["h", 0n],
        ["i", 0n],
      ] as const) {
        watch.create(key, { watchId });
      }
      for (let i = 0; i < 9; i++) await watch.message();
      await client.put("c", "1");
      await watch.message();
      await client.put("f", "1");
      await watch.message();
      const second = client.watch();
      await second.created("a", { watchId: 2n ** 63n - 1n });
      await second.created("a", { watchId: -(2n ** 63n) });
    },
  },
  {
    name: "W3 the kinds of ranges",
    async body(client) {
      const watch = client.watch();
      await watch.created("a");
      await watch.created("a", { end: "c" });
      await watch.created("b", { end: "\0" });
      await watch.created("", { end: "\0" });
      await watch.created("");
      await watch.created("", { end: "b" });
      for (const [key, end] of [
        ["b", "a"],
        ["a", "a"],
        ["\xff", "a"],
      ] as const)
        await watch.created(key, { end });
      const seen = new Map<bigint, string[]>();
      await client.transcript.silently(async () => {
        for (const key of ["a", "b", "c", "\0", "\xff"]) await client.put(key, "v");
        for (let events = 0; events < 14; ) {
          const message = await watch.message();
          seen.set(message.watchId, [...(seen.get(message.watchId) ?? []), ...brief(message.events)]);
          events += message.events.length;
        }
        await watch.quiet();
      });
      deepEqual(seen.get(0n), ["+a@2"]);
      deepEqual(seen.get(1n), ["+a@2", "+b@3"]);
      deepEqual(seen.get(2n), ["+b@3", "+c@4", "+\xff@6"]);
      deepEqual(seen.get(3n), ["+a@2", "+b@3", "+c@4", "+\0@5", "+\xff@6"]);
      deepEqual(seen.get(4n), ["+\0@5"]);
      deepEqual(seen.get(5n), ["+a@2", "+\0@5"]);
    },
  },
  {
    name: "W4 W13 history from a start revision, in order",
    async body(client) {
      await client.put("a", "1");
      await client.put("b", "1");
      await client.txn({ success: [put("c", "1"), put("a", "2"), del("b")] });
      await client.del("a");
      await client.put("x", "outside");
      await client.put("a", "3");
      const watch = client.watch();
      await watch.created("a", { end: "d", startRevision: 1n });
      deepEqual(brief(await watch.events(7)), ["+a@2", "+b@3", "+c@4", "+a@4", "-b@4", "-a@5", "+a@7"]);
      await watch.created("a", { end: "d", startRevision: 4n });
      deepEqual(brief(await watch.events(5)), ["+c@4", "+a@4", "-b@4", "-a@5", "+a@7"]);
      await watch.created("a", { startRevision: 7n });
      await watch.events(1);
      await watch.created("a", { startRevision: 8n });
      await watch.quiet();
    },
  },
  {
    name: "W5 a negative start revision",
    async body(client) {
      const watch = client.watch();
      await watch.created("a", { startRevision: -1n });
      await watch.created("a", { startRevision: -(2n ** 63n) });
      // The order of the checks.
      await watch.created("b", { end: "a", startRevision: -1n });
      await watch.created("a", { watchId: 5n });
      await watch.created("b", { end: "a", watchId: 5n });
      await watch.created("a", { startRevision: -1n, watchId: 5n });
      await watch.created("c");
      await client.put("c", "1");
      await watch.message();
    },
  },
  {
    name: "W7 a start revision in the future",
    async body(client) {
      const watch = client.watch();
      await watch.created("a", { startRevision: 4n });
      await client.put("a", "1");
      await client.put("a", "2");
      watch.progress();
      await watch.quiet();
      await client.put("a", "3");
      deepEqual(brief((await watch.message()).events), ["+a@4"]);
      await client.put("a", "4");
      deepEqual(brief((await watch.message()).events), ["+a@5"]);
      const far = client.watch();
      await far.created("a", { startRevision: 2n ** 62n });
      await client.put("a", "5");
      await far.quiet();
    },
  },
  {
    name: "W8 a compacted start revision",
    async body(client) {
      for (let i = 0; i < 5; i++) await client.put("a", String(i));
      await client.compact(4);
      const watch = client.watch();
      const created = await watch.created("a", { startRevision: 3n });
      ok(created.created && !created.canceled);
      const canceled = await watch.message();
      ok(canceled.canceled);
      equal(canceled.compactRevision, 4n);
      equal(canceled.header!.revision, 0n);
      await watch.created("a", { startRevision: 4n });
      deepEqual(brief(await watch.events(3)), ["+a@4", "+a@5", "+a@6"]);
      // From then on the stream gets no answer to a progress request, and the id is taken, until it is cancelled, too.
      watch.progress();
      await watch.quiet();
      equal((await watch.created("a", { watchId: 9n, startRevision: 1n })).watchId, 9n);
      ok((await watch.message()).canceled);
      ok((await watch.created("a", { watchId: 9n })).canceled);
      for (const id of [created.watchId, 9n]) {
        watch.cancel(id);
        ok((await watch.message()).canceled);
      }
      watch.progress();
      equal((await watch.message()).watchId, -1n);
    },
  },
  {
    name: "W9 filters",
    async body(client) {
      const watch = client.watch();
      await watch.created("a", { end: "z", filters: [Filter.NOPUT] });
      await watch.created("a", { end: "z", filters: [Filter.NODELETE] });
      await watch.created("a", { end: "z", filters: [Filter.NODELETE, Filter.NOPUT, Filter.NOPUT, 7 as Filter] });
      await client.transcript.silently(async () => {
        await client.put("a", "1");
        await client.del("a");
        await client.txn({ success: [put("b", "1"), nested([put("c", "1")]), del("x")] });
        await client.txn({ success: [put("d", "1"), del("b", "d")] });
        const seen = new Map<bigint, string[]>();
        for (let events = 0; events < 7; ) {
          const message = await watch.message();
          seen.set(message.watchId, [...(seen.get(message.watchId) ?? []), ...brief(message.events)]);
          events += message.events.length;
        }
        deepEqual(seen.get(0n), ["-a@3", "-b@5", "-c@5"]);
        deepEqual(seen.get(1n), ["+a@2", "+b@4", "+c@4", "+d@5"]);
        await watch.quiet();
      });
    },
  },
  {
    name: "W10 W11 prev_kv and what a DELETE event carries",
    async body(client) {
      await client.grant(100, 5);
      const watch = client.watch();
      await watch.created("a", { end: "z", prevKv: true });
      await client.put("a", "1", { lease: 5n });
      await client.put("a", "2");
      await client.del("a");
      await client.put("a", "3");
      await client.txn({ success: [put("b", "1"), put("a", "4")] });
      await client.del("a", "z");
      const events = await watch.events(8);
      equal(events[0]!.prevKv, undefined);
      const deleted = events[2]!.kv!;
      deepEqual([deleted.createRevision, deleted.version, deleted.lease, deleted.value.length], [0n, 0n, 0n, 0]);
      const history = client.watch();
      await history.created("a", { end: "z", prevKv: true, startRevision: 1n });
      await history.events(8);
    },
  },
  {
    name: "W10 prev_kv is absent where what it would tell is compacted",
    async body(client) {
      const live = client.watch();
      await live.created("a", { prevKv: true });
      await client.put("a", "1");
      await client.put("a", "2");
      await client.del("a");
      await client.put("a", "3");
      await client.put("a", "4");
      await live.events(5);
      await client.compact(4, true);
      const later = client.watch();
      await later.created("a", { prevKv: true, startRevision: 4n });
      await later.events(3);
    },
  },
  {
    name: "W12 all events of one revision come in one message",
    async body(client) {
      const watch = client.watch();
      await watch.created("k", { end: "l" });
      await client.transcript.silently(async () => {
        const puts = Array.from({ length: 100 }, (_, i) => put(`k${String(i).padStart(3, "0")}`, "v".repeat(20_000)));
        for (const half of [puts.slice(0, 50), puts.slice(50)]) await client.txn({ success: half });
        const first = await watch.message();
        equal(first.events.length, 50);
        equal((await watch.message()).events.length, 50);
        await client.del("k", "l");
        const deleted = await watch.message();
        equal(deleted.events.length, 100);
        ok(!deleted.fragment);
      });
    },
  },
  {
    name: "W12 fragments",
    async body(client) {
      const watch = client.watch();
      await watch.created("k", { end: "l", fragment: true, prevKv: true });
      await client.transcript.silently(async () => {
        for (let i = 0; i < 40; i++) await client.put(`k${String(i).padStart(2, "0")}`, "v".repeat(100_000));
        let events = 0;
        while (events < 40) events += (await watch.message()).events.length;
        await client.del("k", "l");
        const sizes: number[] = [];
        for (;;) {
          const message = await watch.message();
          sizes.push(message.events.length);
          ok(message.events.every((event) => event.kv!.modRevision === 42n));
          if (!message.fragment) break;
        }
        // 40 events of 100 kB with their previous values: 20 fit into 1.5 MiB + 512 KiB.
        deepEqual(sizes, [20, 20]);
      });
    },
  },
  {
    name: "W14 progress notifications of quiet watchers",
    async body(client) {
      await client.put("b", "1");
      const watch = client.watch();
      await watch.created("a", { progressNotify: true });
      const quiet = await watch.message();
      deepEqual([quiet.watchId, quiet.header!.revision, quiet.events.length], [0n, 2n, 0]);
      await client.transcript.silently(async () => {
        await client.put("b", "2");
        await eventually("told of revision 3", 2000, async () => (await watch.message()).header!.revision === 3n);
      });
    },
  },
  {
    name: "W15 a progress request is answered once for the stream",
    async body(client) {
      const watch = client.watch();
      await watch.created("a");
      await watch.created("b", { end: "c" });
      await client.put("x", "1");
      await client.transcript.silently(async () => {
        // A synced stream may take a moment to know it: the client repeats its request.
        await eventually("an answer at the head's revision", 3000, async () => {
          watch.progress();
          const answer = await watch.message(500);
          deepEqual([answer.watchId, answer.events.length, answer.created], [-1n, 0, false]);
          return answer.header!.revision === 2n;
        });
      });
    },
  },
  {
    name: "W15 a stream without watchers gets no answer to a progress request",
    async body(client) {
      const watch = client.watch();
      watch.progress();
      await watch.quiet(250);
      await watch.created("a");
    },
  },
  {
    name: "W16 cancel",
    async body(client) {
      const watch = client.watch();
      await watch.created("a");
      await watch.created("a");
      watch.cancel(9n);
      watch.cancel(0n);
      const canceled = await watch.message();
      deepEqual([canceled.watchId, canceled.canceled, canceled.compactRevision], [0n, true, 0n]);
      await client.put("a", "1");
      equal((await watch.message()).watchId, 1n);
      watch.cancel(0n);
      await watch.quiet();
      // An id is not given again.
      await watch.created("a");
      await watch.created("a", { watchId: 1n });
      watch.cancel(1n);
      await watch.message();
      await watch.created("a", { watchId: 1n });
    },
  },
  {
    name: "W17 an empty request is ignored",
    async body(client) {
      const watch = client.watch();
      watch.raw.send(new Uint8Array(0));
      watch.send({});
      await watch.created("a");
    },
  },
  {
    name: "a malformed request ends the stream",
    async body(client) {
      const watch = client.watch();
      watch.raw.send(Buffer.from("0801", "hex"));
      await fails(
        watch.next(),
        13,
        "grpc: failed to unmarshal the received message: proto: wrong wireType = 0 for field CreateRequest",
      );
    },
  },
  {
    name: "a client that has finished sending goes on being told of events",
    async body(client) {
      const watch = client.watch();
      await watch.created("a");
      watch.raw.halfClose();
      await sleep(50);
      await client.put("a", "1");
      await watch.message();
      watch.raw.cancel();
    },
  },
  {
    name: "W18 a stream that requires a leader",
    async body(client) {
      const watch = client.watch({ hasleader: "true" });
      await watch.created("a");
      await client.put("a", "1");
      await watch.message();
    },
  },
  {
    name: "W19 a client that does not read loses nothing",
    async body(client) {
      const watch = client.watch();
      await watch.created("k");
      await client.transcript.silently(async () => {
        const value = "v".repeat(50_000);
        for (let i = 0; i < 300; i++) await client.put("k", value);
        const revisions = (await watch.events(300)).map((event) => Number(event.kv!.modRevision));
        deepEqual(
          revisions,
          Array.from({ length: 300 }, (_, i) => i + 2),
        );
      });
    },
  },
  {
    name: "W20 a new stream from the revision after the last",
    async body(client) {
      const first = client.watch();
      await first.created("a", { end: "z" });
      await client.put("a", "1");
      await client.put("b", "2");
      const last = (await first.events(2))[1]!.kv!.modRevision;
      first.raw.cancel();
      await client.put("c", "3");
      await client.del("a");
      const second = client.watch();
      await second.created("a", { end: "z", startRevision: last + 1n });
      deepEqual(brief(await second.events(2)), ["+c@4", "-a@5"]);
      await client.put("d", "4");
      await second.events(1);
    },
  },
  {
    name: "a put and a delete of one key in one revision are two events",
    async body(client) {
      const watch = client.watch();
      await watch.created("s", { prevKv: true });
      await client.txn({ success: [nested([put("s", "1")]), nested([del("s")])] });
      const message = await watch.message();
      deepEqual(brief(message.events), ["+s@2", "-s@2"]);
      await client.put("s", "2");
      await client.txn({ success: [nested([put("s", "3")]), nested([del("s")])] });
      await watch.events(3);
    },
  },
];
