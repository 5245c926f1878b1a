import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { openRig } from "../../test/engine/doubles.ts";
import { put, range } from "../../test/engine/requests.ts";
import { isDbError } from "../base/errors.ts";
import type { Database, RangeRequest } from "../engine/engine.ts";
import type { Call, Encodable, Pieces } from "../transport/transport.ts";
import { type LargeRangeBounds, LargeRanges } from "./large-ranges.ts";
import { answerRange } from "./range.ts";
import { headerOf } from "./wire/headers.ts";
import { RangeResponse } from "./wire/kv-responses.ts";

const timers = {
  set: () => ({ cancel() {} }),
  defer: (fire: () => void) => void setImmediate(fire),
};

const bounds: LargeRangeBounds = { keptBytesMax: 8 << 20, keptBytesEach: 8 << 20, measuredMax: 3, waitingMax: 1 };

class FakeCall implements Call {
  readonly path = "/etcdserverpb.KV/Range";
  readonly authority = "";
  readonly remoteAddress = "";
  readonly peer = null;
  readonly takesPieces = true;
  cancel: () => void = () => {};
  metadata(): undefined {}
  timeLeftMs(): undefined {}
  onCancel(handler: () => void): void {
    this.cancel = handler;
  }
}

const KEYS = 600;
const VALUE_BYTES = 5000;
const everything = range("k", "l");

/** Three megabytes. */
async function filled(): Promise<Database> {
  const { database } = await openRig();
  for (let i = 0; i < KEYS; i++) await database.put(put(`k${i}`, "v".repeat(VALUE_BYTES)));
  return database;
}

const ask = async (database: Database, large: LargeRanges, request = everything): Promise<Pieces> =>
  (await answerRange(database, request, new FakeCall(), large)) as Pieces;

async function taken(pieces: Pieces): Promise<Buffer> {
  const all: Buffer[] = [];
  for (let left = pieces.byteLength(); left > 0; left -= all.at(-1)!.length) all.push(await pieces.nextPiece());
  pieces.close();
  return Buffer.concat(all);
}

async function whole(database: Database, request: RangeRequest): Promise<Buffer> {
  const response: Encodable = new RangeResponse(headerOf(database), request, await database.range(request));
  const buffer = Buffer.alloc(response.byteLength());
  equal(response.encodeInto(buffer, 0), buffer.length);
  return buffer;
}

test("a large range in pieces is the message, of rows kept or read again, while others write", async () => {
  const database = await filled();
  const requests = [
    everything,
    range("k", "l", { keysOnly: true }),
    range("k", "l", { limit: 500 }),
    range("k", "l", { sortOrder: 2 }),
    range("k", "l", { minModRevision: 300, maxModRevision: 550 }),
  ];
  for (const keptBytesEach of [8 << 20, 1 << 20, 0]) {
    const large = new LargeRanges(timers, { ...bounds, keptBytesEach });
    for (const request of requests) {
      const want = await whole(database, request);
      const pieces = await ask(database, large, request);
      ok(pieces.nextPiece !== undefined, "more than a page");
      equal(large.keptBytes > 2 << 20, keptBytesEach === 8 << 20 && !(request.minModRevision > 0));
      await database.put(put("k1", `later ${request.limit}`));
      deepEqual(await taken(pieces), want);
      equal(large.keptBytes, 0);
    }
  }
});

test("rows of all answers are kept up to a bound; given up, they count no more", async () => {
  const database = await filled();
  const large = new LargeRanges(timers, bounds);
  const answers = [await ask(database, large), await ask(database, large), await ask(database, large)];
  // Two of three megabytes fit into eight.
  ok(large.keptBytes > 6_000_000 && large.keptBytes <= bounds.keptBytesMax, `${large.keptBytes} kept`);
  for (const answer of answers) answer.close();
  equal(large.keptBytes, 0);
});

test("so many are measured at once, so many more wait, the next is refused; who waits may go away", async () => {
  const database = await filled();
  const large = new LargeRanges(timers, bounds);
  const measured = [ask(database, large), ask(database, large), ask(database, large)];
  const call = new FakeCall();
  const waiting = Promise.resolve(answerRange(database, everything, call, large));
  await rejects(ask(database, large), (error) => isDbError(error, "tooManyRequests"));
  call.cancel();
  await rejects(waiting, (error) => isDbError(error, "canceled"));
  for (const answer of await Promise.all(measured)) answer.close();
  equal(large.keptBytes, 0);
});

test("answers that nobody takes keep nobody else from theirs", async () => {
  const database = await filled();
  const large = new LargeRanges(timers, bounds);
  const unread: Pieces[] = [];
  for (let i = 0; i < 10; i++) unread.push(await ask(database, large));
  const answer = await ask(database, large);
  equal((await taken(answer)).length, unread[0]!.byteLength());
  for (const each of unread) each.close();
  equal(large.keptBytes, 0);
});
