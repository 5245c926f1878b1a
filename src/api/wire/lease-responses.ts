import type { Encodable } from "../../transport/transport.ts";
import type { Header } from "./headers.ts";
import { bigSize, signedSize, writeBig, writeSigned } from "./write.ts";

const ID = 0x10;
const TTL = 0x18;

/** etcdserverpb.LeaseGrantResponse without an error, and LeaseKeepAliveResponse: both have the same fields. */
export class LeaseResponse implements Encodable {
  readonly #header: Header;
  readonly #revision: number;
  readonly #id: bigint;
  readonly #ttlSeconds: number;

  constructor(header: Header, { revision, id, ttlSeconds }: { revision: number; id: bigint; ttlSeconds: number }) {
    this.#header = header;
    this.#revision = revision;
    this.#id = id;
    this.#ttlSeconds = ttlSeconds;
  }

  byteLength(): number {
    return this.#header.size(this.#revision) + bigSize(this.#id) + signedSize(this.#ttlSeconds);
  }

  encodeInto(buffer: Buffer, at: number): number {
    at = this.#header.write(buffer, at, this.#revision);
    at = writeBig(buffer, at, ID, this.#id);
    return writeSigned(buffer, at, TTL, this.#ttlSeconds);
  }
}
