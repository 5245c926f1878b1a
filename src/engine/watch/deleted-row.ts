import { varintSize, writeVarint } from "../../base/varint.ts";
import type { Row } from "../engine.ts";

/** Field tags of mvccpb.KeyValue: key (1), mod_revision (3). */
const KEY_TAG = 0x0a;
const MOD_REVISION_TAG = 0x18;

/** The KeyValue of a DELETE event: key and the deletion's revision, nothing else (W11). */
export function encodeDeleted(key: string, revision: number): Row {
  const end = 1 + varintSize(key.length) + key.length + 1 + varintSize(revision);
  const bytes = Buffer.allocUnsafe(end);
  bytes[0] = KEY_TAG;
  let at = writeVarint(bytes, 1, key.length);
  at += bytes.latin1Write(key, at, key.length);
  bytes[at++] = MOD_REVISION_TAG;
  writeVarint(bytes, at, revision);
  return { bytes, start: 0, end };
}
