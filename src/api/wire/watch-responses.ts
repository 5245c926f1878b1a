import type { WatchMessage } from "../../engine/engine.ts";
import type { Encodable } from "../../transport/transport.ts";
import type { Header } from "./headers.ts";
import {
  bigSize,
  boolSize,
  lengthDelimitedSize,
  signedSize,
  textSize,
  writeBig,
  writeBool,
  writeBytes,
  writeLength,
  writeSigned,
  writeText,
} from "./write.ts";

const WATCH_ID = 0x10;
const CREATED = 0x18;
const CANCELED = 0x20;
const COMPACT_REVISION = 0x28;
const CANCEL_REASON = 0x32;
const FRAGMENT = 0x38;
const EVENTS = 0x5a;

const noEvents: readonly Uint8Array[] = [];

/** etcdserverpb.WatchResponse. Events are encoded once by the engine and shared by all who are told of them. */
export class WatchResponse implements Encodable {
  readonly #header: Header;
  readonly #revision: number;
  readonly #id: bigint;
  readonly #created: boolean;
  readonly #canceled: boolean;
  readonly #compactRevision: number;
  readonly #reason: string;
  readonly #fragment: boolean;
  readonly #events: readonly Uint8Array[];

  constructor(header: Header, message: WatchMessage) {
    const canceled = message.kind === "canceled" ? message : null;
    this.#header = header;
    this.#revision = message.revision;
    this.#id = message.id;
    this.#created = message.kind === "created" || canceled?.created === true;
    this.#canceled = canceled !== null;
    this.#compactRevision = canceled?.compactRevision ?? 0;
    this.#reason = canceled?.reason ?? "";
    this.#fragment = message.kind === "events" && message.more;
    this.#events = message.kind === "events" ? message.events : noEvents;
  }

  byteLength(): number {
    let size = this.#header.size(this.#revision) + bigSize(this.#id);
    size += boolSize(this.#created) + boolSize(this.#canceled) + boolSize(this.#fragment);
    size += signedSize(this.#compactRevision) + textSize(this.#reason);
    for (const event of this.#events) size += lengthDelimitedSize(event.length);
    return size;
  }

  encodeInto(buffer: Buffer, at: number): number {
    at = this.#header.write(buffer, at, this.#revision);
    at = writeBig(buffer, at, WATCH_ID, this.#id);
    at = writeBool(buffer, at, CREATED, this.#created);
    at = writeBool(buffer, at, CANCELED, this.#canceled);
    at = writeSigned(buffer, at, COMPACT_REVISION, this.#compactRevision);
    at = writeText(buffer, at, CANCEL_REASON, this.#reason);
    at = writeBool(buffer, at, FRAGMENT, this.#fragment);
    for (const event of this.#events) {
      at = writeLength(buffer, at, EVENTS, event.length);
      at = writeBytes(buffer, at, event, 0, event.length);
    }
    return at;
  }
}

/** Larger ones are not kept for whoever is told next. */
const SHARED_BYTES_MAX = 64 << 10;

/**
 * Watch responses of one server. What follows one another and differs in the watcher's id alone, as when many watch one
 * key, is put together once.
 */
export class WatchResponses {
  #header: Header | null = null;
  #revision = 0;
  #events: readonly Uint8Array[] = noEvents;
  /** What comes before and after the id; null until it is asked for a second time. */
  #shared: { before: Buffer; after: Buffer } | null = null;

  of(header: Header, message: WatchMessage): Encodable {
    if (message.kind !== "events" || message.more) return new WatchResponse(header, message);
    const { events, revision } = message;
    if (events !== this.#events || header !== this.#header || revision !== this.#revision) {
      this.#events = bytesOf(events) <= SHARED_BYTES_MAX ? events : noEvents;
      this.#header = header;
      this.#revision = revision;
      this.#shared = null;
      return new WatchResponse(header, message);
    }
    this.#shared ??= partsOf(header, message);
    return new SharedResponse(this.#shared, message.id);
  }
}

function bytesOf(events: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const event of events) bytes += event.length;
  return bytes;
}

function partsOf(header: Header, message: WatchMessage): { before: Buffer; after: Buffer } {
  const whole = new WatchResponse(header, { ...message, id: 0n });
  const bytes = Buffer.allocUnsafeSlow(whole.byteLength());
  whole.encodeInto(bytes, 0);
  const idAt = header.size(message.revision);
  return { before: bytes.subarray(0, idAt), after: bytes.subarray(idAt) };
}

class SharedResponse implements Encodable {
  readonly #parts: { before: Buffer; after: Buffer };
  readonly #id: bigint;

  constructor(parts: { before: Buffer; after: Buffer }, id: bigint) {
    this.#parts = parts;
    this.#id = id;
  }

  byteLength(): number {
    return this.#parts.before.length + bigSize(this.#id) + this.#parts.after.length;
  }

  encodeInto(buffer: Buffer, at: number): number {
    const { before, after } = this.#parts;
    at = writeBytes(buffer, at, before, 0, before.length);
    at = writeBig(buffer, at, WATCH_ID, this.#id);
    return writeBytes(buffer, at, after, 0, after.length);
  }
}
