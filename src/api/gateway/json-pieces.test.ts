import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { fc } from "../../../test/properties.ts";
import { RangeResponseSchema } from "../../gen/etcdserverpb/rpc_pb.ts";
import {
  type Call,
  type Encodable,
  GrpcError,
  type HttpBody,
  type HttpResponse,
  type HttpSink,
  type Pieces,
} from "../../transport/transport.ts";
import { gateway } from "./gateway.ts";

const RANGE = "/etcdserverpb.KV/Range";

interface Answer {
  header?: { revision: bigint };
  kvs?: { key: Buffer; value: Buffer; modRevision: bigint }[];
  more?: boolean;
  count?: bigint;
}

const bytesOf = (answer: Answer): Buffer =>
  Buffer.from(toBinary(RangeResponseSchema, create(RangeResponseSchema, answer as object)));

/** A message in pieces; some of them have to be waited for, and the one at `failsAt` fails. */
class GivenPieces implements Pieces {
  readonly pieces: Buffer[];
  readonly later: boolean;
  readonly failsAt: number;
  given = 0;
  closed = 0;

  constructor(pieces: readonly Answer[], { later = false, failsAt = -1 } = {}) {
    this.pieces = pieces.map(bytesOf).filter(({ length }) => length > 0);
    this.later = later;
    this.failsAt = failsAt;
  }

  byteLength(): number {
    return this.pieces.reduce((sum, { length }) => sum + length, 0);
  }

  encodeInto(): number {
    throw new Error("it is taken in pieces");
  }

  nextPiece(): Buffer | Promise<Buffer> {
    equal(this.closed, 0, "nothing is read after the end");
    if (this.given === this.failsAt) throw new GrpcError(14, "the store is away");
    const piece = this.pieces[this.given++]!;
    return this.later && this.given % 2 === 0 ? Promise.resolve(piece) : piece;
  }

  close(): void {
    this.closed++;
  }
}

/** Takes some parts, then says stop; says go on a turn later. */
class Sink implements HttpSink {
  onDrain: () => void = () => {};
  text = "";
  outcome: "ended" | "aborted" | null = null;
  readonly over = Promise.withResolvers<void>();
  readonly slow: boolean;
  writes = 0;

  constructor(response: HttpResponse, slow = false) {
    this.slow = slow;
    (response.body as HttpBody)(this);
  }

  write(bytes: Buffer): boolean {
    equal(this.outcome, null);
    this.text += bytes.toString();
    this.writes++;
    if (this.slow) setImmediate(() => this.outcome === null && this.onDrain());
    return !this.slow;
  }

  end(): void {
    this.outcome = "ended";
    this.over.resolve();
  }

  abort(): void {
    this.outcome = "aborted";
    this.over.resolve();
  }
}

function ask(answer: (call: Call) => Encodable): {
  response: Promise<HttpResponse>;
  goAway: () => void;
  bugs: unknown[];
} {
  const goes: (() => void)[] = [];
  const bugs: unknown[] = [];
  const handle = gateway({
    routes: { unary: new Map([[RANGE, (_: Buffer, call: Call) => answer(call)]]), streams: new Map() },
    timers: { set: () => ({ cancel: () => {} }) },
    monotonicMs: () => 0,
    messageBytesMax: 1000,
    onBug: (error) => bugs.push(error),
  });
  const request = {
    ...{ method: "POST", target: "/v3/kv/range", body: Buffer.from("{}"), remoteAddress: "1.2.3.4:5" },
    headers: new Map([["host", "h:1"]]),
    onGone: (handler: () => void) => goes.push(handler),
  };
  return { response: Promise.resolve(handle(request)), goAway: () => void goes.map((go) => go()), bugs };
}

const pair = fc.record({
  key: fc.uint8Array({ maxLength: 9 }).map((bytes) => Buffer.from(bytes)),
  value: fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
  modRevision: fc.bigInt({ min: 0n, max: 2n ** 62n }),
});

test("a message in pieces, however it is cut and taken, is the JSON of the whole", async () => {
  const pages = fc.array(fc.array(pair, { maxLength: 4 }), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(pages, fc.boolean(), fc.boolean(), fc.boolean(), async (kvs, more, later, slow) => {
      const count = BigInt(kvs.flat().length);
      const header = { revision: 7n };
      const pieces = new GivenPieces([{ header }, ...kvs.map((page) => ({ kvs: page })), { more, count }], { later });
      const sink = new Sink(await ask(() => pieces).response, slow);
      await sink.over.promise;
      equal(sink.outcome, "ended");
      equal(pieces.closed, 1);
      const whole = bytesOf({ header, kvs: kvs.flat(), more, count });
      const expected = await ask(() => ({
        byteLength: () => whole.length,
        encodeInto: (buffer, at) => at + whole.copy(buffer, at),
      })).response;
      equal(sink.text, expected.body);
    }),
    { numRuns: 200 },
  );
});

test("no piece is read before the client has taken those before it", async () => {
  const pages = Array.from({ length: 5 }, (_, n) => ({
    kvs: [{ key: Buffer.of(n), value: Buffer.alloc(9), modRevision: 1n }],
  }));
  const pieces = new GivenPieces(pages);
  const { response } = ask(() => pieces);
  let drain = (): void => {};
  let written = 0;
  ((await response).body as HttpBody)({
    write: () => {
      written++;
      return false;
    },
    end: () => {},
    abort: () => {},
    set onDrain(handler: () => void) {
      drain = handler;
    },
    get onDrain() {
      return drain;
    },
  });
  deepEqual([written, pieces.given], [1, 1]);
  drain();
  deepEqual([written, pieces.given], [2, 2]);
});

test("what fails amid the body cuts it; a client that goes lets it go, before it begins and amid it", async () => {
  const pages = Array.from({ length: 3 }, () => ({
    kvs: [{ key: Buffer.of(1), value: Buffer.alloc(9), modRevision: 1n }],
  }));
  const failing = new GivenPieces(pages, { failsAt: 2 });
  const cut = ask(() => failing);
  const sink = new Sink(await cut.response);
  deepEqual([sink.outcome, sink.writes, failing.closed, cut.bugs], ["aborted", 2, 1, []]);

  const unread = new GivenPieces(pages);
  const early = ask(() => unread);
  await early.response;
  early.goAway();
  equal(unread.closed, 1);

  const half = new GivenPieces(pages);
  const late = ask(() => half);
  const slow = new Sink(await late.response, true);
  late.goAway();
  await new Promise((resume) => setImmediate(resume));
  deepEqual([slow.writes, half.closed], [1, 1]);
});

test("what is not given in pieces is refused past a bound, by name", async () => {
  const bytes = (16 << 20) + 1;
  const { response } = ask(() => ({ byteLength: () => bytes, encodeInto: () => ok(false) as never }));
  const { status, body } = await response;
  deepEqual(
    [status, JSON.parse(String(body))],
    [
      429,
      {
        code: 8,
        message: `the response is too large for JSON (${bytes} vs. ${16 << 20} bytes): ask by gRPC, or for less`,
      },
    ],
  );
});
