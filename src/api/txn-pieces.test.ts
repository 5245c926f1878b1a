import { equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { openRig } from "../../test/engine/doubles.ts";
import { del, everything, put, range, txn } from "../../test/engine/requests.ts";
import type { TxnRequest } from "../engine/engine.ts";
import { type Call, inPieces } from "../transport/transport.ts";
import { answerTxn } from "./txn-pieces.ts";
import { headerOf } from "./wire/headers.ts";
import { TxnResponse } from "./wire/kv-responses.ts";

const VALUE = "v".repeat(3000);

async function answered(request: TxnRequest) {
  const { database } = await openRig();
  for (let n = 0; n < 300; n++) await database.put(put(`k${n}`, VALUE));
  const result = await database.txn(request);
  const response = () => new TxnResponse(headerOf(database), request, result);
  return { result, response };
}

const any = { takesAnyPieces: true } as Call;

test("a large answer's pieces are the message, bounded each, and its rows are released when it is closed", async () => {
  const nested = txn([range("k1", "k2"), put("n", "1"), range(...everything, { keysOnly: true })]);
  const deleting = { ...del("k1", "k13"), prevKv: true };
  const ops = [range(...everything), range("none", "nonf"), nested, put("z", "1"), range(...everything, { limit: 50 })];
  const { result, response } = await answered(txn([...ops, deleting]));
  const whole = response();
  const bytes = Buffer.alloc(whole.byteLength());
  equal(whole.encodeInto(bytes, 0), bytes.length);
  let released = 0;
  result.release = () => released++;
  const pieces = answerTxn(response(), result, any);
  ok(inPieces(pieces));
  equal(pieces.byteLength(), bytes.length);
  const taken: Buffer[] = [];
  for (let left = bytes.length; left > 0; left -= taken.at(-1)!.length) taken.push(await pieces.nextPiece());
  ok(Buffer.concat(taken).equals(bytes));
  // The deletion's pairs are one piece.
  ok(taken.slice(0, -1).every((piece) => piece.length > 0 && piece.length < 80_000));
  equal(released, 0);
  pieces.close();
  equal(released, 1);
});

test("a small answer, and one to who takes no pieces, is written at once and released", async () => {
  for (const [request, call] of [
    [txn([range("k1", "k11")]), any],
    [txn([range(...everything)]), {} as Call],
  ] as const) {
    const { result, response } = await answered(request);
    let released = 0;
    result.release = () => released++;
    ok(!inPieces(answerTxn(response(), result, call)));
    equal(released, 1);
  }
});
