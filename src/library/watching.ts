import { assert } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
import { ByteReader } from "../base/varint.ts";
import type { Database, WatchMessage, WatchStream } from "../engine/engine.ts";
import { type Keys, type KeyValue, pairOf, rangeOf } from "./pairs.ts";

/** What happened to a key. */
export interface WatchEvent {
  readonly type: "put" | "delete";
  /** Of a deletion only key and modRevision say something. */
  readonly kv: KeyValue;
  /** Before the change, where it was asked for and there was one. */
  readonly prev: KeyValue | null;
}

export interface WatchOptions {
  /** From this revision on, history first; else what happens from now on. */
  startRevision?: number;
  prevKv?: boolean;
  signal?: AbortSignal;
}

/**
 * Messages that may wait for the program before the database holds back; what it then misses is read again from
 * history.
 */
const QUEUE_MAX = 64;

/**
 * Events, the whole of one or more revisions at a time and in order, until the loop ends or the signal fires. Throws
 * DbError: `compacted` when what it needs is gone, `stopped` or `noLeader` when the database ends (begin again at the
 * last revision + 1).
 */
export async function* watchKeys(
  database: Database,
  keys: Keys,
  options: WatchOptions,
): AsyncGenerator<{ revision: number; events: WatchEvent[] }> {
  const queue = new MessageQueue(database);
  const { key, rangeEnd } = rangeOf(keys);
  const aborted = () => queue.end(null);
  options.signal?.addEventListener("abort", aborted, { once: true });
  try {
    if (options.signal?.aborted) return;
    queue.stream.create({
      key,
      rangeEnd,
      startRevision: options.startRevision ?? 0,
      progressNotify: false,
      noPut: false,
      noDelete: false,
      prevKv: options.prevKv ?? false,
      watchId: 0n,
      fragment: false,
    });
    for (;;) {
      const message = await queue.next();
      if (message === null) return;
      if (message.kind === "canceled") throw canceled(message);
      if (message.kind !== "events") continue;
      const events = message.events.map(eventOf);
      // Of the last event: what history is told of in a message may be behind the revision that the message names.
      yield { revision: events[events.length - 1]!.kv.modRevision, events };
    }
  } finally {
    options.signal?.removeEventListener("abort", aborted);
    queue.stream.close();
  }
}

const canceled = (message: Extract<WatchMessage, { kind: "canceled" }>): DbError =>
  message.compactRevision > 0
    ? new DbError("compacted", `history before revision ${message.compactRevision} is gone`)
    : new DbError("invalidArgument", message.reason);

class MessageQueue {
  readonly stream: WatchStream;
  readonly #messages: WatchMessage[] = [];
  #ended: { error: unknown } | null = null;
  #wake: (() => void) | null = null;

  constructor(database: Database) {
    this.stream = database.watch({
      send: (message) => {
        this.#messages.push(message);
        this.#wake?.();
        return this.#messages.length < QUEUE_MAX;
      },
      fail: (error) => this.end(error),
    });
  }

  end(error: unknown): void {
    this.#ended ??= { error };
    this.#wake?.();
  }

  /** Null once it was ended without an error. What waits is given first. */
  async next(): Promise<WatchMessage | null> {
    while (this.#messages.length === 0) {
      if (this.#ended !== null) {
        if (this.#ended.error !== null) throw this.#ended.error;
        return null;
      }
      this.stream.resume();
      if (this.#messages.length > 0) break;
      // Woken by the next message or by the end; the database's own end comes as one.
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = null;
    }
    return this.#messages.shift()!;
  }
}

/** Decodes mvccpb.Event as the database makes it: type, kv, prev_kv. */
function eventOf(bytes: Uint8Array): WatchEvent {
  const reader = new ByteReader(bytes);
  let type: WatchEvent["type"] = "put";
  let kv: KeyValue | null = null;
  let prev: KeyValue | null = null;
  while (reader.left > 0) {
    const tag = reader.u8();
    const number = reader.varint();
    if (tag === 0x08) {
      type = number === 1 ? "delete" : "put";
      continue;
    }
    const start = reader.skip(number);
    const pair = pairOf({ bytes, start, end: start + number });
    if (tag === 0x12) kv = pair;
    else prev = pair;
  }
  assert(kv !== null, "an event has a pair");
  return { type, kv, prev };
}
