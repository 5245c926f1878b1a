import { type DbError, isDbError, messageOf } from "../base/errors.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import { etcdStorageVersion, etcdVersion } from "../base/version.ts";
import type { Database, RangeRequest } from "../engine/engine.ts";
import type { HttpHandler, HttpRequest, HttpResponse } from "../transport/transport.ts";
import { textOf } from "./errors.ts";

/** etcd's plain HTTP endpoints (B2): /health, /version, /metrics, /livez, /readyz. */
export interface HttpSettings {
  /** The database whose health is asked for. */
  readonly database: (request: HttpRequest) => MaybePromise<Database>;
  /** Prometheus text. */
  readonly metrics: () => MaybePromise<string>;
  readonly contentTypeOfMetrics: string;
  /** What calls have met of corrupt objects; null: nothing. */
  readonly corruption?: () => DbError | null;
  /** Told of what each call of /health was answered. */
  readonly healthChecked?: (healthy: boolean) => void;
  /** Told of what each check of /livez and /readyz found. */
  readonly checked?: (check: { type: CheckType; name: string; passed: boolean }) => void;
  /** Reported by /version beside etcd's fields. */
  readonly version: string;
}

export type CheckType = "livez" | "readyz";

/** With the database of the request at hand. */
interface Asked extends HttpSettings {
  readonly ask: () => MaybePromise<Database>;
}

const PLAIN = "text/plain; charset=utf-8";
const JSON_TYPE = "application/json";

export function etcdHttp(all: HttpSettings): HttpHandler {
  return async (request) => {
    const settings: Asked = { ...all, ask: () => all.database(request) };
    const [path, query] = split(request.target);
    if (path === "/metrics") {
      return respond(200, settings.contentTypeOfMetrics, await settings.metrics());
    }
    const name = path.split("/")[1] ?? "";
    if (path !== "/health" && path !== "/version" && name !== "livez" && name !== "readyz") return notFound();
    if (request.method !== "GET") return methodNotAllowed();
    if (path === "/version") return version(settings);
    if (path === "/health") return health(settings, query);
    return checks(settings, name === "livez" ? name : "readyz", path.slice(name.length + 2), query);
  };
}

function split(target: string): [path: string, query: URLSearchParams] {
  const mark = target.indexOf("?");
  if (mark < 0) return [target, new URLSearchParams()];
  return [target.slice(0, mark), new URLSearchParams(target.slice(mark + 1))];
}

function respond(status: number, type: string, body: string): HttpResponse {
  return { status, headers: { "content-type": type }, body };
}

function plain(status: number, body: string): HttpResponse {
  const response = respond(status, PLAIN, body);
  response.headers["x-content-type-options"] = "nosniff";
  return response;
}

const notFound = (): HttpResponse => plain(404, "404 page not found\n");

function methodNotAllowed(): HttpResponse {
  const response = plain(405, "Method Not Allowed\n");
  response.headers["allow"] = "GET";
  return response;
}

function version(settings: HttpSettings): HttpResponse {
  const body = { etcdserver: etcdVersion, etcdcluster: "3.6.0", storage: etcdStorageVersion, t4: settings.version };
  return respond(200, JSON_TYPE, JSON.stringify(body));
}

/** B2.1 */
async function health(settings: Asked, query: URLSearchParams): Promise<HttpResponse> {
  const alarm = await raisedAlarm(settings, query.getAll("exclude"));
  const serializable = query.get("serializable") === "true";
  const error = alarm === null ? await readError(settings, serializable) : null;
  if (alarm === null && error === null) {
    settings.healthChecked?.(true);
    return respond(200, PLAIN, '{"health":"true","reason":""}');
  }
  settings.healthChecked?.(false);
  const failed = isDbError(error, "noLeader") ? "RAFT NO LEADER" : `RANGE ERROR:${reasonOf(error)}`;
  const reason = alarm === null ? failed : `ALARM ${alarm}`;
  return respond(503, PLAIN, JSON.stringify({ health: "false", reason }));
}

const alarmNames: Readonly<Record<number, string>> = { 1: "NOSPACE", 2: "CORRUPT" };

/** The name of an alarm that is raised and not among the excluded ones; null: there is none, or no leader to ask. */
async function raisedAlarm(settings: Asked, excluded: readonly string[]): Promise<string | null> {
  try {
    const { alarms } = (await settings.ask()).maintenance;
    const names = alarms.map(({ type }) => alarmNames[type] ?? "UNKNOWN");
    return names.find((name) => !excluded.includes(name)) ?? null;
  } catch (error) {
    if (!isDbError(error)) throw error;
    return null;
  }
}

const reasonOf = (error: unknown): string => (isDbError(error) ? textOf(error) : messageOf(error));

/** Reads one key: null if that works, else what it failed with. Bounded by the engine's own limit on waiting. */
async function readError(settings: Asked, serializable: boolean): Promise<unknown> {
  try {
    const database = await settings.ask();
    await database.range(oneKey(serializable));
    return null;
  } catch (error) {
    return error;
  }
}

const oneKey = (serializable: boolean): RangeRequest => ({
  kind: "range",
  key: "\0",
  rangeEnd: "",
  limit: 1,
  revision: 0,
  sortOrder: 0,
  sortTarget: 0,
  serializable,
  keysOnly: true,
  countOnly: false,
  minModRevision: 0,
  maxModRevision: 0,
  minCreateRevision: 0,
  maxCreateRevision: 0,
});

/** Null: passed. */
type Check = (settings: Asked) => Promise<unknown>;

const serializableRead: Check = (settings) => readError(settings, true);
/** Passed as well while nobody leads: starting, standing by, waiting for the store. A restart would mend nothing. */
const alive: Check = async (settings) => {
  const error = await readError(settings, true);
  return isDbError(error, "noLeader") ? null : error;
};
const linearizableRead: Check = (settings) => readError(settings, false);
/** A corrupt object is met by reading it: by this check, or by a call before. */
const dataCorruption: Check = async (settings) => {
  const met = settings.corruption?.() ?? null;
  if (met !== null) return met;
  if ((await raisedAlarm(settings, ["NOSPACE", "UNKNOWN"])) !== null) return new Error("alarm activated: CORRUPT");
  const error = await readError(settings, true);
  return isDbError(error, "corrupt") ? error : null;
};
const nonLearner: Check = async () => null;

const liveChecks: ReadonlyMap<string, Check> = new Map([["serializable_read", alive]]);
const readyChecks: ReadonlyMap<string, Check> = new Map([
  ["data_corruption", dataCorruption],
  ["serializable_read", serializableRead],
  ["linearizable_read", linearizableRead],
  ["non_learner", nonLearner],
]);

/** B2.2: all checks but the excluded ones, or the one named by a path below. */
async function checks(settings: Asked, type: CheckType, only: string, query: URLSearchParams): Promise<HttpResponse> {
  const all = type === "livez" ? liveChecks : readyChecks;
  if (only !== "" && !all.has(only)) return notFound();
  const excluded = new Set(query.getAll("exclude"));
  let report = "";
  let passed = true;
  for (const [name, check] of all) {
    if (only !== "" ? name !== only : excluded.has(name)) continue;
    const error = await check(settings);
    if (error !== null) passed = false;
    settings.checked?.({ type, name, passed: error === null });
    report += error === null ? `[+]${name} ok\n` : `[-]${name} failed: ${reasonOf(error)}\n`;
  }
  if (!passed) return plain(503, report);
  return plain(200, query.has("verbose") ? `${report}ok\n` : "ok\n");
}
