import type { TxnResult } from "../engine/engine.ts";
import type { Call, Encodable } from "../transport/transport.ts";
import { EncodedPieces, PIECES_BYTES_MIN } from "./encoded-pieces.ts";
import type { TxnResponse } from "./wire/kv-responses.ts";

/**
 * A transaction's answer. A large one is written piece by piece, as the client takes it, from the rows that the engine
 * holds and counts: there is no second copy of it. A small one is written at once.
 */
export function answerTxn(response: TxnResponse, result: TxnResult, call: Call): Encodable {
  if (result.release === undefined) return response;
  const bytes = response.byteLength();
  if (call.takesAnyPieces === true && bytes >= PIECES_BYTES_MIN)
    return new EncodedPieces(bytes, response.pieces(), result.release);
  // Written in this turn of the event loop, or by a gateway that refuses what is large.
  result.release();
  return response;
}
