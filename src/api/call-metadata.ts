import { isUtf8 } from "node:buffer";
import type { Credentials } from "../engine/engine.ts";
import type { Call } from "../transport/transport.ts";

const BEARER = "Bearer ";
const isAscii = /^[\x20-\x7e]*$/;

/** What is asked of every call's metadata and peer. */
export class CallMetadata implements Credentials {
  /** What the client says of its own version (B1.10); null: nothing. */
  readonly version: string | null;
  readonly isVersionText: boolean;
  /** The call is to be refused, or cut, where there is no leader (B1.9). */
  readonly requiresLeader: boolean;
  readonly #token: string | undefined;
  readonly #commonName: string | null;

  constructor(call: Call) {
    const version = call.metadata("client-api-version");
    this.version = version ?? null;
    // Metadata comes with one character per byte.
    this.isVersionText = version === undefined || isAscii.test(version) || isUtf8(Buffer.from(version, "latin1"));
    this.requiresLeader = call.metadata("hasleader") === "true";
    const token = call.metadata("token") ?? call.metadata("authorization");
    this.#token = token?.startsWith(BEARER) ? token.slice(BEARER.length) : token;
    // What comes through the JSON gateway has no peer: a certificate there would be a proxy's (A17).
    const name = call.peer?.commonName;
    this.#commonName = name === undefined ? null : Buffer.from(name, "utf8").latin1Slice();
  }

  /** B1.8 */
  token(): string | undefined {
    return this.#token;
  }

  commonName(): string | null {
    return this.#commonName;
  }
}

/** Read once for all calls of a connection that have the same metadata. */
export function metadataOf(call: Call): CallMetadata {
  const { shared } = call;
  if (shared === undefined) return new CallMetadata(call);
  if (shared.known instanceof CallMetadata) return shared.known;
  const metadata = new CallMetadata(call);
  shared.known = metadata;
  return metadata;
}
