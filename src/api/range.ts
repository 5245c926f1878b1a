import { DbError } from "../base/errors.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import {
  type Database,
  type RangeCursor,
  type RangeRequest,
  type Row,
  sortOrders,
  sortTargets,
} from "../engine/engine.ts";
import { type Call, type Encodable, GrpcError } from "../transport/transport.ts";
import { codes } from "./errors.ts";
import { FIRST_PAGE_BYTES, FIRST_PAGE_ROWS, type LargeRanges } from "./large-ranges.ts";
import type { ServiceTimers } from "./settings.ts";
import { type StreamCall, type StreamService, withOneRequest } from "./stream-call.ts";
import { encoded } from "./unary-call.ts";
import { headerOf } from "./wire/headers.ts";
import { decodeRange } from "./wire/kv-requests.ts";
import { RangeResponse, RangeStreamResponse } from "./wire/kv-responses.ts";

/** KV.Range: an answer of one page leaves at once; what is larger is measured first, and sent in pieces. */
export function answerRange(
  database: Database,
  request: RangeRequest,
  call: Call,
  large: LargeRanges,
): MaybePromise<Encodable> {
  if (request.rangeEnd === "" || request.countOnly || call.takesPieces !== true) {
    return encoded(database.range(request), (result) => new RangeResponse(headerOf(database), request, result));
  }
  const cursor = database.openRange(request);
  const begin = (opened: RangeCursor): MaybePromise<Encodable> => {
    const failed = (error: unknown): never => {
      opened.close?.();
      throw error;
    };
    try {
      const page = opened.next(FIRST_PAGE_ROWS, FIRST_PAGE_BYTES);
      return isPromise(page) ? page.then((rows) => rest(opened, rows)).catch(failed) : rest(opened, page);
    } catch (error) {
      return failed(error);
    }
  };
  const rest = (opened: RangeCursor, first: readonly Row[]): MaybePromise<Encodable> => {
    const header = headerOf(database);
    if (!opened.ended) {
      const letGo = database.holdOpen();
      const release = (): void => {
        letGo();
        opened.close?.();
      };
      const asked = { header, keysOnly: request.keysOnly, call, cursor: opened, first, onClose: release };
      return large.answer(asked).catch((error: unknown) => {
        release();
        throw error;
      });
    }
    const { revision, more, count } = opened;
    // Encoded in this turn.
    opened.close?.();
    return new RangeResponse(header, request, { kind: "range", revision, rows: first, more, count });
  };
  return isPromise(cursor) ? cursor.then(begin) : begin(cursor);
}

/** Rows of the first chunk, and of the largest; each has twice as many as the one before it, as from etcd (RS5). */
const CHUNK_ROWS_MIN = 10;
const CHUNK_ROWS_MAX = 4096;
const CHUNK_BYTES = 256 << 10;

/** KV.RangeStream (RS1 to RS10): the range in chunks, each read when the client has taken most of those before it. */
export function rangeStream(timers: ServiceTimers): StreamService {
  return withOneRequest((call, message) => {
    const request = decodeRange(message);
    checkStreamable(request);
    sendChunks(call, request, timers).then(
      () => call.end(),
      (error: unknown) => call.fail(error),
    );
  });
}

/** RS2, RS3. What makes a Range invalid is told by opening it. */
function checkStreamable(request: RangeRequest): void {
  const { none, ascend } = sortOrders;
  const isByKey = request.sortTarget === sortTargets.key && request.sortOrder === ascend;
  const isUsualOrder = request.sortOrder === none || isByKey;
  const isOrder =
    request.sortOrder >= 0 && request.sortOrder <= 2 && request.sortTarget >= 0 && request.sortTarget <= 4;
  if (request.key === "" || !isOrder) return;
  if (!isUsualOrder) {
    throw new GrpcError(codes.unimplemented, "RangeStream does not support custom sort orders");
  }
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  if ((minModRevision || maxModRevision || minCreateRevision || maxCreateRevision) !== 0) {
    throw new GrpcError(codes.unimplemented, "RangeStream does not support revision filters");
  }
}

/** After each await the call may be over, and the revision compacted (RS4, RS10): both are looked at again. */
async function sendChunks(call: StreamCall, request: RangeRequest, timers: ServiceTimers): Promise<void> {
  const { database, stream } = call;
  const { keysOnly } = request;
  // With no order given etcd streams by key, whatever the target.
  request.sortTarget = sortTargets.key;
  const cursor = await database.openRange(request);
  for (let rowsMax = CHUNK_ROWS_MIN; ; rowsMax = Math.min(CHUNK_ROWS_MAX, 2 * rowsMax)) {
    while (!stream.hasRoom(CHUNK_BYTES)) {
      await new Promise<void>((resume) => {
        stream.onDrain = resume;
      });
      if (call.ended) return;
    }
    const rows = await cursor.next(rowsMax, CHUNK_BYTES);
    if (call.ended) return;
    if (!cursor.ended && cursor.at < database.compactRevision) throw new DbError("compacted");
    const { revision, more, count } = cursor;
    const last = cursor.ended ? { header: headerOf(database), revision, more, count } : null;
    const flows = stream.send(new RangeStreamResponse(rows, keysOnly, last));
    if (last !== null) return;
    await new Promise<void>((resume) => {
      if (flows) timers.defer(resume);
      else stream.onDrain = resume;
    });
    if (call.ended) return;
  }
}
