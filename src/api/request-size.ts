import { DbError } from "../base/errors.ts";

/**
 * What etcd's consensus log adds to a request: it is the request with this envelope that is held against the limit
 * (B1.1; measured).
 */
const ENVELOPE_BYTES = 17;

export type RequestSizeCheck = (message: Buffer) => void;

/** For requests that etcd writes to its log; reads are bounded by the transport alone. */
export const requestSizeCheck =
  (bytesMax: number): RequestSizeCheck =>
  (message) => {
    if (message.length + ENVELOPE_BYTES > bytesMax) throw new DbError("requestTooLarge");
  };
