import { flushCompileCache } from "node:module";
import { type EtcdRoutes, etcdRoutes } from "../api/api.ts";
import { FairShare } from "../api/fair-share.ts";
import { etcdHttp } from "../api/http.ts";
import { DbError, isDbError, messageOf } from "../base/errors.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import { version } from "../base/version.ts";
import type { BackgroundCollector, CollectionStats } from "../collector/background.ts";
import type { Database } from "../engine/engine.ts";
import { Host } from "../engine/host/host.ts";
import type { Notices } from "../engine/host/notices.ts";
import type { ServedBranch } from "../engine/host/served-branch.ts";
import { MeteredStore } from "../objects/metered.ts";
import { openStore } from "../objects/open-store.ts";
import { LATE, sleep, within } from "../objects/retry.ts";
import { NoCredentials } from "../objects/s3-signing.ts";
import { createNodeRuntime } from "../runtime/node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { HttpRequest, TransportStats } from "../transport/transport.ts";
import { AutoCompaction, readRetention } from "./auto-compaction.ts";
import { backgroundCollector } from "./background-collector.ts";
import { type BranchCall, branchOfCall, branchOfRequest } from "./branch-choice.ts";
import { Bugs } from "./bugs.ts";
import { CallMetrics } from "./call-metrics.ts";
import { ClientAccess } from "./client-access.ts";
import { hostSettings, transportSettings } from "./components.ts";
import { DiskTimings } from "./disk-timings.ts";
import { BadFlagFile, readFlagFiles } from "./flag-files.ts";
import { routesByDoor } from "./http-routes.ts";
import { openLogOutputs } from "./log-outputs.ts";
import { createLog, type Log } from "./logger.ts";
import { oncePerTurn } from "./once-per-turn.ts";
import { Opening } from "./opening.ts";
import type { ServerCounts } from "./server-metrics.ts";
import type { RunSettings } from "./settings.ts";
import { SlowCalls } from "./slow-calls.ts";
import { StopSignals } from "./stop-signals.ts";
import { defaultPlace, surroundingsOfStore } from "./store-surroundings.ts";
import { UsageLook, type UsageSeen } from "./usage-look.ts";

/** How long calls under way may go on after SIGTERM. */
const DRAIN_MS = 5_000;
/** What a clean end may take when its time for uploads is over: requests under way are given up, files closed. */
const STOP_GRACE_MS = 3_000;
/** A store that has said nothing for as long after the start is told of, though nothing has failed yet. */
const SILENCE_MS = 2_000;
/** What a collection under way may take to confirm what it has deleted when the process stops. */
const COLLECTED_MS = 1_000;
/** The process's code for a bug that nobody owns (sysexits' EX_SOFTWARE). */
const EXIT_BUG = 70;
/** The same as of a bad value of a flag. */
const EXIT_USAGE = 2;
/** More of them are not told of one by one. */
const CORRUPTIONS_MAX = 100;
/**
 * What starts and first calls need is compiled by then. It is kept for the next start, also if this one is killed.
 * Later, under load, V8 has thrown away again what only the start needed.
 */
const COMPILED_MS = 1_000;
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 5_000;

/**
 * Runs a server until it is told to stop. Resolves with the process's exit code; what went wrong has been logged.
 * `keepCompiled` keeps the code that a start needs for the next one.
 */
export async function serve(
  settings: RunSettings,
  warnings: readonly string[],
  keepCompiled: () => void = () => {},
): Promise<number> {
  let write: (text: string) => void;
  try {
    write = openLogOutputs(settings["log-outputs"]);
  } catch (error) {
    process.stderr.write(`Error: ${messageOf(error)}\n`);
    return 1;
  }
  const log = createLog({ level: settings["log-level"], format: settings["log-format"], write });
  for (const warning of warnings) log.warn(warning);
  const stop = new StopSignals(log);
  const server = new Server(settings, log, keepCompiled);
  for (const event of ["uncaughtException", "unhandledRejection"]) {
    process.on(event, (error: unknown) => server.endsByBug(error));
  }
  try {
    await server.start(stop.signal);
  } catch (error) {
    if (error instanceof BadFlagFile) {
      process.stderr.write(`Error: ${error.message}\n`);
      return EXIT_USAGE;
    }
    if (!isDbError(error)) throw error;
    if (!stop.asked) {
      log.error(error.message);
      await server.stop().catch((late: unknown) => log.error(messageOf(late)));
      return 1;
    }
  }
  await stop.first;
  try {
    await server.stop();
    log.info("stopped");
    return 0;
  } catch (error) {
    log.error("stopped, but not cleanly: the next start does what was left", { why: messageOf(error) });
    return 1;
  }
}

class Server {
  readonly #settings: RunSettings;
  readonly #log: Log;
  readonly #keepCompiled: () => void;
  readonly #runtime: Runtime;
  readonly #counts: {
    health: { success: number; failures: number };
    calls: CallMetrics;
    disk: DiskTimings;
    bugs: Bugs["counts"];
  };
  readonly #opening: Opening;
  readonly #startedMs: number;
  readonly #access: ClientAccess;
  readonly #bugs: Bugs;
  #host: Host | null = null;
  #compaction: AutoCompaction | null = null;
  #collector: BackgroundCollector | null = null;
  #usage: UsageLook | null = null;
  /** Null while the store that says where it is has not answered. */
  #branch: ServedBranch | null = null;
  /** What stands in the way until then. */
  #waitsFor = "the store has not answered yet";
  /** What calls have met of corrupt objects, by what is wrong with each. */
  readonly #corruptions = new Map<string, DbError>();

  constructor(settings: RunSettings, log: Log, keepCompiled: () => void) {
    this.#keepCompiled = keepCompiled;
    this.#settings = settings;
    this.#log = log;
    const runtime = createNodeRuntime();
    this.#startedMs = runtime.clock.wallMs();
    const disk = new DiskTimings(runtime.clock);
    const longerMs = settings["warning-unary-request-duration"];
    const slow = new SlowCalls({ clock: runtime.clock, longerMs, warn: log.warn });
    const calls = new CallMetrics(runtime.clock, { extensive: settings.metrics === "extensive", slow });
    this.#bugs = new Bugs(log, () => runtime.clock.monotonicMs());
    this.#counts = { health: { success: 0, failures: 0 }, calls, disk, bugs: this.#bugs.counts };
    this.#runtime = { ...runtime, disk: disk.around(runtime.disk) };
    this.#access = new ClientAccess(settings, { runtime: this.#runtime, log });
    this.#opening = new Opening(this.#runtime.timers, settings["request-timeout"]);
  }

  /** Resolves when clients are served. Rejects with DbError where waiting does not help, and when `signal` fires. */
  async start(signal: AbortSignal): Promise<void> {
    const settings = this.#settings;
    const files = await readFlagFiles(settings, this.#runtime.disk);
    const place = settings.store ?? defaultPlace(settings["data-dir"]);
    const inner = await openStore(place, this.#runtime, surroundingsOfStore(place));
    const store = new MeteredStore(inner, this.#runtime.clock);
    // Ports are bound before anything is written: a second server on them stops here.
    await this.#access.bind();
    this.#openAccess(store);
    const parts = {
      runtime: this.#runtime,
      store,
      notices: this.#notices(),
      ...files,
    };
    const options = { ...hostSettings(settings, parts), signal };
    const host = await this.#untilStoreAnswers(store.name, signal, () => Host.open(options));
    this.#host = host;
    const branch = await this.#untilStoreAnswers(store.name, signal, () => host.serve(settings.branch));
    this.#branch = branch;
    branch.answers.then(() => this.#opening.end());
    await Promise.race([branch.opened(), rejectsWhenAborted(signal)]);
    this.#greet(store.name);
    this.#runtime.timers.set(COMPILED_MS, () => this.#keepCompiledCode(), { background: true });
    this.#compaction = this.#autoCompaction(host);
    this.#collector = backgroundCollector(settings, { runtime: this.#runtime, store, host, log: this.#log });
    this.#usage = this.#usageLook(host);
  }

  #keepCompiledCode(): void {
    flushCompileCache();
    this.#keepCompiled();
  }

  #usageLook(host: Host): UsageLook | null {
    const intervalMs = this.#settings["usage-interval"];
    if (intervalMs === 0) return null;
    const leads = () => this.#openBranches().length > 0;
    const warn = this.#log.warn.bind(this.#log);
    return new UsageLook({ history: host.history, runtime: this.#runtime, intervalMs, leads, warn });
  }

  #notices(): Notices {
    return { ...this.#log, bug: (cause, facts) => this.#bugs.met("branch", cause, facts) };
  }

  #autoCompaction(host: Host): AutoCompaction | null {
    const mode = this.#settings["auto-compaction-mode"];
    const retention = readRetention(mode, this.#settings["auto-compaction-retention"]);
    if (retention.kind === "off") return null;
    const { clock, timers } = this.#runtime;
    const databases = () => host.open.filter(({ failure }) => failure === null).map(({ database }) => database);
    return new AutoCompaction(retention, { clock, timers, databases, log: this.#log });
  }

  /** A store that is away when the process starts is waited for, with clients told that nobody leads. */
  async #untilStoreAnswers<T>(store: string, signal: AbortSignal, ask: () => Promise<T>): Promise<T> {
    const { timers } = this.#runtime;
    const silence = timers.set(SILENCE_MS, () => {
      this.#log.warn("the start waits for the store's answer", { store });
      this.#opening.end();
    });
    for (let retryMs = RETRY_MS_MIN; ; retryMs = Math.min(RETRY_MS_MAX, retryMs * 2)) {
      try {
        return await ask();
      } catch (error) {
        // Without credentials an operator has something to do; a server that had them waits for new ones.
        if (!isDbError(error, "storeUnavailable") || lacksCredentials(error)) throw error;
        this.#waitsFor = error.message;
        this.#opening.end();
        this.#log.warn("the store does not answer, the start waits for it", { why: error.message, retryMs });
      } finally {
        silence.cancel();
      }
      await sleep(this.#runtime, retryMs, signal);
      if (signal.aborted) throw new DbError("canceled", "stopped while the start waited for the store");
    }
  }

  #database(): Database {
    if (this.#branch === null) throw new DbError("noLeader", this.#waitsFor);
    return this.#branch.database;
  }

  #databaseOf(call: BranchCall): MaybePromise<Database> {
    const { branch: byDefault, "branch-domain": suffixes } = this.#settings;
    const database = this.#databaseNamed(branchOfCall(call, { byDefault, suffixes }));
    if (!isPromise(database)) return database;
    return database.then((opened) => {
      this.#counts.calls.branchOpened(call);
      return opened;
    });
  }

  #databaseOfRequest(request: HttpRequest): MaybePromise<Database> {
    const { branch: byDefault, "branch-domain": suffixes } = this.#settings;
    return this.#databaseNamed(branchOfRequest(request, { byDefault, suffixes }));
  }

  #databaseNamed(name: string): MaybePromise<Database> {
    return this.#opening.before(() =>
      name === this.#settings.branch ? this.#database() : this.#openHost().database(name),
    );
  }

  #openBranches(): { name: string; database: Database }[] {
    const open = this.#host?.open.filter(({ failure }) => failure === null) ?? [];
    return open.map(({ name, database }) => ({ name, database }));
  }

  #openHost(): Host {
    if (this.#host === null) throw new DbError("noLeader", this.#waitsFor);
    return this.#host;
  }

  #openAccess(store: MeteredStore): void {
    const settings = this.#settings;
    const onBug = (error: unknown) => this.#bugs.met("call", error);
    const clientUrls = () => settings["advertise-client-urls"] ?? this.#access.clientUrls();
    const etcdSettings = {
      requestBytesMax: settings["max-request-bytes"],
      clientUrls,
      // There is no peer port; etcd's clients show a member's peer URL and never dial it.
      peerUrls: clientUrls,
      timers: this.#runtime.timers,
      share: new FairShare({
        timers: this.#runtime.timers,
        monotonicMs: () => this.#runtime.clock.monotonicMs(),
      }),
      onBug,
      onCorrupt: (error: DbError) => this.#onCorrupt(error),
    };
    const repository = {
      branches: () => this.#openHost().branches,
      history: () => this.#openHost().history,
      requests: () => ({ sinceMs: this.#startedMs, series: store.series() }),
      databaseOf: (name: string) => this.#databaseNamed(name),
      guardOf: (name: string) => this.#openHost().branches.guardOf(name),
      onBug,
    };
    const etcdCalls = etcdRoutes((call) => this.#databaseOf(call), etcdSettings, repository);
    etcdCalls.counts.onLeaseGranted = (seconds) => this.#counts.calls.leaseTtls.observeSeconds(seconds);
    const routes = { ...this.#counts.calls.around(etcdCalls), counts: etcdCalls.counts };
    const transport = () => this.#access.stats();
    const etcd = etcdHttp({
      database: (request) => this.#databaseOfRequest(request),
      metrics: lazyMetrics(this.#runtime, () => ({
        branch: () => this.#branch,
        branches: () => this.#openBranches(),
        routes,
        transport,
        store,
        server: this.#counts,
        collections: this.#collections,
        usage: () => this.#usage?.seen() ?? null,
      })),
      checked: (check) => this.#counts.calls.checked(check),
      healthChecked: (healthy) => this.#counts.health[healthy ? "success" : "failures"]++,
      corruption: () => this.#corruptions.values().next().value ?? null,
      contentTypeOfMetrics: "text/plain; version=0.0.4; charset=utf-8",
      version,
    });
    const parts = {
      settings,
      runtime: this.#runtime,
      routes,
      etcd,
      database: (request: HttpRequest) => this.#databaseOfRequest(request),
      defaultDatabase: () => this.#database(),
      collections: this.#collections,
      onBug,
    };
    this.#access.open(routesByDoor(parts), transportSettings(settings), onBug);
  }

  readonly #collections = (): CollectionStats | null => this.#collector?.stats() ?? null;

  #greet(store: string): void {
    const [url] = this.#access.clientUrls();
    this.#log.info("ready to serve client requests", { url: this.#access.clientUrls().join(","), store });
    if (this.#settings["advertise-client-urls"] === undefined) this.#warnOfEveryAddress();
    const flag = url === "http://127.0.0.1:2379" ? "" : ` --endpoints ${url}`;
    this.#log.info(`try it: bin/t4 put greeting hello${flag}; or etcdctl put greeting hello${flag}`);
  }

  /** Whoever listens on every address must say by which of them clients on other machines reach it. */
  #warnOfEveryAddress(): void {
    const everywhere = this.#access.clientUrls().filter((url) => /^https?:\/\/(0\.0\.0\.0|\[::\]):/.test(url));
    if (everywhere.length === 0) return;
    this.#log.warn("clients that ask for this node's addresses are told one that means all: --advertise-client-urls", {
      told: everywhere.join(","),
    });
  }

  /** Each is told of once, and by /readyz until a restart: an operator must look. */
  #onCorrupt(error: DbError): void {
    if (this.#corruptions.has(error.message) || this.#corruptions.size === CORRUPTIONS_MAX) return;
    this.#corruptions.set(error.message, error);
    this.#log.error("a corrupt object was met, what needs it is answered DataLoss", { why: error.message });
  }

  /** What neither a call nor a branch owns: nobody knows what is broken by it. */
  endsByBug(error: unknown): void {
    this.#bugs.met("process", error);
    process.exit(EXIT_BUG);
  }

  /**
   * Stops accepting, lets calls under way end, uploads, releases. Rejects when the store did not take everything in
   * time: nothing acknowledged is lost, the next start finds it as after a crash.
   */
  async stop(): Promise<void> {
    const stopMs = this.#settings["stop-timeout"];
    this.#opening.end();
    this.#compaction?.stop();
    const collected = Promise.all([this.#collector?.close(), this.#usage?.close()]);
    await this.#access.stopListening();
    const ended = new AbortController();
    const limit = this.#runtime.timers.set(stopMs, () => ended.abort(), { background: true });
    // Watch streams end when the branch does; unary calls under way are answered first.
    const drained = this.#access.drain(Math.min(DRAIN_MS, stopMs));
    try {
      // A collection that is cut short here stays open, and the next one goes on; waiting is for tidiness.
      await within(this.#runtime, { timeoutMs: COLLECTED_MS }, collected);
      const closing = this.#host?.close(ended.signal) ?? Promise.resolve();
      if ((await within(this.#runtime, { timeoutMs: stopMs + STOP_GRACE_MS }, closing)) === LATE) {
        throw new DbError("storeUnavailable", `not done within --stop-timeout (${stopMs} ms)`);
      }
    } finally {
      limit.cancel();
      await drained;
      this.#access.destroy();
    }
  }
}

function lacksCredentials(error: unknown): boolean {
  if (error instanceof NoCredentials) return true;
  return error instanceof Error && lacksCredentials(error.cause);
}

const rejectsWhenAborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => {
    const aborted = () => reject(new DbError("canceled", "stopped before the branch was open"));
    if (signal.aborted) aborted();
    signal.addEventListener("abort", aborted, { once: true });
  });

/** The metrics library is loaded at the first scrape. */
function lazyMetrics(
  runtime: Pick<Runtime, "clock" | "timers">,
  sources: () => {
    branch: () => ServedBranch | null;
    branches: () => readonly { name: string; database: Database }[];
    routes: EtcdRoutes;
    transport: () => TransportStats;
    store: MeteredStore;
    server: ServerCounts;
    collections: () => CollectionStats | null;
    usage: () => UsageSeen | null;
  },
): () => Promise<string> {
  let render: (() => Promise<string>) | null = null;
  return async () => {
    if (render === null) {
      const { createMetrics } = await import("./metrics.ts");
      const { branch, branches, routes, transport, store, server, collections, usage } = sources();
      const text = createMetrics({
        database: () => (branch()?.failure === null ? branch()!.database : null),
        branches,
        transport,
        calls: routes.counts,
        storeRequests: () => store.series(),
        server,
        collections,
        usage,
      });
      render = oncePerTurn(text, runtime);
    }
    return render();
  };
}
