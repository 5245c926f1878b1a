import { hash } from "node:crypto";
import { messageOf } from "../base/errors.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { LATE, type RetryBudget, within } from "./retry.ts";
import { errorOf, type S3Error } from "./s3-errors.ts";
import { type HttpAnswer, HttpClient, HttpFailure, type HttpSettings } from "./s3-http.ts";
import { queryOf, type S3Call } from "./s3-request.ts";
import { Signer, type SigningSettings } from "./s3-signing.ts";

export type S3Runtime = Pick<Runtime, "clock" | "timers" | "random" | "offload">;

export interface SenderSettings extends SigningSettings, Omit<HttpSettings, "connectionsMax"> {
  connectionsMax?: number;
  /** Told of each request that was sent, with its status (0: no answer), for metrics and cost. */
  onRequest?: (request: S3RequestReport) => void;
}

export interface S3RequestReport {
  operation: S3Call["operation"];
  status: number;
  elapsedMs: number;
}

/** An answer, and what it means. */
export interface Judged {
  answer: HttpAnswer;
  error: S3Error;
}

const CONNECTIONS_MAX = 64;
/** Requests under way or waiting for a connection: at the bound the next one is turned away. */
const REQUESTS_MAX = 1024;
const EMPTY_SHA256 = hash("sha256", "");
/** Larger bodies are hashed off the event loop: a mebibyte takes about a millisecond. */
const HASH_INLINE_BYTES_MAX = 1 << 20;

/** Signs a call and sends it once; keeps an eye on the server's clock. Whether to send again is for others to say. */
export class S3Sender {
  readonly #settings: SenderSettings;
  readonly #runtime: S3Runtime;
  readonly #signer: Signer;
  #client: Promise<HttpClient> | null = null;
  #requests = 0;
  #skewMs: number | null = null;

  constructor(settings: SenderSettings, runtime: S3Runtime) {
    this.#settings = settings;
    this.#runtime = runtime;
    this.#signer = new Signer(settings, runtime.clock);
  }

  get skewMs(): number | null {
    return this.#skewMs;
  }

  /** Rejects with HttpFailure, or DbError where nothing can mend it. */
  async send(call: S3Call, budget: RetryBudget, firstByteMs: number): Promise<Judged> {
    if (this.#requests >= REQUESTS_MAX) throw new HttpFailure(false, `${REQUESTS_MAX} requests are under way`);
    this.#requests++;
    try {
      const headers = await this.#sign(call, budget);
      const { connectionsMax = CONNECTIONS_MAX } = this.#settings;
      this.#client ??= HttpClient.create({ ...this.#settings, connectionsMax }, this.#runtime);
      const client = await this.#client;
      const { method, body, answerBytesMax } = call;
      const request = { method, path: call.path + queryOf(call.query), headers, body, answerBytesMax };
      const sentMs = this.#runtime.clock.monotonicMs();
      let status = 0;
      try {
        const answer = await client.send(request, { ...budget.request(), firstByteMs });
        status = answer.status;
        this.#noteClock(answer);
        const error = await errorOf(answer);
        if (error.verdict === "expired") this.#signer.forget();
        if (error.verdict === "skewed" && this.#skewMs !== null) this.#signer.correct(this.#skewMs);
        return { answer, error };
      } finally {
        const elapsedMs = this.#runtime.clock.monotonicMs() - sentMs;
        this.#settings.onRequest?.({ operation: call.operation, status, elapsedMs });
      }
    } finally {
      this.#requests--;
    }
  }

  async close(): Promise<void> {
    await (await this.#client)?.close();
  }

  /** Credentials may have to be fetched from elsewhere: bounded like the request, and nothing has been sent yet. */
  async #sign(call: S3Call, budget: RetryBudget): Promise<Record<string, string>> {
    const { method, path, query, headers, body } = call;
    const work = async () => this.#signer.sign({ method, path, query, headers, bodyHash: await this.#hash(body) });
    try {
      const signed = await within(this.#runtime, budget.request(), work());
      if (signed !== LATE) return signed;
    } catch (error) {
      throw new HttpFailure(false, messageOf(error), error);
    }
    throw new HttpFailure(false, budget.canceled ? "given up by the caller" : "no credentials in time");
  }

  async #hash(body: Uint8Array | null): Promise<string> {
    if (body === null) return EMPTY_SHA256;
    if (body.length <= HASH_INLINE_BYTES_MAX) return hash("sha256", body);
    return (await this.#runtime.offload.sha256(body)).toString("hex");
  }

  #noteClock(answer: HttpAnswer): void {
    const theirsMs = Date.parse(answer.header("date"));
    // The header is cut to whole seconds: half of one is the best guess of the rest.
    if (Number.isFinite(theirsMs)) this.#skewMs = theirsMs + 500 - this.#runtime.clock.wallMs();
  }
}
