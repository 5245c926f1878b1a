import { deepEqual, equal, rejects, throws } from "node:assert/strict";
import { test } from "node:test";
import { DbError } from "../base/errors.ts";
import { epoch, type LeaseId, revision } from "../base/ids.ts";
import type { Database, PutResult, WatchMessage, WatchSink } from "../engine/engine.ts";
import type { Call, Encodable, GrpcStream } from "../transport/transport.ts";
import { type EtcdRoutes, type EtcdSettings, etcdRoutes } from "./api.ts";

/** The services around an engine that answers what the test says. */

class FakeDatabase {
  readonly identity = { clusterId: 1n, memberId: 2n, name: "n", branchName: "main" };
  epoch = epoch(3);
  committed = revision(5);
  unproven: DbError | null = null;
  sink: WatchSink | null = null;
  readonly told: string[] = [];
  readonly keepAlives: { id: LeaseId; answer: (ttlSeconds: number) => void; fail: (error: unknown) => void }[] = [];

  unprovenBecause(): DbError | null {
    return this.unproven;
  }

  /** Everybody may do everything. */
  as(): this {
    return this;
  }
  require(): void {}

  /** A snapshot without an end, and how many are under way. */
  snapshots = 0;
  readonly maintenance = {
    snapshot: async (signal: AbortSignal) => {
      this.snapshots++;
      signal.addEventListener("abort", () => this.snapshots--);
      const pieces = async function* () {
        for (;;) yield Buffer.alloc(1 << 20);
      };
      return { revision: 5, bytes: 1 << 30, version: "3.6.0", pieces };
    },
  };

  /** Streams that keep it open. */
  held = 0;

  holdOpen(): () => void {
    this.held++;
    return () => {
      this.held--;
    };
  }

  put(): PutResult {
    return { kind: "put", revision: revision(6), prev: null };
  }

  watch(sink: WatchSink) {
    this.sink = sink;
    return {
      create: () => this.told.push("create"),
      cancel: (id: bigint) => this.told.push(`cancel ${id}`),
      progress: () => this.told.push("progress"),
      resume: () => this.told.push("resume"),
      close: () => this.told.push("close"),
    };
  }

  leaseKeepAlive(id: LeaseId): Promise<{ ttlSeconds: number; revision: number }> {
    const { promise, resolve, reject } = Promise.withResolvers<{ ttlSeconds: number; revision: number }>();
    this.keepAlives.push({ id, answer: (ttlSeconds) => resolve({ ttlSeconds, revision: 5 }), fail: reject });
    return promise;
  }
}

class FakeStream implements GrpcStream {
  readonly path = "/";
  readonly authority = "";
  readonly remoteAddress = "";
  readonly peer = null;
  onMessage: (message: Buffer) => void = () => {};
  onHalfClose: () => void = () => {};
  onDrain: () => void = () => {};
  queuedBytes = 0;
  full = false;
  paused = false;
  readonly sent: string[] = [];
  status: [code: number, message: string] | null = null;
  readonly #metadata: Record<string, string>;
  #onCancel: (() => void)[] = [];

  constructor(metadata: Record<string, string> = {}) {
    this.#metadata = metadata;
  }

  metadata(name: string): string | undefined {
    return this.#metadata[name];
  }
  timeLeftMs(): undefined {}
  onCancel(handler: () => void): void {
    this.#onCancel.push(handler);
  }
  cancel(): void {
    for (const handler of this.#onCancel.splice(0)) handler();
  }
  hasRoom(): boolean {
    return true;
  }
  send(message: Encodable): boolean {
    if (this.status !== null) throw new Error("nothing is sent after the end");
    const bytes = Buffer.alloc(message.byteLength());
    message.encodeInto(bytes, 0);
    this.sent.push(bytes.toString("hex"));
    return !this.full;
  }
  pauseMessages(): void {
    this.paused = true;
  }
  resumeMessages(): void {
    this.paused = false;
  }
  end(code: number, message = ""): void {
    this.status = [code, message];
  }
}

/** Timers that are fired by hand. */
function fakeTimers() {
  const due: (() => void)[] = [];
  return {
    set: (_delayMs: number, fire: () => void) => {
      due.push(fire);
      return { cancel() {} };
    },
    defer: (fire: () => void) => void setImmediate(fire),
    fire: () => {
      for (const fire of due.splice(0)) fire();
    },
    due,
  };
}

function setUp(source?: (database: FakeDatabase) => Parameters<typeof etcdRoutes>[0]) {
  const database = new FakeDatabase();
  const timers = fakeTimers();
  const bugs: unknown[] = [];
  const settings: EtcdSettings = {
    requestBytesMax: 1000,
    clientUrls: () => [],
    peerUrls: () => [],
    timers,
    onBug: (error) => bugs.push(error),
  };
  const as = database as unknown as Database;
  return { database, timers, bugs, routes: etcdRoutes(source?.(database) ?? as, settings) };
}

const call = (metadata: Record<string, string> = {}): Call => new FakeStream(metadata);
const put = (routes: EtcdRoutes) => routes.unary.get("/etcdserverpb.KV/Put")!;
const open = (routes: EtcdRoutes, path: string, stream: FakeStream) => routes.streams.get(path)!(stream);
const WATCH = "/etcdserverpb.Watch/Watch";
const KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive";
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("an answer at hand makes no promise, and is counted", () => {
  const { routes } = setUp();
  const answer = put(routes)(Buffer.from("0a0161", "hex"), call());
  equal(answer instanceof Promise, false);
  const counts = routes.counts.methods.get("/etcdserverpb.KV/Put")!;
  deepEqual([counts.started, counts.handled[0]], [1, 1]);
});

test("a branch that is opened first is waited for; one that cannot be is told", async () => {
  const { routes } = setUp((database) => async () => database as unknown as Database);
  await put(routes)(Buffer.from("0a0161", "hex"), call());
  const refusing = setUp(() => () => {
    throw new DbError("notFound", "no branch dev");
  });
  throws(() => put(refusing.routes)(Buffer.alloc(0), call()), { code: 5, message: "no branch dev" });
  const late = setUp(() => () => Promise.reject(new DbError("notFound", "no branch dev")));
  await rejects(async () => put(late.routes)(Buffer.alloc(0), call()), { code: 5, message: "no branch dev" });
  equal(late.routes.counts.methods.get("/etcdserverpb.KV/Put")!.handled[5], 1);
  const stream = new FakeStream();
  open(late.routes, WATCH, stream);
  equal(stream.paused, true);
  await settled();
  deepEqual(stream.status, [5, "no branch dev"]);
});

test("a stream whose branch opens late begins then, but not for a client that has gone", async () => {
  const opening = Promise.withResolvers<Database>();
  const { routes, database } = setUp(() => () => opening.promise);
  const [stays, goes] = [new FakeStream(), new FakeStream()];
  open(routes, WATCH, stays);
  open(routes, WATCH, goes);
  goes.cancel();
  opening.resolve(database as unknown as Database);
  await settled();
  equal(stays.paused, false);
  stays.onMessage(Buffer.from("1a00", "hex"));
  goes.onMessage(Buffer.from("1a00", "hex"));
  deepEqual(database.told, ["progress"]);
});

test("B1.9 B1.10 E07 E44 hasleader and client-api-version", () => {
  const { routes, database } = setUp();
  const message = Buffer.from("0a0161", "hex");
  const version = { "client-api-version": "\xff\xfe" };
  throws(() => put(routes)(message, call(version)), { code: 3, message: "etcdserver: invalid client api version" });
  database.unproven = new DbError("noLeader");
  put(routes)(message, call());
  put(routes)(message, call({ hasleader: "yes" }));
  throws(() => put(routes)(message, call({ hasleader: "true" })), { code: 14, message: "etcdserver: no leader" });
});

test("B1.1 a write over the limit is refused, with etcd's envelope counted", () => {
  const { routes } = setUp();
  const of = (bytes: number) => Buffer.concat([Buffer.from("0a016112d407", "hex"), Buffer.alloc(bytes, 97)]);
  const fits = of(977);
  fits.writeUInt8(0xd1, 4);
  equal(fits.length + 17, 1000);
  put(routes)(fits, call());
  const over = of(978);
  over.writeUInt8(0xd2, 4);
  throws(() => put(routes)(over, call()), { code: 3, message: "etcdserver: request is too large" });
});

test("L4 keep-alives are answered in order, whichever is ready first, and the end waits for them", async () => {
  const { routes, database } = setUp();
  const stream = new FakeStream();
  open(routes, KEEP_ALIVE, stream);
  for (const id of [1, 2, 3]) stream.onMessage(Buffer.from([0x08, id]));
  stream.onHalfClose();
  database.keepAlives[2]!.answer(30);
  database.keepAlives[1]!.answer(20);
  await settled();
  equal(stream.sent.length, 0);
  database.keepAlives[0]!.answer(10);
  await settled();
  deepEqual(
    stream.sent.map((hex) => hex.slice(-8)),
    ["1001180a", "10021814", "1003181e"],
  );
  deepEqual(stream.status, [0, ""]);
});

test("L4 at the bound of pending keep-alives no more are read, and a failure ends the stream", async () => {
  const { routes, database, bugs } = setUp();
  const stream = new FakeStream();
  open(routes, KEEP_ALIVE, stream);
  for (let id = 1; id <= 128; id++) stream.onMessage(Buffer.from([0x08, id, ...(id > 127 ? [1] : [])]));
  equal(stream.paused, true);
  database.keepAlives[0]!.answer(1);
  await settled();
  equal(stream.paused, false);
  database.keepAlives[1]!.fail(new DbError("noLeader"));
  await settled();
  deepEqual(stream.status, [14, "etcdserver: no leader"]);
  database.keepAlives[2]!.answer(1);
  await settled();
  equal(stream.sent.length, 1);
  deepEqual(bugs, []);
});

test("a bug in a stream's service is told, and the call is answered Internal", async () => {
  const { routes, database, bugs } = setUp();
  const stream = new FakeStream();
  open(routes, KEEP_ALIVE, stream);
  stream.onMessage(Buffer.from([0x08, 1]));
  const bug = new TypeError("x is not a function");
  database.keepAlives[0]!.fail(bug);
  await settled();
  deepEqual(bugs, [bug]);
  deepEqual(stream.status, [13, "internal error"]);
  equal(routes.counts.methods.get(KEEP_ALIVE)!.handled[13], 1);
});

test("W19 back-pressure: a full queue stops the engine and the client's requests, a drain lets both go on", () => {
  const { routes, database } = setUp();
  const stream = new FakeStream();
  open(routes, WATCH, stream);
  const message: WatchMessage = { kind: "progress", id: -1n, revision: revision(5) };
  equal(database.sink!.send(message), true);
  stream.full = true;
  equal(database.sink!.send(message), false);
  equal(stream.paused, true);
  equal(database.sink!.send(message), false);
  stream.full = false;
  stream.onDrain();
  deepEqual(database.told, ["resume"]);
  equal(stream.paused, false);
  equal(stream.sent.length, 3);
});

test("a watch stream ends once, with the engine's reason or the client's", () => {
  const { routes, database } = setUp();
  const stream = new FakeStream();
  open(routes, WATCH, stream);
  database.sink!.fail(new DbError("leadershipLost"));
  equal(stream.status![0], 14);
  deepEqual(database.told, ["close"]);
  stream.onMessage(Buffer.from("1a00", "hex"));
  equal(database.sink!.send({ kind: "progress", id: -1n, revision: revision(5) }), false);
  stream.cancel();
  deepEqual(database.told, ["close"]);

  const second = new FakeStream();
  open(routes, WATCH, second);
  second.onHalfClose();
  equal(second.status, null, "a watch goes on after a half-close");
  second.cancel();
  deepEqual(database.told, ["close", "close"]);
  const counts = routes.counts.methods.get(WATCH)!;
  deepEqual([counts.started, counts.handled[14], counts.handled[1]], [2, 1, 1]);
});

test("W18 a stream that requires a leader is cut after three looks without one; others go on", () => {
  const { routes, database, timers } = setUp();
  const [requires, other] = [new FakeStream({ hasleader: "true" }), new FakeStream()];
  open(routes, WATCH, requires);
  open(routes, WATCH, other);
  database.unproven = new DbError("noLeader");
  timers.fire();
  timers.fire();
  database.unproven = null;
  timers.fire();
  database.unproven = new DbError("noLeader");
  timers.fire();
  timers.fire();
  equal(requires.status, null);
  timers.fire();
  deepEqual(requires.status, [14, "etcdserver: no leader"]);
  equal(other.status, null);
  equal(timers.due.length, 0, "nobody is left to look for");
});

const ONE_REQUEST = [
  "/etcdserverpb.Maintenance/Snapshot",
  "/v3electionpb.Election/Observe",
  "/grpc.health.v1.Health/Watch",
];

test("a method with one request takes one and the end of sending, no more and no fewer", () => {
  for (const path of [...ONE_REQUEST, "/etcdserverpb.KV/RangeStream"]) {
    const { routes, database } = setUp();
    const [none, two, waits] = [new FakeStream(), new FakeStream(), new FakeStream()];
    for (const stream of [none, two, waits]) open(routes, path, stream);
    none.onHalfClose();
    const text = "cardinality violation: received no request message from non-client-streaming RPC";
    deepEqual(none.status, [13, text], path);
    two.onMessage(Buffer.alloc(0));
    two.onMessage(Buffer.alloc(0));
    const more = "cardinality violation: received multiple request messages for non-client-streaming RPC";
    deepEqual(two.status, [13, more], path);
    waits.onMessage(Buffer.alloc(0));
    deepEqual([waits.status, waits.sent.length, database.snapshots], [null, 0, 0], path);
  }
});

test("M5 a snapshot that nobody reads is given up, and its place with it", async () => {
  const { routes, database, timers, bugs } = setUp();
  const stream = new FakeStream();
  stream.full = true;
  open(routes, ONE_REQUEST[0]!, stream);
  stream.onMessage(Buffer.alloc(0));
  stream.onHalfClose();
  for (let turn = 0; turn < 5; turn++) await settled();
  deepEqual([stream.sent.length, stream.status, database.snapshots], [1, null, 1]);
  timers.fire();
  deepEqual([stream.status?.[0], database.snapshots], [8, 0]);
  for (let turn = 0; turn < 5; turn++) await settled();
  deepEqual([stream.sent.length, bugs], [1, []]);
});

test("a client that goes while its branch is opened is counted as one that has gone", () => {
  const { routes } = setUp(() => () => new Promise<Database>(() => {}));
  const stream = new FakeStream();
  open(routes, WATCH, stream);
  stream.cancel();
  equal(routes.counts.methods.get(WATCH)!.handled[1], 1);
});

test("a stream keeps its branch open until it is over, whoever ends it", async () => {
  const { database, routes } = setUp();
  const [watch, other] = [new FakeStream(), new FakeStream()];
  open(routes, WATCH, watch);
  open(routes, KEEP_ALIVE, other);
  equal(database.held, 2);
  watch.cancel();
  equal(database.held, 1);
  other.onHalfClose();
  await settled();
  equal(database.held, 0);
});
