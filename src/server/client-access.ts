import { DbError, messageOf } from "../base/errors.ts";
import type { ByteStream, Listener, Runtime, TlsListening } from "../runtime/runtime.ts";
import { createTransport, type Transport } from "../transport/server.ts";
import type { Routes, TransportSettings, TransportStats } from "../transport/transport.ts";
import type { Log } from "./logger.ts";
import { type ClientUrl, isSecure } from "./setting-kinds.ts";
import type { RunSettings } from "./settings.ts";

/** By which of its addresses a client came: what is served there differs. */
export type Door = "client" | "http" | "metrics";
/** A door, or one that is for one branch. */
type Place = Door | `branch ${string}`;
const flagOf = {
  client: "listen-client-urls",
  http: "listen-client-http-urls",
  metrics: "listen-metrics-urls",
} as const;
const DOORS: readonly Door[] = ["client", "http", "metrics"];

interface Bound {
  readonly place: Place;
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
  readonly #transports = new Map<Place, Transport>();

  constructor(settings: RunSettings, { runtime, log }: { runtime: Runtime; log: Log }) {
    this.#settings = settings;
    this.#runtime = runtime;
    this.#log = log;
  }

  /** Binds every address. Rejects with DbError where one cannot be. */
  async bind(): Promise<void> {
    const doors = DOORS.flatMap((door) => {
      const flag = flagOf[door];
      return this.#settings[flag].map((url) => ({ place: door as Place, flag: flag as string, url }));
    });
    const branches = this.#settings["listen-branch"].map(({ branch, url }) => {
      return { place: `branch ${branch}` as Place, flag: "listen-branch", url };
    });
    const all = [...doors, ...branches];
    const tls = all.some(({ url }) => isSecure(url)) ? await this.#tls(all.map(({ url }) => url)) : null;
    for (const each of all) {
      // The same address with and without TLS is one listener, as in etcd.
      const shared = this.#bound.find(({ place, url }) => place === each.place && isTwin(url, each.url));
      if (shared !== undefined) this.#bound.push({ ...shared, url: each.url });
      else {
        const both = all.some(({ place, url }) => place === each.place && isTwin(url, each.url));
        await this.#listen({ ...each, both }, tls);
      }
    }
  }

  open(
    routes: Readonly<Record<Door, Routes>> & { branch: (name: string) => Routes },
    settings: TransportSettings,
    onBug: (error: unknown) => void,
  ): void {
    const open = (place: Place, served: Routes): void => {
      if (!this.#bound.some((bound) => bound.place === place)) return;
      this.#transports.set(place, createTransport(this.#runtime, served, settings, onBug));
    };
    for (const door of DOORS) open(door, routes[door]);
    const branches = new Set(this.#settings["listen-branch"].map(({ branch }) => branch));
    for (const branch of branches) open(`branch ${branch}`, routes.branch(branch));
  }

  /** The addresses that clients of the API may use, with the ports that were bound. */
  clientUrls(): string[] {
    return this.#bound
      .filter(({ place }) => place === "client")
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

  async #listen(
    { place, flag, url, both }: { place: Place; flag: string; url: ClientUrl; both: boolean },
    tls: TlsListening | null,
  ): Promise<void> {
    const { net } = this.#runtime;
    const address = "path" in url ? { path: url.path } : { host: url.host, port: url.port };
    const accept = (stream: ByteStream): void => {
      const transport = this.#transports.get(place);
      if (transport === undefined) stream.destroy();
      else transport.accept(stream);
    };
    const listen = (): Promise<Listener> => {
      if (both) return net.listenBoth(address, tls!, accept);
      return isSecure(url) ? net.listenTls(address, tls!, accept) : net.listen(address, accept);
    };
    try {
      this.#bound.push({ place, listener: await listen(), url });
    } catch (error) {
      throw new DbError("invalidArgument", `--${flag}: ${url.text}: ${messageOf(error)}`, { cause: error });
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

/** Whether two addresses differ by TLS alone. A port that the system picks is each one's own. */
function isTwin(a: ClientUrl, b: ClientUrl): boolean {
  if (isSecure(a) === isSecure(b)) return false;
  if ("path" in a) return "path" in b && a.path === b.path;
  return !("path" in b) && a.host === b.host && a.port === b.port && a.port !== 0;
}
