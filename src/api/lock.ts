import { DbError } from "../base/errors.ts";
import { bytesOfKey } from "../base/latin1.ts";
import type { Database } from "../engine/engine.ts";
import { GrpcError } from "../transport/transport.ts";
import { codes } from "./errors.ts";
import {
  firstPair,
  ifCreatedAt,
  isMyTurn,
  keyOf,
  leave,
  NO_VALUE,
  oldest,
  ownRevision,
  type Place,
  prefixOf,
  putOf,
  rangeOf,
  sessionLease,
  uncoded,
} from "./turns.ts";
import type { Method } from "./unary-call.ts";
import { untilCanceled } from "./until-canceled.ts";
import { decodeLock, decodeUnlock } from "./wire/concurrency-requests.ts";
import { headerOf } from "./wire/headers.ts";
import { Message } from "./wire/message.ts";

/** v3lockpb.Lock (K1, K2). */
export const lockService: Record<string, Method> = {
  "/v3lockpb.Lock/Lock": (database, message, call) => {
    const request = decodeLock(message);
    return uncoded(
      lock(database, request, untilCanceled(call)).then(({ key, revision }) =>
        new Message().header(headerOf(database), revision).alwaysBytes(2, bytesOfKey(key)),
      ),
    );
  },
  "/v3lockpb.Lock/Unlock": (database, message) => {
    const { key } = decodeUnlock(message);
    return uncoded(unlock(database, key).then((revision) => new Message().header(headerOf(database), revision)));
  },
};

async function unlock(database: Database, key: string): Promise<number> {
  return (await database.deleteRange({ kind: "deleteRange", key, rangeEnd: "", prevKv: false })).revision;
}

/** Every await ends when the call does: those of the database by its own bounds, the waiting by the signal. */
async function lock(
  database: Database,
  { name, lease: wanted }: ReturnType<typeof decodeLock>,
  signal: AbortSignal,
): Promise<{ key: string; revision: number }> {
  const lease = await sessionLease(database, wanted);
  const prefix = prefixOf(name);
  const key = keyOf(prefix, lease);
  const taken = await ifCreatedAt(
    database,
    { key, revision: 0n },
    { success: [putOf(key, NO_VALUE, lease), oldest(prefix)], failure: [rangeOf(key), oldest(prefix)] },
  );
  const createRevision = taken.succeeded ? taken.revision : firstPair(taken.responses[0])!.createRevision;
  const place: Place = { prefix, key, lease, createRevision };
  const owner = firstPair(taken.responses[1]);
  const isOwn = owner === null || owner.createRevision === createRevision;
  if (!isOwn) return { key, revision: await waitForLock(database, place, signal) };
  // A new lock that nobody heard of would keep all others out until its lease ends; one that was held before stays.
  if (signal.aborted && taken.succeeded) {
    await leave(database, place);
    throw new DbError("canceled");
  }
  return { key, revision: taken.revision };
}

async function waitForLock(database: Database, place: Place, signal: AbortSignal): Promise<number> {
  try {
    const revision = (await isMyTurn(database, place, signal)) ? await ownRevision(database, place) : null;
    if (revision === null) throw new GrpcError(codes.unknown, "mutex: session is expired");
    if (signal.aborted) throw new DbError("canceled");
    return revision;
  } catch (error) {
    await leave(database, place);
    throw error;
  }
}
