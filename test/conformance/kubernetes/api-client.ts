import type { IncomingMessage } from "node:http";
import { Agent, type RequestOptions, request } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";

/** What the smoke test looks at in any object of Kubernetes'. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: {
    name: string;
    namespace?: string;
    resourceVersion?: string;
    continue?: string;
    remainingItemCount?: number;
    annotations?: Record<string, string>;
  };
  data?: Record<string, string>;
  spec?: Record<string, unknown>;
  code?: number;
  reason?: string;
}

export interface KubeList extends KubeObject {
  items: KubeObject[];
}

export interface WatchEvent {
  type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  object: KubeObject;
}

export interface Answer {
  code: number;
  body: KubeObject;
}

const CALL_MS_MAX = 40_000;

/** A client of one kube-apiserver, as far as the smoke test needs one. */
export class ApiClient {
  readonly port: number;
  readonly #token: string;
  readonly #agent = new Agent({ keepAlive: true, rejectUnauthorized: false, maxSockets: 64 });

  constructor(port: number, token: string) {
    this.port = port;
    this.#token = token;
  }

  /** One call. Rejects if the connection fails: what came of it is then not known. */
  call(method: string, path: string, body?: object, type = "application/json"): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const sent = request(this.#options(method, path, type), (response) => {
        const pieces: Buffer[] = [];
        response.on("data", (piece: Buffer) => pieces.push(piece));
        response.on("error", reject);
        response.on("end", () => {
          const text = Buffer.concat(pieces).toString();
          try {
            resolve({ code: response.statusCode!, body: JSON.parse(text) as KubeObject });
          } catch {
            resolve({ code: response.statusCode!, body: { metadata: { name: "" }, reason: text } });
          }
        });
      });
      sent.setTimeout(CALL_MS_MAX, () => sent.destroy(new Error(`${method} ${path}: no answer`)));
      sent.on("error", reject);
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** A call that must succeed, if not at once: caches that are not filled yet ask to come again. */
  async must<T extends KubeObject = KubeObject>(method: string, path: string, body?: object): Promise<T> {
    const begunMs = performance.now();
    let { code, body: answer } = await this.call(method, path, body);
    while (code === 429 && performance.now() - begunMs < CALL_MS_MAX) {
      await sleep(500);
      ({ code, body: answer } = await this.call(method, path, body));
    }
    if (code >= 300) throw new Error(`${method} ${path}: ${code} ${JSON.stringify(answer).slice(0, 500)}`);
    return answer as T;
  }

  list(path: string): Promise<KubeList> {
    return this.must<KubeList>("GET", path);
  }

  /** Events of a watch, until its connection ends, whoever ends it. */
  async *watch(path: string, signal: AbortSignal): AsyncGenerator<WatchEvent> {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const options: RequestOptions = { ...this.#options("GET", path, "application/json"), agent: false, signal };
      const sent = request(options, resolve);
      sent.on("error", reject);
      sent.end();
    });
    let text = "";
    response.setEncoding("utf8");
    for await (const piece of response) {
      text += piece as string;
      const lines = text.split("\n");
      text = lines.pop()!;
      for (const line of lines) if (line !== "") yield JSON.parse(line) as WatchEvent;
    }
    if (response.statusCode !== 200) throw new Error(`watch ${path}: ${response.statusCode} ${text.slice(0, 300)}`);
  }

  async untilReady(timeoutMs: number): Promise<void> {
    const begunMs = performance.now();
    for (;;) {
      const code = await this.call("GET", "/readyz").then(
        (answer) => answer.code,
        () => 0,
      );
      if (code === 200) return;
      if (performance.now() - begunMs > timeoutMs) throw new Error(`kube-apiserver is not ready: ${code}`);
      await sleep(200);
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  #options(method: string, path: string, type: string): RequestOptions {
    const headers = { authorization: `Bearer ${this.#token}`, "content-type": type, accept: "application/json" };
    return { host: "127.0.0.1", port: this.port, method, path, headers, agent: this.#agent, rejectUnauthorized: false };
  }
}
