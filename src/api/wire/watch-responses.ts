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
