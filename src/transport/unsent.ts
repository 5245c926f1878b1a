import type { ByteStream } from "../runtime/runtime.ts";
import { UNSENT_SLOW_MS } from "./limits.ts";

/** A connection as somebody who may have to go, so that others have room. */
export interface UnsentHolder {
  /** What waits for its peer: in the queues of its streams, and handed to the socket. */
  readonly unsentBytes: number;
  /** When its peer last took something. */
  readonly takenMs: number;
  destroy(): void;
}

/** What the sockets of all connections have been handed and the system has not taken. */
export class SocketBytes {
  total = 0;
}

/** The part of one connection. It is looked at whenever something was written, and when the system has taken some. */
export class SocketShare {
  private readonly all: SocketBytes;
  private readonly bytes: ByteStream;
  /** As last counted; 0 once the connection is over. */
  counted = 0;
  private over = false;

  constructor(all: SocketBytes, bytes: ByteStream) {
    this.all = all;
    this.bytes = bytes;
  }

  note(): void {
    const { pendingBytes } = this.bytes;
    if (pendingBytes === this.counted || this.over) return;
    this.all.total += pendingBytes - this.counted;
    this.counted = pendingBytes;
  }

  /** The connection is over: what its socket still has goes with it. */
  close(): void {
    this.over = true;
    this.all.total -= this.counted;
    this.counted = 0;
  }
}

/**
 * Who has to go for `bytes` to be free: whoever has taken nothing lately, and holds most; where that is not enough,
 * whoever else holds most.
 */
export function slowestReaders<Holder extends UnsentHolder>(
  holders: Iterable<Holder>,
  bytes: number,
  nowMs: number,
): Holder[] {
  const found = [...holders].filter((holder) => holder.unsentBytes > 0);
  const isSlow = (holder: Holder): boolean => nowMs - holder.takenMs >= UNSENT_SLOW_MS;
  found.sort((a, b) => Number(isSlow(b)) - Number(isSlow(a)) || b.unsentBytes - a.unsentBytes);
  const slowest: Holder[] = [];
  for (let left = bytes, at = 0; left > 0 && at < found.length; at++) {
    slowest.push(found[at]!);
    left -= found[at]!.unsentBytes;
  }
  return slowest;
}
