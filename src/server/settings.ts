import { messageOf } from "../base/errors.ts";
import { wrongRelation } from "../storage/retention-text.ts";
import { accessSettings, problemOfAccess, warningsOfAccess } from "./access-settings.ts";
import { authSettings } from "./auth-settings.ts";
import { formerFileNames, formerNames, ignoredFlags, unknownVariables } from "./foreign-settings.ts";
import { limitSettings } from "./limit-settings.ts";
import { etcd, ours, type Setting } from "./setting.ts";
import {
  advertiseUrlsKind,
  ageKind,
  booleanKind,
  branchNameKind,
  branchUrlsKind,
  bytesKind,
  domainsKind,
  durationKind,
  integerKind,
  listenUrlsKind,
  oneOf,
  quotaKind,
  storeUrlKind,
  textKind,
  tiersKind,
} from "./setting-kinds.ts";

const GiB = 2 ** 30;
const YEAR_MS = 366 * 86_400_000;

/**
 * Every setting of `t4 run`, by its flag's name: flag, environment variable and key of the configuration file alike.
 */
export const runSettings = {
  name: etcd(textKind, undefined, "name of this node (default: a random one, kept in the data directory)"),
  "data-dir": etcd(textKind, "t4-data", "directory for what this node keeps on its own disk"),
  store: ours(
    storeUrlKind,
    undefined,
    "where the data lives: file:///DIR, s3://BUCKET/PREFIX?…, memory: (default: DATA-DIR/store)",
  ),
  branch: ours(branchNameKind, "main", "the branch that is served where a call names none"),
  "branch-domain": ours(
    domainsKind,
    "localhost",
    "a host NAME.DOMAIN means the branch NAME: http://NAME.localhost:2379; comma-separated, empty for none",
  ),
  "listen-branch": ours(
    branchUrlsKind,
    "",
    "further addresses, each for one branch: NAME=URL, comma-separated or given several times",
  ),
  "branch-idle": ours(
    durationKind({ min: 1000, max: YEAR_MS }),
    "5m",
    "a branch beside --branch that nobody uses for so long is closed",
  ),
  "branches-open": ours(integerKind({ min: 1, max: 10_000 }), "100", "branches open at once, at most"),
  durability: ours(
    oneOf("object", "local"),
    undefined,
    "what an acknowledgement means: object (default with a remote store) or local",
  ),
  "change-durability": ours(
    booleanKind,
    "false",
    "give the branch the durability named by --durability, once its leader has stopped cleanly",
  ),
  "read-proof": ours(oneOf("term", "bucket"), "term", "how a linearizable read proves leadership in object durability"),
  "session-term": ours(
    durationKind({ min: 1000, max: 180_000 }),
    "15s",
    "how long a node leads on without reaching the store, and others wait for it after a crash",
  ),
  "force-takeover": ours(
    booleanKind,
    "false",
    "take a local branch over from another disk; what it has not uploaded is lost",
  ),
  "listen-client-urls": etcd(listenUrlsKind, "http://127.0.0.1:2379", "addresses to serve clients on"),
  "advertise-client-urls": etcd(
    advertiseUrlsKind,
    undefined,
    "addresses that clients are told (default: the ones listened on)",
  ),
  "max-request-bytes": etcd(bytesKind({ min: 1, max: GiB }), "1572864", "largest request"),
  "quota-backend-bytes": etcd(
    quotaKind,
    "-1",
    "bytes that live versions may take before the alarm NOSPACE; 0: 2GiB, negative: no bound",
  ),
  "max-txn-ops": etcd(integerKind({ min: 1, max: 100_000 }), "128", "most operations in a transaction"),
  "max-concurrent-streams": etcd(
    integerKind({ min: 1, max: 0xffffffff }),
    "100000",
    "most concurrent streams of a connection",
  ),
  "watch-progress-notify-interval": etcd(
    durationKind({ min: 100, max: YEAR_MS }),
    "10m",
    "how often quiet watchers are told how far they are",
  ),
  "grpc-keepalive-min-time": etcd(durationKind({ min: 0, max: YEAR_MS }), "5s", "least time between a client's pings"),
  "grpc-keepalive-interval": etcd(
    durationKind({ min: 0, max: YEAR_MS }),
    "2h",
    "how often a quiet connection is pinged; 0: never",
  ),
  "grpc-keepalive-timeout": etcd(durationKind({ min: 1, max: YEAR_MS }), "20s", "how long a ping may stay unanswered"),
  ...limitSettings,
  ...authSettings,
  ...accessSettings,
  "log-level": etcd(oneOf("debug", "info", "warn", "error", "panic", "fatal"), "info", "least level of what is logged"),
  "log-format": etcd(oneOf("json", "console"), "console", "how a log line is written"),
  "warning-unary-request-duration": etcd(
    durationKind({ min: 0, max: YEAR_MS }),
    "300ms",
    "a call that takes longer gets a line in the log, at most ten a second",
  ),
  "request-timeout": ours(
    durationKind({ min: 100, max: YEAR_MS }),
    "7s",
    "how long a write may wait to become durable",
  ),
  "stop-timeout": ours(
    durationKind({ min: 100, max: 3_600_000 }),
    "20s",
    "how long a stop may take to upload what is not in the store yet",
  ),
  "put-interval-min": ours(
    durationKind({ min: 0, max: 60_000 }),
    "0",
    "least time between two segment uploads; caps the store's bill",
  ),
  "upload-age": ours(durationKind({ min: 1, max: 3_600_000 }), "1s", "local: age at which records are uploaded"),
  "upload-bytes": ours(bytesKind({ min: 1 << 16, max: GiB }), "4MiB", "local: size at which records are uploaded"),
  "upload-bytes-max": ours(
    bytesKind({ min: 1 << 20, max: 64 * GiB }),
    "256MiB",
    "writes are refused while more than this is not uploaded",
  ),
  "memtable-bytes": ours(
    bytesKind({ min: 1 << 20, max: 4 * GiB }),
    "16MiB",
    "state in memory before it is written as a table",
  ),
  "retain-log": ours(ageKind, "24h", "how far back every revision can be had again"),
  "retain-checkpoints": ours(
    tiersKind,
    "1h:all,24h:hourly,30d:daily",
    "which older checkpoints stay: of those up to an age all, or the first of each period; none: what the log needs",
  ),
  "signing-key": ours(textKind, "", "private key, PEM, that checkpoints are signed with (Ed25519)"),
  "collect-interval": ours(
    durationKind({ min: 0, max: YEAR_MS }),
    "1h",
    "how often what no branch needs is deleted, by a node that leads one; 0: never by itself (t4 gc)",
  ),
  "collect-grace": ours(durationKind({ min: 0, max: YEAR_MS }), "1h", "what was needed so recently is not deleted yet"),
  "usage-interval": ours(
    durationKind({ min: 0, max: YEAR_MS }),
    "1h",
    "how often it is looked, for /metrics, what each branch takes of the store; 0: never",
  ),
  "checkpoint-interval": ours(
    durationKind({ min: 1000, max: YEAR_MS }),
    "15m",
    "longest time between checkpoints while there are changes",
  ),
  "cache-memory-bytes": ours(bytesKind({ min: 1 << 20, max: 1024 * GiB }), "128MiB", "cache of table blocks in memory"),
  "cache-disk-bytes": ours(
    bytesKind({ min: 0, max: 1024 * GiB }),
    undefined,
    "cache of tables in the data directory, 0 for none (default: 10GiB; none where the store is a directory)",
  ),
} as const;

export type SettingName = keyof typeof runSettings;
type ValueOf<S> = S extends Setting<infer T> ? T : never;
export type RunSettings = {
  readonly [N in SettingName]:
    | ValueOf<(typeof runSettings)[N]>
    | ((typeof runSettings)[N]["byDefault"] extends string ? never : undefined);
};

/** What is wrong with a setting, in one line that names it. The command exits with 2. */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
}

export interface SettingSources {
  /** By flag name. */
  flags: Readonly<Record<string, string | undefined>>;
  env: Readonly<Record<string, string | undefined>>;
  /** Keys and values of the configuration file; null where there is none. */
  file: { path: string; values: Readonly<Record<string, unknown>> } | null;
}

export const variableOf = (name: string, isEtcd: boolean): string =>
  `${isEtcd ? "ETCD" : "T4"}_${name.toUpperCase().replaceAll("-", "_")}`;

/** Flags before environment before file before default; all checked, and their relations. */
export function resolveSettings(sources: SettingSources): { settings: RunSettings; warnings: string[] } {
  const warnings = warningsOf(sources);
  const values: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries(runSettings) as [string, Setting<unknown>][]) {
    const found = find(name, setting, sources);
    values[name] = found === undefined ? undefined : parse(setting, found);
  }
  const settings = values as unknown as RunSettings;
  checkRelations(settings);
  return { settings, warnings: [...warnings, ...warningsOfAccess(settings)] };
}

/**
 * Some of the settings, for commands that need no more: what is wrong with the others is not theirs to say. A setting
 * without a value is undefined.
 */
export function resolveSome<N extends SettingName>(names: readonly N[], sources: SettingSources): Pick<RunSettings, N> {
  const values: Record<string, unknown> = {};
  for (const name of names) {
    const found = find(name, runSettings[name] as Setting<unknown>, sources);
    values[name] = found === undefined ? undefined : parse(runSettings[name] as Setting<unknown>, found);
  }
  return values as Pick<RunSettings, N>;
}

interface Found {
  text: string;
  /** "--store", "T4_STORE", "store in t4.yaml" */
  where: string;
}

/** By its name, else by a former one, else its default. Given by both, one of them is a mistake. */
function find(name: string, setting: Setting<unknown>, sources: SettingSources): Found | undefined {
  const names = [name, ...Object.keys(formerNames).filter((one) => formerNames[one] === name)];
  const [found, another] = names.map((one) => findGiven(one, setting, sources)).filter((one) => one !== undefined);
  if (found !== undefined && another !== undefined) {
    throw new SettingsError(`${found.where} and ${another.where} are the same setting: use only --${name}`);
  }
  if (found !== undefined) return found;
  return setting.byDefault === undefined ? undefined : { text: setting.byDefault, where: `the default of --${name}` };
}

function findGiven(name: string, setting: Setting<unknown>, { flags, env, file }: SettingSources): Found | undefined {
  const flag = flags[name];
  if (flag !== undefined) return { text: flag, where: `--${name}` };
  const variable = variableOf(name, setting.etcd);
  const fromEnv = env[variable];
  if (fromEnv !== undefined) return { text: fromEnv, where: variable };
  const inFile = file?.values[name];
  if (file !== null && inFile !== undefined && inFile !== null) {
    const where = `${name} in ${file.path}`;
    const text = textOfFileValue(inFile, where);
    // In etcd's files times are numbers, of nanoseconds.
    return { text: setting.kind.name === "duration" && /^[1-9]\d*$/.test(text) ? `${text}ns` : text, where };
  }
  return undefined;
}

function textOfFileValue(value: unknown, where: string): string {
  if (Array.isArray(value) && value.every((v) => typeof v === "string")) return value.join(",");
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return String(value);
  throw new SettingsError(`${where}: expected a text, number, true, false or a list of texts`);
}

function parse(setting: Setting<unknown>, { text, where }: Found): unknown {
  try {
    return setting.kind.parse(text);
  } catch (error) {
    throw new SettingsError(`${where}: ${messageOf(error)}`);
  }
}

function warningsOf({ flags, env, file }: SettingSources): string[] {
  const warnings: string[] = [];
  const given = (name: string) => flags[name] ?? env[variableOf(name, true)] ?? file?.values[name];
  for (const [name, why] of Object.entries(ignoredFlags)) {
    if (given(name) !== undefined) warnings.push(`--${name} has no effect: ${why}`);
  }
  for (const name of Object.keys(file?.values ?? {})) {
    if (name in runSettings || name in ignoredFlags || name in formerNames) continue;
    if (formerFileNames.has(name)) continue;
    throw new SettingsError(`${name} in ${file!.path}: there is no such setting`);
  }
  for (const name of unknownVariables(env, knownVariables())) {
    warnings.push(`${name} has no effect: there is no such variable`);
  }
  return warnings;
}

const knownVariables = (): Set<string> =>
  new Set([
    ...Object.entries<Setting<unknown>>(runSettings).map(([name, setting]) => variableOf(name, setting.etcd)),
    ...[...Object.keys(ignoredFlags), ...Object.keys(formerNames)].map((name) => variableOf(name, true)),
  ]);

function checkRelations(settings: RunSettings): void {
  if (settings["upload-bytes"] > settings["upload-bytes-max"]) {
    throw new SettingsError("--upload-bytes: must not be over --upload-bytes-max");
  }
  if (settings["max-request-bytes"] > settings["upload-bytes-max"]) {
    throw new SettingsError("--max-request-bytes: must not be over --upload-bytes-max");
  }
  if (settings["change-durability"] && settings.durability === undefined) {
    throw new SettingsError("--change-durability: needs --durability");
  }
  const problem = problemOfAccess(settings);
  if (problem !== null) throw new SettingsError(problem);
  const wrong = wrongRelation({ logMs: settings["retain-log"], tiers: settings["retain-checkpoints"] });
  if (wrong !== null) throw new SettingsError(`--retain-checkpoints: ${wrong} (--retain-log)`);
  if (settings["data-dir"] === "") throw new SettingsError("--data-dir: must not be empty");
}
