import { deepEqual, equal, match, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { fc } from "../../../test/properties.ts";
import {
  LeaseKeepAliveRequestSchema,
  RangeRequestSchema,
  RangeResponseSchema,
  TxnRequestSchema,
  TxnResponseSchema,
  WatchRequestSchema,
  WatchResponseSchema,
} from "../../gen/etcdserverpb/rpc_pb.ts";
import {
  type Call,
  type Encodable,
  GrpcError,
  type GrpcStream,
  type HttpBody,
  type HttpRequest,
  type HttpResponse,
  type HttpSink,
} from "../../transport/transport.ts";
import { gateway } from "./gateway.ts";
import { JsonTexts } from "./json-text.ts";
import { gatewayMethods, withoutPath } from "./methods.ts";
import { openApiDocument } from "./openapi.ts";

const RANGE = "/etcdserverpb.KV/Range";
const WATCH = "/etcdserverpb.Watch/Watch";
const KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive";

const encodable = (bytes: Uint8Array): Encodable => ({
  byteLength: () => bytes.length,
  encodeInto: (buffer, at) => {
    buffer.set(bytes, at);
    return at + bytes.length;
  },
});

class World {
  readonly calls: { message: Buffer; call: Call }[] = [];
  readonly bugs: unknown[] = [];
  readonly timers: { atMs: number; fire: () => void }[] = [];
  stream: GrpcStream | null = null;
  nowMs = 0;
  goes: (() => void)[] = [];
  unary: (message: Buffer, call: Call) => Encodable | Promise<Encodable> = () => encodable(new Uint8Array(0));
  onStream: (stream: GrpcStream) => void = () => {};

  readonly handle = gateway({
    routes: {
      unary: new Map([
        [
          RANGE,
          (message: Buffer, call: Call) => {
            this.calls.push({ message, call });
            return this.unary(message, call);
          },
        ],
      ]),
      streams: new Map([WATCH, KEEP_ALIVE].map((path) => [path, (stream: GrpcStream) => this.#open(stream)])),
    },
    timers: {
      set: (delayMs, fire) => {
        const timer = { atMs: this.nowMs + delayMs, fire };
        this.timers.push(timer);
        return { cancel: () => void this.timers.splice(this.timers.indexOf(timer), 1) };
      },
    },
    monotonicMs: () => this.nowMs,
    messageBytesMax: 1000,
    onBug: (error) => this.bugs.push(error),
  });

  #open(stream: GrpcStream): void {
    this.stream = stream;
    this.onStream(stream);
  }

  pass(ms: number): void {
    this.nowMs += ms;
    for (const timer of this.timers.filter(({ atMs }) => atMs <= this.nowMs)) timer.fire();
  }

  async ask(target: string, body: string | Buffer, headers: Record<string, string> = {}): Promise<HttpResponse> {
    const request: HttpRequest = {
      method: "POST",
      target,
      headers: new Map(Object.entries({ host: "h:1", ...headers })),
      body: Buffer.from(body),
      remoteAddress: "1.2.3.4:5",
      peer: { commonName: "root" },
      onGone: (handler) => this.goes.push(handler),
    };
    return this.handle(request);
  }
}

const errorOf = ({ status, body }: HttpResponse) => [status, (JSON.parse(String(body)) as { code: number }).code];

/** Reads a body that is made as it goes; `room` is how many parts are taken before it says stop. */
class Reader implements HttpSink {
  onDrain: () => void = () => {};
  readonly lines: string[] = [];
  ended = false;
  room = Number.POSITIVE_INFINITY;

  constructor(body: HttpResponse["body"], room = Number.POSITIVE_INFINITY) {
    this.room = room;
    (body as HttpBody)(this);
  }

  write(bytes: Buffer): boolean {
    ok(!this.ended);
    this.lines.push(bytes.toString());
    return --this.room > 0;
  }

  end(): void {
    this.ended = true;
  }

  abort(): void {
    throw new Error("aborted");
  }
}

test("B1.15 a request becomes the bytes that gRPC carries, and the answer JSON", async () => {
  const world = new World();
  const kvs = [{ key: Buffer.from("k"), value: Buffer.from([0, 255]), lease: -1n, modRevision: 2n ** 62n }];
  world.unary = () => encodable(toBinary(RangeResponseSchema, create(RangeResponseSchema, { kvs, count: 1n })));
  const answer = await world.ask(
    "/v3/kv/range?x",
    `{"key":"aw==","limit":"9007199254740993","revision":9007199254740995}`,
  );
  equal(answer.status, 200);
  deepEqual(JSON.parse(String(answer.body)), {
    kvs: [{ key: "aw==", value: "AP8=", lease: "-1", mod_revision: "4611686018427387904" }],
    count: "1",
  });
  const [{ message, call } = { message: Buffer.alloc(0), call: null }] = world.calls;
  const { limit, revision } = fromBinary(RangeRequestSchema, message);
  deepEqual([limit, revision], [9007199254740993n, 9007199254740995n], "exact beyond what a number holds");
  deepEqual([call?.path, call?.authority, call?.remoteAddress, call?.peer], [RANGE, "h:1", "1.2.3.4:5", null]);
});

test("B1.8 Authorization is the token; Grpc-Metadata-… is metadata; a certificate's name logs nobody in", async () => {
  const world = new World();
  const ask = async (headers: Record<string, string>) => {
    await world.ask("/v3/kv/range", "{}", headers);
    return world.calls.pop()!.call;
  };
  equal((await ask({ authorization: "abc.1" })).metadata("token"), "abc.1");
  equal((await ask({ authorization: "Bearer abc.1" })).metadata("token"), "abc.1");
  equal((await ask({ authorization: "Bearer abc.1" })).metadata("authorization"), "Bearer abc.1");
  equal((await ask({ authorization: "a", "grpc-metadata-token": "b" })).metadata("token"), "b");
  equal((await ask({ "grpc-metadata-hasleader": "true" })).metadata("hasleader"), "true");
  equal((await ask({ hasleader: "true" })).metadata("hasleader"), undefined);
});

test("errors: gRPC's code and text, a bug, what is too large, what is not there", async () => {
  const world = new World();
  world.unary = () => {
    throw new GrpcError(5, "etcdserver: requested lease not found");
  };
  const answer = await world.ask("/v3/kv/range", "{}");
  deepEqual([answer.status, answer.body], [404, '{"code":5,"message":"etcdserver: requested lease not found"}']);
  world.unary = () => Promise.reject(new GrpcError(14, "etcdserver: no leader"));
  deepEqual(errorOf(await world.ask("/v3/kv/range", "{}")), [503, 14]);
  world.unary = () => Promise.reject(new Error("a bug"));
  deepEqual(errorOf(await world.ask("/v3/kv/range", "{}")), [500, 13]);
  equal(world.bugs.length, 1);
  deepEqual(errorOf(await world.ask("/v3/kv/range", `{"key":"${"a".repeat(1600)}"}`)), [429, 8]);
  deepEqual(errorOf(await world.ask("/v3/kv/put", "{}")), [501, 12]);
  deepEqual(errorOf(await world.ask("/v3/kv/range", Buffer.from([0x22, 0xff, 0x22]))), [400, 3]);
});

test("a name that is no UTF-8 has no JSON, which is no bug; messages may nest as deep as by gRPC", async () => {
  const world = new World();
  const names = gateway({
    ...{ timers: { set: () => ({ cancel() {} }) }, monotonicMs: () => 0, messageBytesMax: 100_000 },
    routes: {
      unary: new Map([
        ["/etcdserverpb.Auth/UserList", () => encodable(Buffer.from("1201ff", "hex"))],
        ["/etcdserverpb.KV/Txn", (message: Buffer) => encodable(nested(depthOf(message)))],
      ]),
      streams: new Map(),
    },
    onBug: (error) => world.bugs.push(error),
  });
  const ask = async (target: string, body: string) =>
    names({ method: "POST", target, headers: new Map(), body: Buffer.from(body), remoteAddress: "" });
  deepEqual(errorOf(await ask("/v3/auth/user/list", "{}")), [500, 2]);
  const request = `${'{"success":[{"requestTxn":'.repeat(120)}{}${"}]}".repeat(120)}`;
  const { status, body } = await ask("/v3/kv/txn", request);
  deepEqual([status, String(body).split("response_txn").length - 1], [200, 120]);
  deepEqual(world.bugs, []);
});

/** Of a transaction that is made of transactions. */
const depthOf = (message: Uint8Array): number => {
  const inner = fromBinary(TxnRequestSchema, message, { recursionLimit: 1000 }).success[0]?.request;
  let depth = 0;
  for (let one = inner; one?.case === "requestTxn"; one = one.value.success[0]?.request) depth++;
  return depth;
};

function nested(depth: number): Uint8Array {
  let response = create(TxnResponseSchema, {});
  for (let level = 0; level < depth; level++)
    response = create(TxnResponseSchema, { responses: [{ response: { case: "responseTxn", value: response } }] });
  return toBinary(TxnResponseSchema, response);
}

test("a deadline ends a call that waits; its handler hears of it, and of a client that goes", async () => {
  const world = new World();
  const heard: string[] = [];
  world.unary = (_message, call) => {
    call.onCancel(() => heard.push("cancelled"));
    return new Promise(() => {});
  };
  const answer = world.ask("/v3/kv/range", "{}", { "grpc-timeout": "50m" });
  equal(world.calls[0]?.call.timeLeftMs(), 50);
  world.pass(50);
  deepEqual(errorOf(await answer), [504, 4]);
  deepEqual(heard, ["cancelled"]);
  void world.ask("/v3/kv/range", "{}");
  for (const gone of world.goes) gone();
  deepEqual(heard, ["cancelled", "cancelled"]);
  equal(world.timers.length, 0);
});

const watchLine = (watchId: bigint): Encodable =>
  encodable(toBinary(WatchResponseSchema, create(WatchResponseSchema, { watchId, created: true })));

test("a stream: requests in order at the handler's pace, each response a line, at the reader's pace", async () => {
  const world = new World();
  const asked: string[] = [];
  let halfClosed = false;
  world.onStream = (stream) => {
    stream.onMessage = (message) => {
      asked.push(String(fromBinary(WatchRequestSchema, message).requestUnion.case));
      if (asked.length === 2) stream.pauseMessages();
    };
    stream.onHalfClose = () => {
      halfClosed = true;
    };
  };
  const body = '{"create_request":{}} {"cancelRequest":{}}\n{"progress_request":{}}';
  const answer = world.ask("/v3/watch", body);
  deepEqual([asked, halfClosed], [["createRequest", "cancelRequest"], false]);
  world.stream!.resumeMessages();
  deepEqual([asked[2], halfClosed], ["progressRequest", true]);
  equal(world.stream!.send(watchLine(1n)), true);
  const reader = new Reader((await answer).body, 2);
  equal(world.stream!.send(watchLine(2n)), false, "the reader is full");
  let drained = 0;
  world.stream!.onDrain = () => drained++;
  reader.room = 5;
  reader.onDrain();
  reader.onDrain();
  equal(drained, 1, "told once");
  world.stream!.end(14, "etcdserver: no leader");
  deepEqual(reader.lines, [
    '{"result":{"watch_id":"1","created":true}}\n',
    '{"result":{"watch_id":"2","created":true}}\n',
    '{"error":{"code":14,"message":"etcdserver: no leader"}}\n',
  ]);
  ok(reader.ended);
  equal(world.stream!.send(watchLine(3n)), false);
});

test("streams that fail before their first response, that end in silence, whose client goes", async () => {
  const world = new World();
  world.onStream = (stream) => stream.end(16, "etcdserver: invalid auth token");
  const refused = await world.ask("/v3/watch", "{}");
  equal(refused.status, 401);
  deepEqual(new Reader(refused.body).lines, ['{"error":{"code":16,"message":"etcdserver: invalid auth token"}}\n']);
  world.onStream = (stream) => {
    stream.onHalfClose = () => stream.end(0);
  };
  const silent = await world.ask("/v3/lease/keepalive", "");
  const reader = new Reader(silent.body);
  deepEqual([silent.status, reader.lines, reader.ended], [200, [], true]);
  let cancelled = 0;
  world.onStream = (stream) => stream.onCancel(() => cancelled++);
  world.goes = [];
  const gone = world.ask("/v3/watch", "{}");
  for (const handler of world.goes) handler();
  deepEqual([(await gone).status, cancelled], [499, 1]);
  world.onStream = () => {
    throw new GrpcError(3, "no");
  };
  deepEqual(errorOf(await world.ask("/v3/watch", "{}")), [400, 3]);
  deepEqual(errorOf(await world.ask("/v3/watch", '{"create_request":{}} x')), [400, 3]);
});

test("a bidirectional stream's requests are decoded before any is given out", async () => {
  const world = new World();
  let opened = false;
  world.onStream = () => {
    opened = true;
  };
  await world.ask("/v3/lease/keepalive", '{"ID":"1"}{"ID":"x"}');
  equal(opened, false);
  equal(fromBinary(LeaseKeepAliveRequestSchema, Buffer.from([8, 1])).ID, 1n);
});

/** Of an object that the message knows nothing of nothing is kept. */
function withoutNames(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNames);
  return typeof value === "object" && value !== null ? {} : value;
}

test("texts of JSON values: any values, however they are set apart, come back; anything else is refused", () => {
  // fast-check is fond of some names, "key" among them.
  const known = RangeRequestSchema.fields.flatMap(({ name, jsonName }) => [name, jsonName]).join("|");
  const other = new RegExp(`\\de|-0|\\d{16}|"(${known})":`);
  const value = fc.jsonValue({ maxDepth: 4 }).filter((one) => !other.test(JSON.stringify(one)));
  const space = fc.constantFrom(" ", "\n", "\t \r\n");
  fc.assert(
    fc.property(fc.array(fc.tuple(value, space), { maxLength: 5 }), (values) => {
      const text = values.map(([one, gap]) => gap + JSON.stringify(one) + gap).join("");
      const texts = new JsonTexts(Buffer.from(text), RangeRequestSchema);
      for (const [one] of values) deepEqual(texts.next(), withoutNames(JSON.parse(JSON.stringify(one))));
      equal(texts.next(), undefined);
    }),
  );
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'{}[]",:\\ 01tfn\ud83d\u00e9x-.') }), (text) => {
      const texts = new JsonTexts(Buffer.from(text), RangeRequestSchema);
      try {
        while (texts.next() !== undefined);
      } catch (error) {
        equal((error as Error).name, "JsonTextError");
      }
    }),
  );
  throws(
    () => new JsonTexts(Buffer.from("[".repeat(600) + "]".repeat(600)), RangeRequestSchema).next(),
    /exceeded max depth/,
  );
});

test("B1.15 numbers and bytes are taken as by etcd's gateway, and nothing that the library takes beside", async () => {
  const world = new World();
  const asked = async (body: string): Promise<{ limit: bigint; key: string } | number> => {
    const { status } = await world.ask("/v3/kv/range", body);
    if (status !== 200) return status;
    const { limit, key } = fromBinary(RangeRequestSchema, world.calls.at(-1)!.message);
    return { limit, key: Buffer.from(key).toString("latin1") };
  };
  const limits: [string, bigint | null][] = [
    ...(["1", '"1"', "1.0", '"1.0"', "1e0", '"10e-1"', '"0.1e1"'] as const).map((text): [string, bigint] => [text, 1n]),
    ...(["0", '"-0"', '"0e5"', "-0", '"0.000"'] as const).map((text): [string, bigint] => [text, 0n]),
    ...([
      ["9223372036854775807", 2n ** 63n - 1n],
      ['"-9223372036854775808"', -(2n ** 63n)],
    ] as [string, bigint][]),
    ...(['"1/"', '"1\'2"', '"1 2"', '"1{"', '"1\u00e9"'] as const).map((text): [string, bigint] => [text, 1n]),
    ...([
      ["1e18", 10n ** 18n],
      ['"12345678901234567890e-1"', 1234567890123456789n],
    ] as [string, bigint][]),
    ...[
      "1.5",
      '"1.5"',
      '" 1"',
      '"1 "',
      '""',
      '"0x1"',
      '"1_"',
      '"1.5/"',
      '"01"',
      '"+1"',
      "9223372036854775808",
      '"1e400"',
      '"1e-1"',
      "1e30",
    ].map((text): [string, null] => [text, null]),
  ];
  for (const [text, limit] of limits) {
    deepEqual(await asked(`{"limit":${text}}`), limit === null ? 400 : { limit, key: "" }, text);
  }
  const keys: [string, string | null][] = [
    ...(["YQ==", "YQ", "Y\\n\\n\\n\\nQ==", "YQ==\\r\\n\\n\\n"] as const).map((text): [string, string] => [text, "a"]),
    ...([
      ["_w==", "\xff"],
      ["/w", "\xff"],
      ["", ""],
      ["YWJj", "abc"],
    ] as [string, string][]),
    ...["Y\\nQ==", "YQ=", "YQ===", "Y", "YQ==YQ==", "Y Q=", "YQ\\t==", "-/8=", "Y*==", "=", "YWJj="].map(
      (text): [string, null] => [text, null],
    ),
  ];
  for (const [text, key] of keys)
    deepEqual(await asked(`{"key":"${text}"}`), key === null ? 400 : { limit: 0n, key }, text);
  for (const twice of ['"key":"YQ==","key":"YQ=="', '"sort_order":1,"sortOrder":1', '"key":"","\\u006bey":""']) {
    equal(await asked(`{${twice}}`), 400, twice);
  }
  // What is unknown may be there as often as it likes, as may what is in it.
  for (const unknown of ['"x":1,"x":2', '"x":{"key":1,"key":2}', '"x":[{"key":1,"key":2}],"limit":0']) {
    deepEqual(await asked(`{${unknown},"key":"YQ=="}`), { limit: 0n, key: "a" }, unknown);
  }
  const within =
    '{"success":[{"requestPut":{"key":"YQ=="}},{"request_put":{"key":"YQ==","x":{"key":1},"key":"Yg=="}}]}';
  throws(() => new JsonTexts(Buffer.from(within), TxnRequestSchema).next(), /duplicate field "key"/);
  equal(await asked('{"key":99999999999999999999}'), 400);
  deepEqual(await asked('{"x":{"key":1},"y":[{"key":"{\\"key\\":"}],"key":"YQ=="}'), { limit: 0n, key: "a" });
});

test("B0 every method has its path, but for those that gRPC alone has; the document describes each", () => {
  deepEqual(withoutPath, ["/etcdserverpb.KV/RangeStream"]);
  const paths = gatewayMethods.flatMap(({ httpPaths }) => httpPaths);
  equal(new Set(paths).size, paths.length);
  const document = JSON.parse(openApiDocument("1.2.3")) as {
    paths: Record<string, unknown>;
    components: { schemas: Record<string, { properties: Record<string, unknown> }> };
  };
  deepEqual(Object.keys(document.paths).sort(), [...paths].sort());
  const { schemas } = document.components;
  ok("range_end" in schemas["etcdserverpb.RangeRequest"]!.properties);
  for (const [, name] of JSON.stringify(document).matchAll(/#\/components\/schemas\/([\w.]+)/g)) {
    ok(schemas[name!] !== undefined, name);
  }
  match(JSON.stringify(schemas["etcdserverpb.TxnRequest"]), /RequestOp/);
});

test("what is one value of JSON and what is not is as the language's own parser has it", () => {
  const pieces = fc.constantFrom(
    ...["{", "}", "[", "]", ",", ":", '"key"', '"a\\u0041"', '"\\x"', '"\t"', "1", "-", "0", "1.5", "01", "1e5", "2E+"],
    ...["true", "null", "nul", " ", "\n", '"', "\\", "é", "_"],
  );
  const parsed = (read: () => unknown): boolean => {
    try {
      return read() !== undefined;
    } catch {
      return false;
    }
  };
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 9 }), (parts) => {
      const text = parts.join("");
      const ours = parsed(() => {
        const texts = new JsonTexts(Buffer.from(text), TxnRequestSchema);
        const first = texts.next();
        if (texts.next() !== undefined) throw new Error("two values");
        return first;
      });
      equal(
        ours,
        parsed(() => JSON.parse(text) as unknown),
        text,
      );
    }),
    { numRuns: 5000 },
  );
});
