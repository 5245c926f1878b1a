import { assert } from "../base/assert.ts";
import { crc32c } from "../base/crc32c.ts";
import { DbError, messageOf } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import { ByteReader } from "../base/varint.ts";
import { canonicalJson } from "./canonical-json.ts";
import { type ObjectKind, parseKey } from "./keys.ts";

/**
 * The frame of all small control objects: those that are overwritten, and the create-only ones
 * (docs/formats/envelope.md).
 *
 *   magic "T4OB" | version u8 | codec u8 | kind u8 | 0 | key id u32
 *   | counter u64 | body length u32 | body | CRC-32C u32
 *
 * 1. The counter grows by one with each write of an overwritten object, from 1; a create-only object has 0. With it no
 *    two contents of one object are equal, so neither are two etags, be they content hashes.
 * 2. The checksum begins with the object's key: an object copied to another name is refused, not believed.
 * 3. What a newer version, codec or key id means is not guessed: it is refused by name.
 */
const MAGIC = 0x424f3454; // "T4OB", little-endian
const VERSION = 1;
const CODEC_JSON = 0;
const KEY_NONE = 0;
const HEADER_BYTES = 24;
const TRAILER_BYTES = 4;
const BODY_BYTES_MAX = 4 << 20;

/** Numbers are never given a second meaning; null: such an object has a format of its own. */
const kindNumbers: Record<ObjectKind, number | null> = {
  repository: 1,
  name: 2,
  session: 3,
  origin: 4,
  leader: 5,
  collection: 6,
  collectionDone: 7,
  probe: 8,
  probePassed: 9,
  segment: null,
  checkpoint: null,
  table: null,
};

export interface Envelope {
  counter: number;
  /** What JSON.parse gives; who reads it checks its fields. */
  body: unknown;
}

export function encodeEnvelope(key: ObjectKey, envelope: Envelope): Buffer {
  const kind = kindOf(key);
  assert(kind !== null, `${key} is the name of a control object`);
  assert(Number.isSafeInteger(envelope.counter) && envelope.counter >= 0, "a counter is a safe integer >= 0");
  const body = Buffer.from(canonicalJson(envelope.body), "utf8");
  assert(body.length <= BODY_BYTES_MAX, `${key} has a body of at most ${BODY_BYTES_MAX} bytes, not ${body.length}`);
  const bytes = Buffer.alloc(HEADER_BYTES + body.length + TRAILER_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes[4] = VERSION;
  bytes[5] = CODEC_JSON;
  bytes[6] = kind;
  bytes.writeUInt32LE(KEY_NONE, 8);
  bytes.writeBigUInt64LE(BigInt(envelope.counter), 12);
  bytes.writeUInt32LE(body.length, 20);
  body.copy(bytes, HEADER_BYTES);
  bytes.writeUInt32LE(checksum(key, bytes), bytes.length - TRAILER_BYTES);
  return bytes;
}

/** Throws `corrupt` naming the object and what is wrong, `storeRefused` for what a newer t4 has written. */
export function decodeEnvelope(key: ObjectKey, bytes: Uint8Array): Envelope {
  const corrupt = (what: string) => new DbError("corrupt", `object ${key}: ${what}`);
  if (bytes.length < HEADER_BYTES + TRAILER_BYTES) throw corrupt(`${bytes.length} bytes are too few for its header`);
  if (bytes.length > HEADER_BYTES + BODY_BYTES_MAX + TRAILER_BYTES) throw corrupt(`${bytes.length} bytes are too many`);
  const reader = new ByteReader(bytes);
  if (reader.u32() !== MAGIC) throw corrupt("does not begin with T4OB: not one of t4's control objects");
  const version = reader.u8();
  if (version !== VERSION) throw refused(key, `format version ${version}`);
  const codec = reader.u8();
  const kind = reader.u8();
  const reserved = reader.u8();
  const keyId = reader.u32();
  const trailer = new ByteReader(bytes, bytes.length - TRAILER_BYTES);
  if (trailer.u32() !== checksum(key, bytes)) throw corrupt("wrong checksum (damaged, or copied from another name)");
  if (codec !== CODEC_JSON) throw refused(key, `codec ${codec}`);
  if (keyId !== KEY_NONE) throw refused(key, `encryption key ${keyId}`);
  if (kind !== kindOf(key)) throw corrupt(`holds an object of kind ${kind}, expected ${kindOf(key)}`);
  if (reserved !== 0) throw refused(key, `reserved byte ${reserved}`);
  try {
    const counter = reader.u64();
    const length = reader.u32();
    if (length !== reader.left - TRAILER_BYTES) {
      throw new RangeError(`body of ${length} bytes in a frame for ${reader.left - TRAILER_BYTES}`);
    }
    const body = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(reader.take(length));
    return { counter, body: JSON.parse(body) };
  } catch (error) {
    throw corrupt(messageOf(error));
  }
}

function kindOf(key: ObjectKey): number | null {
  const name = parseKey(key);
  return name && kindNumbers[name.kind];
}

const checksum = (key: ObjectKey, bytes: Uint8Array): number =>
  crc32c(bytes, 0, bytes.length - TRAILER_BYTES, crc32c(Buffer.from(key, "utf8")));

const refused = (key: ObjectKey, what: string): DbError =>
  new DbError("storeRefused", `object ${key}: ${what} is unknown to this version of t4: a newer one has written it`);
