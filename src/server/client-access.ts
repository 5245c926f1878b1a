import { DbError, messageOf } from "../base/errors.ts";
import type { ByteStream, Listener, Runtime, TlsListening } from "../runtime/runtime.ts";
import { createTransport, type Transport } from "../transport/server.ts";
import type { Routes, TransportSettings, TransportStats } from "../transport/transport.ts";
import type { Log } from "./logger.ts";
import { type ClientUrl, isSecure } from "./setting-kinds.ts";
import type { RunSettings } from "./settings.ts";

/** By which of its addresses a client came: what is served there differs. */
export type Door = "client" | "http" | "metrics";
const flagOf = {
  client: "listen-client-urls",
  http: "listen-client-http-urls",
  metrics: "listen-metrics-urls",
} as const;
const DOORS: readonly Door[] = ["client", "http", "metrics"];

interface Bound {
  readonly door: Door;
  readonly listener: Listener;
  readonly url: ClientUrl;
}

/**
 * All addresses that are listened on, and the transports behind them. One set of TLS rules holds for all that are
 * secure. A connection that comes before `open` is ended, as it was before its port was bound.
 */
export class ClientAccess {
  readonly #settings: RunSettings;
  readonly #runtime: Runtime;
  readonly #log: Log;
  readonly #bound: Bound[] = [];
  readonly #transports = new Map<Door, Transport>();

  constructor(settings: RunSettings, { runtime, log }: { runtime: Runtime; log: Log }) {
    this.#settings = settings;
    this.#runtime = runtime;
    this.#log = log;
  }

  /** Binds every address. Rejects with DbError where one cannot be. */
  async bind(): Promise<void> {
    const urls = DOORS.flatMap((door) => this.#settings[flagOf[door]].map((url) => ({ door, url })));
    const tls = urls.some(({ url }) => isSecure(url)) ? await this.#tls(urls.map(({ url }) => url)) : null;
    for (const { door, url } of urls) await this.#listen(door, url, tls);
  }

  open(routes: Readonly<Record<Door, Routes>>, settings: TransportSettings, onBug: (error: unknown) => void): void {
    for (const door of DOORS) {
      if (!this.#bound.some((bound) => bound.door === door)) continue;
      this.#transports.set(door, createTransport(this.#runtime, routes[door], settings, onBug));
    }
  }

  /** The addresses that clients of the API may use, with the ports that were bound. */
  clientUrls(): string[] {
    return this.#bound
      .filter(({ door }) => door === "client")
      .map(({ listener, url }) => ("path" in url ? url.text : url.text.replace(/:\d+$/, `:${listener.port}`)));
  }

  stats(): TransportStats {
    const sum = { connections: 0, streams: 0, bytesReceived: 0, bytesSent: 0 };
    const refused = new Map<string, number>();
    for (const transport of this.#transports.values()) {
      const stats = transport.stats();
      sum.connections += stats.connections;
      sum.streams += stats.streams;
      sum.bytesReceived += stats.bytesReceived;
      sum.bytesSent += stats.bytesSent;
      for (const [reason, count] of stats.refused) refused.set(reason, (refused.get(reason) ?? 0) + count);
    }
    return { ...sum, refused };
  }

  async stopListening(): Promise<void> {
    for (const { listener } of this.#bound) await listener.close();
  }

  async drain(timeoutMs: number): Promise<void> {
    await Promise.all([...this.#transports.values()].map((transport) => transport.drain(timeoutMs)));
  }

  destroy(): void {
    for (const transport of this.#transports.values()) transport.destroy();
  }

  async #listen(door: Door, url: ClientUrl, tls: TlsListening | null): Promise<void> {
    const { net } = this.#runtime;
    const address = "path" in url ? { path: url.path } : { host: url.host, port: url.port };
    const accept = (stream: ByteStream): void => {
      const transport = this.#transports.get(door);
      if (transport === undefined) stream.destroy();
      else transport.accept(stream);
    };
    try {
      const listening = isSecure(url) ? net.listenTls(address, tls!, accept) : net.listen(address, accept);
      this.#bound.push({ door, listener: await listening, url });
    } catch (error) {
      throw new DbError("invalidArgument", `--${flagOf[door]}: ${url.text}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Loaded by those who listen on an address that is secure. */
  async #tls(urls: readonly ClientUrl[]): Promise<TlsListening> {
    const [{ TlsFiles }, { tlsFileSettings }, { checkMaterial }] = await Promise.all([
      import("./tls/tls-files.ts"),
      import("./tls/tls-settings.ts"),
      import("./tls/check-material.ts"),
    ]);
    const pair = await this.#pair(urls);
    const { disk, clock } = this.#runtime;
    const surroundings = { disk, clock, notices: this.#log, check: checkMaterial };
    return new TlsFiles(tlsFileSettings(this.#settings, pair), surroundings);
  }

  async #pair(urls: readonly ClientUrl[]): Promise<{ certificatePath: string; keyPath: string }> {
    const settings = this.#settings;
    const certificatePath = settings["cert-file"];
    if (certificatePath !== "") return { certificatePath, keyPath: settings["key-file"] };
    const { selfSignedPair } = await import("./tls/self-signed.ts");
    const hosts = urls.flatMap((url) => ("host" in url && isSecure(url) ? [url.host] : []));
    const pair = await selfSignedPair(this.#runtime, {
      dataDirectory: settings["data-dir"],
      hosts: [...new Set(["localhost", ...hosts])],
      years: settings["self-signed-cert-validity"],
    });
    if (pair.made) this.#log.info("made a certificate for --auto-tls", { file: pair.certificatePath });
    return pair;
  }
}
