import { resolve } from "node:path";
import { type EtcdRoutes, etcdRoutes } from "../api/api.ts";
import { etcdHttp } from "../api/http.ts";
import { isDbError, messageOf } from "../base/errors.ts";
import { version } from "../base/version.ts";
import { Host } from "../engine/host/host.ts";
import type { ServedBranch } from "../engine/host/served-branch.ts";
import { MeteredStore } from "../objects/metered.ts";
import { openStore, type StoreSurroundings } from "../objects/open-store.ts";
import type { StoreSettings } from "../objects/store-url.ts";
import { createNodeRuntime } from "../runtime/node.ts";
import type { Listener, Runtime } from "../runtime/runtime.ts";
import { createTransport, type Transport } from "../transport/server.ts";
import { hostSettings, transportSettings } from "./components.ts";
import { createLog, type Log } from "./logger.ts";
import type { ClientUrl } from "./setting-kinds.ts";
import type { RunSettings } from "./settings.ts";
import { statusJson } from "./status.ts";

/** How long calls under way may go on, and uploads of what is pending, after SIGTERM. */
const DRAIN_MS = 5_000;
const RELEASE_MS = 30_000;

/** Runs a server until it is told to stop. Resolves with the process's exit code; what went wrong has been logged. */
export async function serve(settings: RunSettings, warnings: readonly string[]): Promise<number> {
  const log = createLog({
    level: settings["log-level"],
    format: settings["log-format"],
    write: (text) => process.stderr.write(text),
  });
  for (const warning of warnings) log.warn(warning);
  const server = new Server(settings, log);
  try {
    await server.start();
  } catch (error) {
    if (!isDbError(error) && !isSystemError(error)) throw error;
    log.error(messageOf(error));
    await server.stop().catch((late: unknown) => log.error(messageOf(late)));
    return 1;
  }
  return server.untilStopped();
}

const isSystemError = (error: unknown): boolean => error instanceof Error && "code" in error && "syscall" in error;

class Server {
  readonly #settings: RunSettings;
  readonly #log: Log;
  readonly #runtime: Runtime = createNodeRuntime();
  readonly #listeners: { listener: Listener; url: ClientUrl }[] = [];
  #host: Host | null = null;
  #transport: Transport | null = null;

  constructor(settings: RunSettings, log: Log) {
    this.#settings = settings;
    this.#log = log;
  }

  async start(): Promise<void> {
    const settings = this.#settings;
    const place = settings.store ?? { kind: "file", directory: resolve(settings["data-dir"], "store") };
    const inner = await openStore(place, this.#runtime, surroundingsOfStore(place));
    const store = new MeteredStore(inner, this.#runtime.clock);
    // Ports are bound before anything is written: a second server on them stops here.
    for (const url of settings["listen-client-urls"]) await this.#listen(url);
    const host = await Host.open(hostSettings(settings, { runtime: this.#runtime, store, notices: this.#log }));
    this.#host = host;
    const branch = await host.serve("main");
    this.#transport = this.#createTransport(branch, store);
    await branch.opened();
    this.#greet(store.name);
  }

  async #listen(url: ClientUrl): Promise<void> {
    const address = url.scheme === "unix" ? { path: url.path } : { host: url.host, port: url.port };
    const listener = await this.#runtime.net.listen(address, (stream) => {
      // A connection that comes before the branch is found is refused, as it was before the port was bound.
      if (this.#transport === null) stream.destroy();
      else this.#transport.accept(stream);
    });
    this.#listeners.push({ listener, url });
  }

  #clientUrls(): string[] {
    return this.#listeners.map(({ listener, url }) =>
      url.scheme === "unix" ? url.text : url.text.replace(/:\d+$/, `:${listener.port}`),
    );
  }

  #createTransport(branch: ServedBranch, store: MeteredStore): Transport {
    const settings = this.#settings;
    const onBug = (error: unknown) => this.#onBug(error);
    const routes = etcdRoutes(() => branch.database, {
      requestBytesMax: settings["max-request-bytes"],
      quotaBytes: 0,
      clientUrls: () => settings["advertise-client-urls"] ?? this.#clientUrls(),
      // There is no peer port; etcd's clients show a member's peer URL and never dial it.
      peerUrls: () => settings["advertise-client-urls"] ?? this.#clientUrls(),
      timers: this.#runtime.timers,
      onBug,
    });
    let transport: Transport;
    const http = etcdHttp({
      database: () => branch.database,
      metrics: lazyMetrics(() => ({ branch, routes, transport, store })),
      contentTypeOfMetrics: "text/plain; version=0.0.4; charset=utf-8",
      version,
    });
    transport = createTransport(
      this.#runtime,
      {
        unary: routes.unary,
        streams: routes.streams,
        http: (request) => (request.target === "/t4/status" ? statusJson(branch) : http(request)),
      },
      transportSettings(settings),
      onBug,
    );
    return transport;
  }

  #greet(store: string): void {
    const [url] = this.#clientUrls();
    this.#log.info("serving clients", { url: this.#clientUrls().join(","), store });
    const flag = url === "http://127.0.0.1:2379" ? "" : ` --endpoints ${url}`;
    this.#log.info(`try it: bin/t4 put greeting hello${flag}; or etcdctl put greeting hello${flag}`);
  }

  /** A broken promise of the program: what it answers from now on cannot be trusted. */
  #onBug(error: unknown): void {
    this.#log.error("a bug was met; the process ends, what was acknowledged is safe", {
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
    process.exit(70);
  }

  /** SIGTERM or SIGINT: stop accepting, drain, upload, release, exit 0. A second one: at once. */
  async untilStopped(): Promise<number> {
    const signal = await new Promise<NodeJS.Signals>((resolved) => {
      for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, resolved);
    });
    this.#log.info("stopping", { signal });
    for (const name of ["SIGTERM", "SIGINT"] as const) {
      process.once(name, () => {
        this.#log.warn("stopped at once, by a second signal");
        process.exit(1);
      });
    }
    try {
      await this.stop();
      this.#log.info("stopped");
      return 0;
    } catch (error) {
      this.#log.error("stopped, but not cleanly: the next start does what was left", { why: messageOf(error) });
      return 1;
    }
  }

  async stop(): Promise<void> {
    for (const { listener } of this.#listeners) await listener.close();
    const ended = new AbortController();
    const limit = this.#runtime.timers.set(RELEASE_MS, () => ended.abort(), { background: true });
    // Watch streams end when the branch does; unary calls under way are answered first.
    const drained = this.#transport?.drain(DRAIN_MS);
    try {
      await this.#host?.close(ended.signal);
    } finally {
      limit.cancel();
      await drained;
      this.#transport?.destroy();
    }
  }
}

/** The metrics library is loaded at the first scrape. */
function lazyMetrics(
  sources: () => { branch: ServedBranch; routes: EtcdRoutes; transport: Transport; store: MeteredStore },
): () => Promise<string> {
  let render: (() => Promise<string>) | null = null;
  return async () => {
    if (render === null) {
      const { createMetrics } = await import("./metrics.ts");
      const { branch, routes, transport, store } = sources();
      render = createMetrics({
        database: () => (branch.failure === null ? branch.database : null),
        transport: () => transport.stats(),
        calls: routes.counts,
        storeRequests: () => store.series(),
      });
    }
    return render();
  };
}

/** What a store takes from the environment, as AWS's tools do: HTTPS_PROXY is for https alone, NO_PROXY lists hosts that go without. */
function surroundingsOfStore(store: StoreSettings): StoreSurroundings {
  const { env } = process;
  const region = env["AWS_REGION"] ?? env["AWS_DEFAULT_REGION"];
  const proxy = store.kind === "s3" ? proxyFor(store.endpoint, env) : undefined;
  return { ...(region === undefined ? {} : { region }), ...(proxy === undefined ? {} : { proxy }) };
}

function proxyFor(endpoint: string | null, env: NodeJS.ProcessEnv): string | undefined {
  const url = new URL(endpoint ?? "https://s3.amazonaws.com");
  if (url.protocol !== "https:") return undefined;
  const excluded = (env["NO_PROXY"] ?? env["no_proxy"] ?? "")
    .split(",")
    .map((host) => host.trim().replace(/^\*?\./, ""));
  const isExcluded = excluded.some((host) => host === "*" || (host !== "" && `.${url.hostname}`.endsWith(`.${host}`)));
  return isExcluded ? undefined : (env["HTTPS_PROXY"] ?? env["https_proxy"]);
}
