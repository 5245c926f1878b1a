import { DbError } from "../../base/errors.ts";
import { ByteReader, varintSize, writeVarint } from "../../base/varint.ts";
import type { Row } from "../engine.ts";

/** A lease's value in the space `leases` (docs/formats/record.md). */
export interface LeaseValue {
  readonly ttlSeconds: number;
  /** Logged at a clean release; null elsewhere. */
  readonly remainingSeconds: number | null;
}

export function encodeLease({ ttlSeconds, remainingSeconds }: LeaseValue): Uint8Array {
  const bytes = new Uint8Array(varintSize(ttlSeconds) + (remainingSeconds === null ? 0 : varintSize(remainingSeconds)));
  const at = writeVarint(bytes, 0, ttlSeconds);
  if (remainingSeconds !== null) writeVarint(bytes, at, remainingSeconds);
  return bytes;
}

export function decodeLease({ bytes, start, end }: Row): LeaseValue {
  const reader = new ByteReader(bytes, start, end);
  try {
    const ttlSeconds = reader.varint();
    const remainingSeconds = reader.left === 0 ? null : reader.varint();
    if (reader.left !== 0) throw new RangeError("goes on");
    return { ttlSeconds, remainingSeconds };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new DbError("corrupt", `a stored lease ${error.message}`);
  }
}
