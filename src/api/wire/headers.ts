import type { Database, Identity } from "../../engine/engine.ts";
import { bigSize, numberSize, writeBig, writeBytes, writeNumber } from "./write.ts";

/** A response's field `header` (number 1), tag and length included. */
export interface Header {
  size(revision: number): number;
  write(buffer: Buffer, at: number, revision: number): number;
}

const HEADER = 0x0a;
const CLUSTER_ID = 0x08;
const MEMBER_ID = 0x10;
const REVISION = 0x18;
const RAFT_TERM = 0x20;

/** The header of a member in one term: all but the revision is encoded once. */
class MemberHeader implements Header {
  readonly epoch: number;
  readonly #before: Buffer;
  readonly #after: Buffer;

  constructor(clusterId: bigint, memberId: bigint, epoch: number) {
    this.epoch = epoch;
    this.#before = Buffer.alloc(bigSize(clusterId) + bigSize(memberId));
    writeBig(this.#before, writeBig(this.#before, 0, CLUSTER_ID, clusterId), MEMBER_ID, memberId);
    this.#after = Buffer.alloc(numberSize(epoch));
    writeNumber(this.#after, 0, RAFT_TERM, epoch);
  }

  size(revision: number): number {
    return 2 + this.#before.length + numberSize(revision) + this.#after.length;
  }

  write(buffer: Buffer, at: number, revision: number): number {
    buffer[at] = HEADER;
    buffer[at + 1] = this.size(revision) - 2;
    at = writeBytes(buffer, at + 2, this.#before, 0, this.#before.length);
    at = writeNumber(buffer, at, REVISION, revision);
    return writeBytes(buffer, at, this.#after, 0, this.#after.length);
  }
}

/** Headers inside a transaction's response carry a revision alone (B1.13). */
export const innerHeader: Header = {
  size: (revision) => 2 + numberSize(revision),
  write(buffer, at, revision) {
    buffer[at] = HEADER;
    buffer[at + 1] = numberSize(revision);
    return writeNumber(buffer, at + 2, REVISION, revision);
  },
};

/** By identity, which all views of one database share. */
const headers = new WeakMap<Identity, MemberHeader>();

/** The header of what `database` answers now. */
export function headerOf(database: Database): Header {
  let header = headers.get(database.identity);
  if (header === undefined || header.epoch !== database.epoch) {
    const { clusterId, memberId } = database.identity;
    header = new MemberHeader(clusterId, memberId, database.epoch);
    headers.set(database.identity, header);
  }
  return header;
}
