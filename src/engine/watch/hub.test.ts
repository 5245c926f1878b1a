import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../../test/properties.ts";
import { DbError } from "../../base/errors.ts";
import type { Revision } from "../../base/ids.ts";
import type { Timers } from "../../runtime/runtime.ts";
import type { OrderedVersions, Version, VersionsRequest } from "../../storage/storage.ts";
import type { WatchCreate, WatchMessage } from "../engine.ts";
import { encodeDeleted } from "./deleted-row.ts";
import { defaultWatchSettings, WatchHub, type WatchSettings } from "./hub.ts";

/** A branch of which only what watching sees is there: versions, revisions, a compaction. */
class History {
  versions: Version[] = [];
  told = 1 as Revision;
  compactRevision = -1;
  readsFail: DbError | null = null;
  readonly tree = {
    get: (_space: number, key: string, at: number): Version | null => {
      const found = this.versions.findLast((v) => v.key === key && v.main <= at);
      return found === undefined || found.tombstone ? null : found;
    },
    versions: ({ range, after, upTo }: VersionsRequest): OrderedVersions => {
      this.readersOpen++;
      this.readersMost = Math.max(this.readersMost, this.readersOpen);
      const inRange = (v: Version) => v.key >= range.from && (range.to === null || v.key < range.to);
      let at = after;
      return {
        next: async (limit) => {
          await Promise.resolve();
          if (this.readsFail !== null) throw this.readsFail;
          this.reads.push(at);
          const all = this.versions.filter((v) => inRange(v) && v.main > at && v.main <= upTo);
          at = all.length <= limit ? upTo : all[limit - 1]!.main;
          return { versions: all.filter((v) => v.main <= at), through: at };
        },
        close: async () => {
          this.readersOpen--;
        },
      };
    },
  };
  /** Where pages began; readers that are open now, and at most. */
  readonly reads: number[] = [];
  readersOpen = 0;
  readersMost = 0;

  /** One revision: "a" puts, "-a" deletes. */
  write(hub: WatchHub, ...ops: string[]): void {
    const revision = this.told + 1;
    const before = this.told;
    const changes = ops.map((op, sub) => {
      const deleted = op.startsWith("-");
      const key = deleted ? op.slice(1) : op;
      const bytes = Buffer.from(`${key}@${revision}`);
      const kv = deleted ? encodeDeleted(key, revision) : { bytes, start: 0, end: bytes.length };
      const current = this.tree.get(0, key, revision);
      const prev = deleted ? this.tree.get(0, key, before) : current;
      const effect = deleted ? -1 : current === null ? 1 : 0;
      this.versions.push({ key, main: revision, sub, tombstone: deleted, effect, ...kv });
      return { key, kv, deleted, prev };
    });
    this.told = revision as Revision;
    hub.committed([{ revision: this.told, changes }]);
  }
}

class ManualTimers implements Timers {
  #waiting: (() => void)[] = [];
  set(_delayMs: number, fire: () => void): { cancel(): void } {
    this.#waiting.push(fire);
    return { cancel: () => (this.#waiting = this.#waiting.filter((f) => f !== fire)) };
  }
  /** While held, what is put off waits for `turn`. */
  deferred: (() => void)[] | null = null;
  defer(fire: () => void): void {
    if (this.deferred === null) fire();
    else this.deferred.push(fire);
  }
  turn(): void {
    for (const fire of this.deferred?.splice(0) ?? []) fire();
  }
  fire(): void {
    for (const fire of this.#waiting.splice(0)) fire();
  }
}

const random = { uint32: () => 0, float: () => 0, bytes: (n: number) => Buffer.alloc(n) };

function setup(settings: Partial<WatchSettings> = {}) {
  const history = new History();
  const timers = new ManualTimers();
  const hub = new WatchHub(history, { timers, random }, { ...defaultWatchSettings, ...settings });
  return { history, timers, hub };
}

function client(hub: WatchHub) {
  const messages: WatchMessage[] = [];
  const state = { open: true, room: true, failed: null as DbError | null };
  const stream = hub.open({
    hasRoom: () => state.room,
    send: (message) => {
      messages.push(message);
      return state.open;
    },
    fail: (error) => {
      state.failed = error as DbError;
    },
  });
  return { stream, messages, state, lines: () => messages.splice(0).map(line) };
}

const text = (event: Uint8Array): string => {
  const bytes = Buffer.from(event);
  const parts: string[] = [];
  let at = 0;
  if (bytes[0] === 0x08) {
    parts.push("DEL");
    at = 2;
  }
  while (at < bytes.length) {
    const end = at + 2 + bytes[at + 1]!;
    parts.push(
      parts[0] === "DEL" && bytes[at] === 0x12
        ? bytes.toString("latin1", at + 4, end - 2)
        : bytes.toString("latin1", at + 2, end),
    );
    at = end;
  }
  return parts.join(" ");
};

function line(message: WatchMessage): string {
  switch (message.kind) {
    case "created":
      return `${message.id} created @${message.revision}`;
    case "canceled":
      return `${message.id} canceled @${message.revision} compact=${message.compactRevision} ${message.reason}`.trim();
    case "events":
      return (
        `${message.id} [${message.events.map(text).join(", ")}] @${message.revision}` + (message.more ? " more" : "")
      );
    case "progress":
      return `${message.id} progress @${message.revision}`;
  }
}

const request = (key: string, more: Partial<WatchCreate> = {}): WatchCreate => ({
  key,
  rangeEnd: "",
  startRevision: 0,
  progressNotify: false,
  noPut: false,
  noDelete: false,
  prevKv: false,
  watchId: 0n,
  fragment: false,
  ...more,
});

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

test("W1, W2, W4: created comes first, ids count from 0, events are those after the header's revision", () => {
  const { history, hub } = setup();
  history.write(hub, "a");
  const c = client(hub);
  c.stream.create(request("a"));
  c.stream.create(request("a", { watchId: 7n }));
  c.stream.create(request("b", { watchId: 7n }));
  c.stream.create(request("b"));
  history.write(hub, "a", "b");
  deepEqual(c.lines(), [
    "0 created @2",
    "7 created @2",
    "-1 canceled @2 compact=0 mvcc: duplicate watch ID provided on the WatchStream",
    "1 created @2",
    "0 [a@3] @3",
    "7 [a@3] @3",
    "1 [b@3] @3",
  ]);
});

test("W3, W5: an empty range and a negative start are refused in the created message", () => {
  const { hub } = setup();
  const c = client(hub);
  c.stream.create(request("b", { rangeEnd: "a" }));
  c.stream.create(request("b", { startRevision: -1 }));
  deepEqual(c.lines(), [
    "-1 canceled @1 compact=0 mvcc: watcher range is empty",
    "-1 canceled @1 compact=0 etcdserver: mvcc: required revision has been compacted",
  ]);
});

test("W4, W10: history from the tree with previous pairs, then live events, without gap or repeat", async () => {
  const { history, hub } = setup({ recent: { revisionsMax: 1, bytesMax: 1 << 20 } });
  history.write(hub, "a");
  history.write(hub, "b");
  history.write(hub, "-a");
  const c = client(hub);
  c.stream.create(request("a", { rangeEnd: "\0", startRevision: 2, prevKv: true }));
  history.write(hub, "c", "-b");
  await settled();
  history.write(hub, "b");
  deepEqual(c.lines(), ["0 created @4", "0 [a@2, b@3, DEL a a@2] @5", "0 [c@5, DEL b b@3] @5", "0 [b@6] @6"]);
});

test("W10: a pair that is created anew has none before it, live and from history", async () => {
  const { history, hub } = setup({ recent: { revisionsMax: 1, bytesMax: 1 << 20 } });
  const live = client(hub);
  live.stream.create(request("a", { prevKv: true }));
  history.write(hub, "a");
  history.write(hub, "-a", "a");
  history.write(hub, "a");
  deepEqual(live.lines(), ["0 created @1", "0 [a@2] @2", "0 [DEL a a@2, a@3] @3", "0 [a@4 a@3] @4"]);
  history.write(hub, "b");
  const late = client(hub);
  late.stream.create(request("a", { startRevision: 2, prevKv: true }));
  await settled();
  deepEqual(late.lines(), ["0 created @5", "0 [a@2, DEL a a@2, a@3, a@4 a@3] @5"]);
});

test("W7: a start in the future gets neither events nor progress below it", () => {
  const { history, hub } = setup();
  const c = client(hub);
  c.stream.create(request("a", { startRevision: 4 }));
  history.write(hub, "a");
  c.stream.progress();
  history.write(hub, "a");
  history.write(hub, "a");
  c.stream.progress();
  deepEqual(c.lines(), ["0 created @1", "0 [a@4] @4", "-1 progress @4"]);
});

test("W8: a compacted start is created, then cancelled; later progress requests are not answered", async () => {
  const { history, hub } = setup();
  for (let i = 0; i < 4; i++) history.write(hub, "a");
  history.compactRevision = 4;
  const c = client(hub);
  c.stream.create(request("a", { startRevision: 3 }));
  c.stream.create(request("a", { startRevision: 4 }));
  await settled();
  c.stream.progress();
  deepEqual(c.lines(), ["0 created @5", "0 canceled @0 compact=4", "1 created @5", "1 [a@4, a@5] @5"]);
  // The id is taken until it is cancelled, too.
  c.stream.create(request("a", { watchId: 7n, startRevision: 1 }));
  await settled();
  c.stream.create(request("a", { watchId: 7n }));
  for (const id of [0n, 0n, 7n]) c.stream.cancel(id);
  c.stream.progress();
  deepEqual(c.lines(), [
    ...["7 created @5", "7 canceled @0 compact=4"],
    "-1 canceled @5 compact=0 mvcc: duplicate watch ID provided on the WatchStream",
    ...["0 canceled @5 compact=0", "7 canceled @5 compact=0", "-1 progress @5"],
  ]);
});

test("W9: filters drop events, and a message left empty is not sent", () => {
  const { history, hub } = setup();
  const c = client(hub);
  c.stream.create(request("a", { noPut: true }));
  c.stream.create(request("a", { noDelete: true }));
  history.write(hub, "a");
  history.write(hub, "-a");
  deepEqual(c.lines(), ["0 created @1", "1 created @1", "1 [a@2] @2", "0 [DEL a] @3"]);
});

test("W12: a revision comes in one message, or in fragments where asked", () => {
  const { history, hub } = setup({ fragmentBytes: 30 });
  const c = client(hub);
  c.stream.create(request("", { rangeEnd: "\0" }));
  c.stream.create(request("", { rangeEnd: "\0", fragment: true }));
  history.write(hub, "a", "b", "c", "d", "e");
  deepEqual(c.lines(), [
    "0 created @1",
    "1 created @1",
    "0 [a@2, b@2, c@2, d@2, e@2] @2",
    "1 [a@2, b@2] @2 more",
    "1 [c@2, d@2] @2 more",
    "1 [e@2] @2",
  ]);
});

test("W12: history comes in one answer where its fragments are asked for, and a page at a time where not", async () => {
  const { history, hub } = setup({ fragmentBytes: 1 << 20 });
  for (let i = 0; i < 700; i++) history.write(hub, "a");
  const c = client(hub);
  c.stream.create(request("a", { startRevision: 2 }));
  c.stream.create(request("a", { startRevision: 2, fragment: true }));
  for (let turns = 0; turns < 100 && c.messages.length < 5; turns++) await settled();
  const told = c.messages.filter((message) => message.kind === "events");
  deepEqual(told.map(({ id, revision, events, more }) => [id, revision, events.length, more]).sort(), [
    [0n, 701, 188, false],
    [0n, 701, 512, false],
    [1n, 701, 700, false],
  ]);
});

test("W14: a quiet watcher that asked for it is told how far it is, at each interval", () => {
  const { history, hub, timers } = setup();
  const c = client(hub);
  c.stream.create(request("a", { progressNotify: true }));
  c.stream.create(request("b"));
  history.write(hub, "a");
  timers.fire();
  history.write(hub, "b");
  timers.fire();
  deepEqual(c.lines(), ["0 created @1", "1 created @1", "0 [a@2] @2", "1 [b@3] @3", "0 progress @3"]);
});

test("W15, W16: progress needs a synced watcher; a cancelled id is silent; an unknown id gets no answer", () => {
  const { history, hub } = setup();
  const c = client(hub);
  c.stream.progress();
  c.stream.create(request("a"));
  c.stream.progress();
  c.stream.cancel(5n);
  c.stream.cancel(0n);
  history.write(hub, "a");
  c.stream.progress();
  deepEqual(c.lines(), ["0 created @1", "-1 progress @1", "0 canceled @1 compact=0"]);
  deepEqual(hub.stats, { streams: 1, watchers: 0 });
});

test("W12, W19: many revisions at once are told in parts, at the pace of the client", async () => {
  const { history, hub } = setup();
  const c = client(hub);
  c.stream.create(request("a"));
  const bytes = Buffer.alloc(600 << 10);
  const commits = [2, 3, 4, 5].map((revision) => {
    const kv = { bytes, start: 0, end: bytes.length };
    history.versions.push({ key: "a", main: revision, sub: 0, tombstone: false, effect: 0, ...kv });
    return { revision: revision as Revision, changes: [{ key: "a", kv, deleted: false, prev: null }] };
  });
  history.told = 5 as Revision;
  const counts = () => c.messages.splice(0).map((m) => (m.kind === "events" ? [m.events.length, m.revision] : m.kind));
  c.state.open = false;
  hub.committed(commits);
  deepEqual(counts(), ["created", [2, 5]]);
  c.state.open = true;
  c.stream.resume();
  deepEqual(counts(), [[2, 5]]);
  history.write(hub, "a");
  deepEqual(c.lines(), ["0 [a@6] @6"]);
});

test("W19: a slow client misses nothing and holds no events here", async () => {
  const { history, hub } = setup({ recent: { revisionsMax: 2, bytesMax: 1 << 20 } });
  const c = client(hub);
  c.stream.create(request("a"));
  c.state.open = false;
  for (let i = 0; i < 6; i++) history.write(hub, "a", "b");
  c.stream.progress();
  deepEqual(c.lines(), ["0 created @1", "0 [a@2] @2"]);
  c.state.open = true;
  c.stream.resume();
  await settled();
  history.write(hub, "a");
  deepEqual(c.lines(), ["0 [a@3, a@4, a@5, a@6, a@7] @7", "0 [a@8] @8"]);
});

test("W19: without room nothing is made for a client, live or from history, and it misses nothing", async () => {
  const { history, hub } = setup({ recent: { revisionsMax: 2, bytesMax: 1 << 20 } });
  const { stream, state, lines } = client(hub);
  history.write(hub, "a");
  stream.create(request("a"));
  lines();
  state.room = false;
  history.write(hub, "a");
  deepEqual(lines(), []);
  // What was put off is told of the recent revisions, then of the tree.
  stream.resume();
  deepEqual(lines(), []);
  for (let n = 0; n < 3; n++) history.write(hub, "a");
  stream.resume();
  await settled();
  deepEqual([lines(), history.reads], [[], []]);
  state.room = true;
  stream.resume();
  await settled();
  deepEqual(lines(), ["0 [a@3, a@4, a@5, a@6] @6"]);
  history.write(hub, "a");
  deepEqual(lines(), ["0 [a@7] @7"]);
});

test("a slow client whose next revision is compacted is told so when it reads on (C6)", () => {
  const { history, hub } = setup();
  const c = client(hub);
  c.stream.create(request("a"));
  c.state.open = false;
  for (let i = 0; i < 4; i++) history.write(hub, "a");
  history.compactRevision = 5;
  hub.compacted(5 as Revision);
  c.state.open = true;
  c.stream.resume();
  deepEqual(c.lines(), ["0 created @1", "0 [a@2] @2", "0 canceled @0 compact=5"]);
});

test("readers of history are few, keep their place from page to page, and are given back", async () => {
  const { history, hub } = setup({ readsMax: 2, recent: { revisionsMax: 1, bytesMax: 1 << 20 } });
  for (let i = 0; i < 1300; i++) history.write(hub, "a");
  const clients = [1, 2, 3, 4, 5].map(() => client(hub));
  clients[0]!.state.open = false;
  for (const { stream } of clients) stream.create(request("a", { startRevision: 2 }));
  for (let i = 0; i < 50; i++) await settled();
  const [slow, ...others] = clients;
  for (const { messages } of others) {
    equal(messages.flatMap((m) => (m.kind === "events" ? m.events : [])).length, 1300);
  }
  equal(history.readersMost, 2);
  // Who does not take messages has given its place up, and begins again where it was.
  equal(history.readersOpen, 0);
  slow!.state.open = true;
  slow!.stream.resume();
  for (let i = 0; i < 50; i++) await settled();
  equal(slow!.messages.flatMap((m) => (m.kind === "events" ? m.events : [])).length, 1300);
  equal(history.readersOpen, 0);
  for (const { stream } of clients) stream.close();
});

test("a store that is away delays history; a corrupt one ends the stream that needs it, and no other", async () => {
  const { history, hub, timers } = setup({ recent: { revisionsMax: 1, bytesMax: 1 << 20 } });
  history.write(hub, "a");
  history.write(hub, "a");
  history.readsFail = new DbError("storeUnavailable");
  const c = client(hub);
  const other = client(hub);
  other.stream.create(request("a"));
  c.stream.create(request("a", { startRevision: 2 }));
  await settled();
  deepEqual(c.lines(), ["0 created @3"]);
  history.readsFail = new DbError("corrupt", "table x");
  timers.fire();
  await settled();
  equal(c.state.failed?.message, "table x");
  history.write(hub, "a");
  deepEqual(other.lines(), ["0 created @3", "0 [a@4] @4"]);
  deepEqual(hub.stats, { streams: 1, watchers: 1 });
});

test("a branch that closes ends every stream, and those opened later", () => {
  const { hub } = setup();
  const c = client(hub);
  c.stream.create(request("a"));
  hub.fail(new DbError("stopped"));
  equal(c.state.failed?.kind, "stopped");
  equal(client(hub).state.failed?.kind, "stopped");
  deepEqual(hub.stats, { streams: 0, watchers: 0 });
});

test("many watchers are told in several turns: before the next commit, before progress, and not once cancelled", () => {
  const { history, timers, hub } = setup({ toldPerTurn: 2 });
  timers.deferred = [];
  const [one, two] = [client(hub), client(hub)];
  for (const { stream } of [one, two]) for (let n = 0; n < 3; n++) stream.create(request("a"));
  for (const { lines } of [one, two]) lines();
  const events = (at: number, ...ids: number[]) => ids.map((id) => `${id} a@${at}`);
  const told = ({ messages }: typeof one) =>
    messages.splice(0).flatMap((m) => (m.kind === "events" ? m.events.map((e) => `${m.id} ${text(e)}`) : m.kind));
  history.write(hub, "a");
  deepEqual([told(one), told(two)], [events(2, 0, 1), []]);
  two.stream.cancel(1n);
  two.stream.progress();
  deepEqual(told(two), ["canceled", ...events(2, 0, 2), "progress"]);
  timers.turn();
  deepEqual([told(one), told(two)], [events(2, 2), []]);
  history.write(hub, "a");
  history.write(hub, "a");
  deepEqual(told(one), [...events(3, 0, 1, 2), ...events(4, 0, 1)]);
  one.stream.close();
  for (let n = 0; n < 5; n++) timers.turn();
  deepEqual([told(one), told(two)], [[], [...events(3, 0, 2), ...events(4, 0, 2)]]);
});

test("W13, W20: any client, however slow, gets each of its events once and in order", async () => {
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        write: fc.array(fc.constantFrom("a", "b", "-a", "-b", "c"), { minLength: 1, maxLength: 3 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ open: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ room: fc.boolean() }) },
    { weight: 1, arbitrary: fc.constant({ settle: true }) },
    { weight: 1, arbitrary: fc.constant({ turn: true }) },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40 }),
      fc.integer({ min: 0, max: 12 }),
      async (steps, startRevision) => {
        const { history, hub, timers } = setup({ recent: { revisionsMax: 3, bytesMax: 1 << 20 }, toldPerTurn: 1 });
        timers.deferred = [];
        const c = client(hub);
        const other = client(hub);
        for (let n = 0; n < 3; n++) other.stream.create(request("a", { rangeEnd: "c" }));
        const got: string[] = [];
        const first = Math.max(startRevision, 2);
        c.stream.create(request("a", { rangeEnd: "c", startRevision }));
        for (const s of steps) {
          if ("write" in s) history.write(hub, ...new Set(s.write));
          else if ("open" in s) {
            c.state.open = s.open;
            if (s.open) c.stream.resume();
          } else if ("room" in s) {
            c.state.room = s.room;
            if (s.room) c.stream.resume();
          } else if ("turn" in s) timers.turn();
          else await settled();
        }
        c.state.open = true;
        c.state.room = true;
        c.stream.resume();
        for (let i = 0; i < 5; i++) {
          timers.turn();
          await settled();
        }
        for (const message of c.messages) if (message.kind === "events") got.push(...message.events.map(text));
        const wanted = history.versions.filter((v) => v.main >= first && v.key >= "a" && v.key < "c");
        deepEqual(
          got,
          wanted.map((v) => (v.tombstone ? `DEL ${v.key}` : `${v.key}@${v.main}`)),
        );
      },
    ),
  );
});

test("a bug in telling one client ends its stream alone, live and from history", async () => {
  const { history, hub } = setup({ recent: { revisionsMax: 1, bytesMax: 1 << 20 } });
  const good = client(hub);
  good.stream.create(request("a"));
  const bad = client(hub);
  bad.stream.create(request("a", { prevKv: true }));
  history.write(hub, "a");
  // What is before it cannot be read: only who asks for it notices.
  const { get } = history.tree;
  history.tree.get = (space, key, at) => ({ ...get(space, key, at)!, bytes: { buffer: new ArrayBuffer(0) } as never });
  history.write(hub, "a");
  history.tree.get = get;
  ok((bad.state.failed as unknown) instanceof TypeError);
  equal(good.state.failed, null);
  history.write(hub, "a");
  deepEqual(good.lines(), ["0 created @1", "0 [a@2] @2", "0 [a@3] @3", "0 [a@4] @4"]);
  history.tree.get = () => {
    throw new TypeError("broken");
  };
  const late = client(hub);
  late.stream.create(request("a", { startRevision: 2, prevKv: true }));
  await settled();
  ok((late.state.failed as unknown) instanceof TypeError);
  equal(good.state.failed, null);
});
