import { isDbError } from "../base/errors.ts";
import type { Database } from "../engine/engine.ts";
import { GrpcError } from "../transport/transport.ts";
import { codes, textOf } from "./errors.ts";
import { withOneRequest } from "./stream-call.ts";
import { endOf, firstPair, oldest, prefixOf } from "./turns.ts";
import { WatchedKeys } from "./watched-keys.ts";
import { decodeLeader } from "./wire/concurrency-requests.ts";
import { headerOf } from "./wire/headers.ts";
import { Message } from "./wire/message.ts";
import { readEvent, type StoredPair } from "./wire/stored-pairs.ts";

/** Election.Observe (K3): the present leader, each value it proclaims and each next leader, until the client goes. */
export const observe = withOneRequest((call, message) => {
  const { name } = decodeLeader(message);
  const gone = new AbortController();
  let drained: () => void = () => {};
  call.onEnd(() => {
    gone.abort();
    drained();
  });
  call.stream.onDrain = () => drained();
  const tell = async (revision: number, pair: StoredPair): Promise<void> => {
    if (call.ended) return;
    const message = new Message().header(headerOf(call.database), revision).alwaysBytes(2, pair.bytes);
    if (call.stream.send(message)) return;
    await new Promise<void>((resolve) => {
      drained = resolve;
    });
  };
  follow(call.database, prefixOf(name), { tell, signal: gone.signal }).catch((error: unknown) =>
    call.fail(isDbError(error) ? new GrpcError(codes.unknown, textOf(error)) : error),
  );
});

interface Observer {
  tell(revision: number, pair: StoredPair): Promise<void>;
  /** The bound of all waiting. */
  readonly signal: AbortSignal;
}

async function follow(database: Database, prefix: string, observer: Observer): Promise<void> {
  while (!observer.signal.aborted) {
    const found = await database.range(oldest(prefix));
    const present = firstPair(found);
    const leader = present ?? (await firstPut(database, prefix, { after: found.revision, signal: observer.signal }));
    if (leader === null) continue;
    const revision = present === null ? leader.modRevision : found.revision;
    await observer.tell(revision, leader);
    await followLeader(database, leader.key, { ...observer, after: revision });
  }
}

/** The next one to come where there is nobody; null where that is to be looked at anew. */
async function firstPut(
  database: Database,
  prefix: string,
  { after, signal }: { after: number; signal: AbortSignal },
): Promise<StoredPair | null> {
  const watched = new WatchedKeys(database, signal);
  try {
    watched.add({ key: prefix, rangeEnd: endOf(prefix), startRevision: after + 1, deletesOnly: false });
    for (let events = await watched.next(); events !== null; events = await watched.next()) {
      const put = events.map(readEvent).find(({ isDelete }) => !isDelete);
      if (put !== undefined) return put.pair;
    }
    return null;
  } finally {
    watched.close();
  }
}

/** Tells what a leader proclaims, until it leads no more. */
async function followLeader(database: Database, key: string, observer: Observer & { after: number }): Promise<void> {
  const watched = new WatchedKeys(database, observer.signal);
  try {
    watched.add({ key, rangeEnd: "", startRevision: observer.after + 1, deletesOnly: false });
    for (let events = await watched.next(); events !== null; events = await watched.next()) {
      for (const { isDelete, pair } of events.map(readEvent)) {
        if (isDelete) return;
        await observer.tell(pair.modRevision, pair);
      }
    }
  } finally {
    watched.close();
  }
}
