import { createHash, createHmac, type Hash, type Hmac } from "node:crypto";
import type { SignatureV4 } from "@smithy/signature-v4";
import { messageOf } from "../base/errors.ts";
import type { Clock } from "../runtime/runtime.ts";

export interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
}

/** Gives the credentials to sign with now; called for each request, so it keeps and renews them itself. */
export type CredentialSource = () => Promise<Credentials>;

export interface SigningSettings {
  host: string;
  region: string;
  /** Of the shared configuration files; null: the default one. */
  profile: string | null;
  /** Instead of the environment, files, SSO, container and instance metadata. */
  credentials: CredentialSource | null;
}

export interface RequestToSign {
  method: string;
  /** Escaped as it is sent. */
  path: string;
  query: Record<string, string>;
  headers: Record<string, string>;
  /** SHA-256 of the body, hex. */
  bodyHash: string;
}

/** Nothing was found to sign with. May pass, where credentials come from elsewhere. */
export class NoCredentials extends Error {
  override readonly name = "NoCredentials";
}

/** AWS Signature Version 4 by the official packages, which are loaded with the first request. */
export class Signer {
  readonly #settings: SigningSettings;
  readonly #clock: Pick<Clock, "wallMs">;
  #signer: Promise<SignatureV4> | null = null;
  /** Added to our clock in signatures, for a server that refuses ours as too far off. */
  #correctionMs = 0;

  constructor(settings: SigningSettings, clock: Pick<Clock, "wallMs">) {
    this.#settings = settings;
    this.#clock = clock;
  }

  /** The headers to send. Throws with one line when no credentials are to be had. */
  async sign(request: RequestToSign): Promise<Record<string, string>> {
    this.#signer ??= this.#create();
    let signer: SignatureV4;
    try {
      signer = await this.#signer;
    } catch (error) {
      this.#signer = null;
      throw error;
    }
    const headers: Record<string, string> = {
      ...request.headers,
      host: this.#settings.host,
      "x-amz-content-sha256": request.bodyHash,
    };
    const { method, path, query } = request;
    const signingDate = new Date(this.#clock.wallMs() + this.#correctionMs);
    try {
      const toSign = { method, path, query, headers, protocol: "https:", hostname: this.#settings.host };
      return (await signer.sign(toSign, { signingDate })).headers;
    } catch (error) {
      throw new NoCredentials(`no credentials: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Reads the credentials anew for the next request. */
  forget(): void {
    this.#signer = null;
  }

  /** Signs by the server's clock from now on. */
  correct(skewMs: number): void {
    this.#correctionMs = skewMs;
  }

  async #create(): Promise<SignatureV4> {
    const { SignatureV4 } = await import("@smithy/signature-v4");
    const { region, profile } = this.#settings;
    const credentials = this.#settings.credentials ?? (await defaultSource(profile));
    // S3 signs the path as it is sent, not escaped a second time.
    return new SignatureV4({
      credentials,
      region,
      service: "s3",
      sha256: Sha256,
      uriEscapePath: false,
      applyChecksum: false,
    });
  }
}

async function defaultSource(profile: string | null): Promise<CredentialSource> {
  const { defaultProvider } = await import("@aws-sdk/credential-provider-node");
  // `ignoreCache`: files are read again when credentials have expired, not taken from the first reading.
  return defaultProvider({ ignoreCache: true, ...(profile === null ? {} : { profile }) });
}

/** Node's SHA-256, or HMAC with a secret, in the shape that the signer asks for. */
class Sha256 {
  readonly #secret: string | Uint8Array | undefined;
  #hash: Hash | Hmac;

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#secret = secret === undefined || typeof secret === "string" ? secret : bytesOf(secret);
    this.#hash = this.#start();
  }

  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.#hash.update(typeof data === "string" ? data : bytesOf(data));
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }

  reset(): void {
    this.#hash = this.#start();
  }

  #start(): Hash | Hmac {
    return this.#secret === undefined ? createHash("sha256") : createHmac("sha256", this.#secret);
  }
}

const bytesOf = (data: ArrayBuffer | ArrayBufferView): Uint8Array =>
  ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
