import { assert } from "../../base/assert.ts";
import type { Row } from "../../engine/engine.ts";
import { WireReader } from "./reader.ts";

/** What the lock and election services read of an encoded mvccpb.KeyValue. */
export interface StoredPair {
  readonly key: string;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly value: Uint8Array;
  /** As encoded. */
  readonly bytes: Uint8Array;
}

export const pairOfRow = ({ bytes, start, end }: Row): StoredPair => readPair(bytes.subarray(start, end));

function readPair(bytes: Uint8Array): StoredPair {
  const reader = new WireReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  const pair = { key: "", createRevision: 0, modRevision: 0, value: new Uint8Array(0), bytes };
  while (reader.at < reader.end) {
    const tag = reader.tag();
    if (tag === 0x0a) pair.key = reader.latin1();
    else if (tag === 0x10) pair.createRevision = reader.int64Clamped();
    else if (tag === 0x18) pair.modRevision = reader.int64Clamped();
    else if (tag === 0x2a) pair.value = new Uint8Array(reader.view());
    else reader.other("KeyValue", []);
  }
  return pair;
}

/** An encoded mvccpb.Event. */
export function readEvent(bytes: Uint8Array): { isDelete: boolean; pair: StoredPair } {
  const reader = new WireReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  let isDelete = false;
  let pair: StoredPair | null = null;
  while (reader.at < reader.end) {
    const tag = reader.tag();
    if (tag === 0x08) isDelete = reader.enumeration() === 1;
    else if (tag === 0x12) pair = readPair(reader.view());
    else reader.other("Event", []);
  }
  assert(pair !== null, "an event has a pair");
  return { isDelete, pair };
}
